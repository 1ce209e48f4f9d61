"""Targets: the interface of a system that runs releases.

Whatever changes a target is given what was seen of it, and raises TargetChanged when that is not true any
more; it may be done again without harm, as whoever was killed in the middle of it will do it again.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from deploying.rollout.journal import Journal
from deploying.rollout.request_counts import Numbers
from image.canonical_json import canonical, digest
from oci.reference import Release

SHARES = (5, 25, 50, 100)  # of the traffic that a candidate gets, step by step, in percent
WHOLE = SHARES[-1:]

Headers = Callable[[], Awaitable[Mapping[str, str]]]


def fingerprint(*parts: object) -> str:
    """Return eight digits over all that makes a release what it is at a target."""
    return digest(canonical(parts)).removeprefix("sha256:")[:8]


async def nobody() -> Mapping[str, str]:
    """Return the headers of who needs not say who they are."""
    return {}


@dataclass(frozen=True)
class Address:
    """Where a release answers, and the headers that let us in."""

    url: str
    headers: Headers = nobody


@dataclass(frozen=True)
class Share:
    """A release that is live, with its configuration's fingerprint and its part of the traffic in percent."""

    release: str
    fingerprint: str
    percent: int


@dataclass(frozen=True)
class Seen:
    """A target at one time. `version` is the target's own word for that time, empty when nothing is there.

    `snapshot` is what `restore` takes to come back to it. `raw` is the driver's own.
    """

    version: str = ""
    journal: Journal = field(default_factory=Journal)
    shares: tuple[Share, ...] = ()
    snapshot: str = ""
    address: Address | None = None
    candidate: Address | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def live(self) -> str:
        """The release that all of the traffic goes to, else all with their shares."""
        whole = [share.release for share in self.shares if share.percent == 100]
        return whole[0] if whole else ", ".join(f"{each.percent} % {each.release}" for each in self.shares)

    def percent(self, release: str) -> int:
        """Return a release's share of the traffic."""
        return sum(share.percent for share in self.shares if share.release == release)


Observed = Mapping[str, Mapping[str, Numbers]]


class Target(Protocol):
    """A place where one service runs."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def lag(self) -> float:
        """Seconds until what is counted can be seen."""

    def shares(self, snapshot: str) -> tuple[int, ...]:
        """Return the shares that a candidate can have beside what a snapshot has, in percent up to 100."""

    def fingerprint(self, release: Release) -> str:
        """Return what changes with the release's content or with the target's configuration."""

    async def look(self) -> Seen:
        """Return what is there now."""

    async def create(self, release: Release, journal: Journal) -> None:
        """Make the service with its journal where there is none; the release may, but need not run."""

    async def record(self, seen: Seen, journal: Journal) -> None:
        """Write the journal, and nothing else."""

    async def stage(self, seen: Seen, release: Release) -> None:
        """Start a release as the candidate, at an address of its own; raises NotStarted when it can't."""

    async def shift(self, seen: Seen, release: Release, snapshot: str, percent: int) -> None:
        """Give the candidate its part of the traffic, and the rest to what the snapshot has."""

    async def tidy(self, seen: Seen, release: Release) -> None:
        """Leave nothing of the candidate but the live release that it has become."""

    async def restore(self, seen: Seen, snapshot: str) -> None:
        """Bring back what a snapshot has, and remove the candidate; the empty one is of nothing at all."""

    async def observe(self, seen: Seen, since: datetime) -> Observed:
        """Return what was counted of `candidate` and `running`, by instance; some count from `since` on."""
