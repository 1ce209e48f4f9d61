"""Cloud Run's traffic list: who gets which part of the requests, and at which address of its own."""

from collections.abc import Mapping, Sequence
from typing import Any

CANDIDATE = "candidate"  # the tag, which makes an address
_NAMED = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"
_LATEST = "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"

Entry = Mapping[str, Any]


def revision_entry(revision: str, percent: int, tag: str = "") -> dict[str, Any]:
    """Return an entry for a revision; nothing is said where Google's JSON would say nothing."""
    entry: dict[str, Any] = {"type": _NAMED, "revision": revision}
    return entry | ({"percent": percent} if percent else {}) | ({"tag": tag} if tag else {})


def fix_revisions(traffic: Sequence[Entry], latest: str) -> list[dict[str, Any]]:
    """Return a list in which nothing moves by itself, and no candidate; `latest` is the latest ready one."""
    listed = traffic or [{"type": _LATEST, "percent": 100}]
    kept = [entry for entry in listed if entry.get("tag") != CANDIDATE or entry.get("percent")]
    return [
        revision_entry(
            latest if entry.get("type") == _LATEST else entry["revision"],
            entry.get("percent", 0),
            "" if entry.get("tag") == CANDIDATE else entry.get("tag", ""),
        )
        for entry in kept
    ]


def candidate(traffic: Sequence[Entry]) -> str | None:
    """Return the revision that is the candidate."""
    found = (entry["revision"] for entry in traffic if entry.get("tag") == CANDIDATE)
    return next(found, None)


def shares(traffic: Sequence[Entry]) -> dict[str, int]:
    """Return the part of each revision that has one, in percent."""
    parts: dict[str, int] = {}
    for entry in traffic:
        if entry.get("percent"):
            parts[entry["revision"]] = parts.get(entry["revision"], 0) + entry["percent"]
    return parts


def same(listed: Sequence[Entry], statuses: Sequence[Entry]) -> bool:
    """Return whether a list is what is served."""
    kept = ("revision", "percent", "tag")
    ones, others = (
        sorted(str([each.get(name) for name in kept]) for each in it) for it in (listed, statuses)
    )
    return ones == others


def split(before: Sequence[Entry], revision: str, percent: int) -> list[dict[str, Any]]:
    """Return a list that gives the candidate its part and those before the rest, as they had it."""
    rest = {
        name: part
        for name, part in _scale(shares(before), 100 - percent).items()
        if part and name != revision
    }
    tags = [revision_entry(entry["revision"], 0, entry["tag"]) for entry in before if entry.get("tag")]
    given = 100 - sum(rest.values())
    return [
        *(revision_entry(name, part) for name, part in rest.items()),
        *tags,
        revision_entry(revision, given, CANDIDATE),
    ]


def _scale(parts: Mapping[str, int], whole: int) -> dict[str, int]:
    """Return whole numbers that sum up to `whole` and stand to each other as the parts do."""
    exact = {name: part * whole / sum(parts.values()) for name, part in parts.items()}
    scaled = {name: int(part) for name, part in exact.items()}
    by_loss = sorted(exact, key=lambda name: scaled[name] - exact[name])
    for name in by_loss[: whole - sum(scaled.values())]:
        scaled[name] += 1
    return scaled
