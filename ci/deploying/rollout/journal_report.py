"""Report of a target's journal as text."""

from deploying.rollout.journal import Journal
from deploying.rollout.target import Seen


def report(name: str, seen: Seen) -> str:
    """Return who is live, what is under way, and every release that was deployed, the newest first."""
    shares = [f"  {share.percent:3} % {share.release}" for share in seen.shares] or ["  nothing is live"]
    return "\n".join([name, *shares, *_under_way(seen.journal), *_entries(seen)])


def _under_way(journal: Journal) -> list[str]:
    attempt = journal.attempt
    if attempt is None:
        return []
    why = f": {_first(attempt.why)}" if attempt.why else ""
    return [
        f"  under way: {attempt.action} of {attempt.release}, at {attempt.step!r}, by {attempt.lock}{why}"
    ]


def _entries(seen: Seen) -> list[str]:
    return [
        f"  {entry.at}  {_outcome(entry.outcome, entry.release, seen):11}  {entry.release}"
        + (f": {_first(entry.why)}" if entry.why else "")
        for entry in seen.journal.entries
    ]


def _outcome(outcome: str, release: str, seen: Seen) -> str:
    if outcome == "live":
        return "live" if any(share.release == release for share in seen.shares) else "was live"
    return outcome


def _first(text: str) -> str:
    return text.partition("\n")[0]
