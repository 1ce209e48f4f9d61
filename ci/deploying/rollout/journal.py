"""What a target keeps about its deployments, as one line of JSON in an annotation of its own."""

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, Self

from errors import InvalidJournal

KEY = "milestone2/journal"  # the annotation
RELEASE, FINGERPRINT = "milestone2/release", "milestone2/fingerprint"
_KEPT, _REASON = 10, 1000  # entries, characters
_LONGEST = 200_000  # bytes: Kubernetes' annotations may have 256 KiB, and others write some, too

Action = Literal["deploy", "rollback"]
Outcome = Literal["live", "rolled back"]


@dataclass(frozen=True)
class Lock:
    """Who is at work, since when, and until when nobody else may take over; times are ISO 8601."""

    owner: str
    key: str
    since: str
    until: str

    def held(self, now: datetime) -> bool:
        """Whether its time has not run out."""
        return now < datetime.fromisoformat(self.until)

    def __str__(self) -> str:
        return f"{self.owner} since {self.since} (held until {self.until})"


@dataclass(frozen=True)
class Attempt:
    """What is under way: a step that is being taken now, or was when its owner was killed.

    `snapshot` is what to go back to when a deployment goes wrong, and what a rollback goes back to.
    """

    action: Action
    release: str
    step: str
    snapshot: str
    lock: Lock
    why: str = ""


@dataclass(frozen=True)
class Entry:
    """A release that was deployed and what became of it; `snapshot` brings it back."""

    release: str
    outcome: Outcome
    at: str
    why: str = ""
    snapshot: str = ""


@dataclass(frozen=True)
class Journal:
    """All of it; the newest entry comes first."""

    attempt: Attempt | None = None
    entries: tuple[Entry, ...] = ()

    @classmethod
    def of(cls, text: str | None) -> Self:
        """Return the journal of a text, an empty one of none; raises InvalidJournal for anything else."""
        try:
            given: dict[str, Any] = json.loads(text or "{}")
            attempt = given.get("attempt")
            entries = tuple(Entry(**entry) for entry in given.get("entries", ()))
            return cls(Attempt(**{**attempt, "lock": Lock(**attempt["lock"])}) if attempt else None, entries)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise InvalidJournal(
                f"journal: the annotation {KEY} is {text!r:.200}, which was not written here: {error!r}; "
                "remove it to start anew"
            ) from error

    def text(self) -> str:
        """Return it as a text in ASCII, without the oldest entries when it would be too long."""
        text = json.dumps(asdict(self), separators=(",", ":"), sort_keys=True)
        if len(text) <= _LONGEST or not self.entries:
            return text
        return replace(self, entries=self.entries[:-1]).text()

    def doing(self, attempt: Attempt) -> Self:
        """Return the journal with what is under way."""
        return replace(self, attempt=attempt)

    def ended(self, entry: Entry) -> Self:
        """Return the journal with nothing under way and one more entry."""
        return replace(self, attempt=None, entries=(entry, *self.entries)[:_KEPT])

    def undone(self, attempt: Attempt, now: datetime) -> Self:
        """Return the journal with nothing under way, and a release that is not live, or never was."""
        gone = Entry(attempt.release, "rolled back", stamp(now), attempt.why[:_REASON])
        if attempt.action == "deploy":
            return self.ended(gone)
        entries = (gone if _was(each, attempt) else each for each in self.entries)
        return replace(self, attempt=None, entries=tuple(entries))

    def good(self, live: str, version: str | None = None) -> Entry | None:
        """Return the newest good release that is not live, of a version when one is given."""
        for entry in self.entries:
            wanted = version is None or f":{version}@" in entry.release
            if entry.outcome == "live" and entry.release != live and wanted:
                return entry
        return None


def _was(entry: Entry, attempt: Attempt) -> bool:
    return entry.release == attempt.release and entry.outcome == "live"


def stamp(now: datetime) -> str:
    """Return a time as it is written."""
    return now.astimezone(UTC).isoformat(timespec="seconds")
