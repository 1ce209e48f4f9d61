"""Judges a candidate in each step, by what is counted while it lasts and by golden rows."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import anyio
import httpx

from deploying.rollout.golden_rows import Golden
from deploying.rollout.request_counts import Numbers, grown
from deploying.rollout.target import WHOLE, Address, Seen, Target
from deploying.rollout.verdict import Asked, Limits, Verdict, verdict
from errors import ReleaseRejected
from oci.reference import Release
from releasing import smoke

STAGE = "stage"
_GLANCES = 5  # in a step, so that what is plainly bad needn't be waited for


class Judging(Protocol):
    """Who says whether a candidate is fit."""

    async def judge(self, target: Target, release: Release, step: str) -> None:
        """Return when it is; raises ReleaseRejected, with the figures, when it is not."""


@dataclass
class Judge:
    """The one by numbers. A step lasts so many seconds, at least as long as the target's numbers lag."""

    golden: Golden
    http: httpx.AsyncClient
    tell: Callable[[str], None]
    seconds: float = 60
    limits: Limits = field(default_factory=Limits)
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    _running: Numbers = field(default_factory=Numbers)

    async def judge(self, target: Target, release: Release, step: str) -> None:
        """Let the verdict on one step fall."""
        seen = await target.look()
        address = _asked_at(seen, target)
        if differences := await self.golden.differences(self.http, address, release):
            self._decide(release, step, Verdict("asked who it is", differences))
        if step == STAGE:
            await smoke.contract(self.http, address.url, await address.headers())
        # What has no part of the traffic has nothing to be watched for, but what it will replace at once has.
        idle = step == STAGE and not _switches_at_once(target, seen)
        candidate = Numbers() if idle else await self._watched(target, seen)
        asked = await self._asked(address, release, self.limits.requests - candidate.requests)
        self._decide(release, step, verdict(candidate, self._running, asked, self.limits))

    async def _asked(self, address: Address, release: Release, missing: int) -> Asked:
        """Ask every golden row once and, unless that was bad enough, as many more as are missing."""
        version, rows = release.image.tag, len(self.golden.rows)
        asked = await self.golden.ask(self.http, address, version, rows)
        if missing > rows and verdict(Numbers(), Numbers(), asked, self.limits).good:
            asked += await self.golden.ask(self.http, address, version, missing - rows)
        return asked

    async def _watched(self, target: Target, seen: Seen) -> Numbers:
        """Wait as long as a step lasts, or until it goes badly; return what the candidate did meanwhile."""
        started, candidate = datetime.now(UTC), Numbers()
        before = await target.observe(seen, started)
        for _ in range(_GLANCES):
            await self.sleep(max(self.seconds, target.lag) / _GLANCES)
            now = await target.observe(seen, started)
            candidate, running = (grown(before[who], now[who]) for who in ("candidate", "running"))
            # Where all is switched at once, the running release's numbers are those from before.
            self._running = running if running.requests else self._running
            enough = candidate.requests >= self.limits.requests
            if enough and not verdict(candidate, running, Asked(), self.limits).good:
                break
        return candidate

    def _decide(self, release: Release, step: str, fallen: Verdict) -> None:
        self.tell(f"judge, {step}: {fallen}")
        if not fallen.good:
            raise ReleaseRejected(f"judge: {release.image.tag} is not fit at {step}: {fallen}")


def _switches_at_once(target: Target, seen: Seen) -> bool:
    attempt = seen.journal.attempt
    return attempt is not None and bool(attempt.snapshot) and target.shares(attempt.snapshot) == WHOLE


def _asked_at(seen: Seen, target: Target) -> Address:
    if seen.candidate is None:
        raise ReleaseRejected(f"judge: {target.name} has no candidate to ask; deploy again")
    return seen.candidate
