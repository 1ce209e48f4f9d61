"""Judge of a candidate: each step is decided by request counts and golden rows."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import anyio
import httpx

from deploying.rollout.golden_rows import Golden
from deploying.rollout.request_counts import Numbers, sum_increases
from deploying.rollout.target import WHOLE, Address, Seen, Target
from deploying.rollout.verdict import GoldenResults, Limits, Verdict, verdict
from errors import ReleaseRejected
from oci.reference import Release
from releasing import smoke

STAGE = "stage"
_GLANCES = 5  # in a step, so that what is plainly bad needn't be waited for


class Judging(Protocol):
    """Interface of judges, which accept or reject a candidate."""

    async def judge(self, target: Target, release: Release, step: str) -> None:
        """Return when the candidate is fit; raises ReleaseRejected, with the figures, when it is not."""


@dataclass
class Judge:
    """Judge by numbers. A step lasts `seconds`, at least as long as the target's numbers lag."""

    golden: Golden
    http: httpx.AsyncClient
    tell: Callable[[str], None]
    seconds: float = 60
    limits: Limits = field(default_factory=Limits)
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    _running: Numbers = field(default_factory=Numbers)

    async def judge(self, target: Target, release: Release, step: str) -> None:
        """Decide about one step; raises ReleaseRejected, with the figures, when the candidate is not fit."""
        seen = await target.look()
        address = _candidate_address(seen, target)
        if differences := await self.golden.differences(self.http, address, release):
            self._decide(release, step, Verdict("compared with the release", differences))
        if step == STAGE:
            await smoke.contract(self.http, address.url, await address.headers())
        # What has no part of the traffic has nothing to be watched for, but what it will replace at once has.
        idle = step == STAGE and not _switches_at_once(target, seen)
        candidate = Numbers() if idle else await self._watch(target, seen)
        answers = await self._send_golden_rows(address, release, self.limits.requests - candidate.requests)
        self._decide(release, step, verdict(candidate, self._running, answers, self.limits))

    async def _send_golden_rows(self, address: Address, release: Release, missing: int) -> GoldenResults:
        """Send every golden row, again while requests are missing and more could change the verdict."""
        rows, answers = len(self.golden.rows), GoldenResults()
        wanted = max(missing, rows)
        while answers.requests < wanted and self._is_open(answers, wanted):
            times = min(rows, wanted - answers.requests)
            answers += await self.golden.send(self.http, address, release.image.tag, times)
        return answers

    def _is_open(self, answers: GoldenResults, wanted: int) -> bool:
        """Return whether the answers would be good if the rest of those wanted took no time.

        One pause of either machine makes several requests late, a large part of the first ones.
        """
        rest = [0.0] * (wanted - answers.requests)
        return verdict(Numbers(), Numbers(), answers + GoldenResults(len(rest), (), rest), self.limits).good

    async def _watch(self, target: Target, seen: Seen) -> Numbers:
        """Wait until a step ends or the candidate is clearly bad; return the candidate's numbers."""
        started, candidate = datetime.now(UTC), Numbers()
        before = await target.observe(seen, started)
        for _ in range(_GLANCES):
            await self.sleep(max(self.seconds, target.lag) / _GLANCES)
            now = await target.observe(seen, started)
            candidate, running = (sum_increases(before[who], now[who]) for who in ("candidate", "running"))
            # Where all is switched at once, the running release's numbers are those from before.
            self._running = running if running.requests else self._running
            enough = candidate.requests >= self.limits.requests
            if enough and not verdict(candidate, running, GoldenResults(), self.limits).good:
                break
        return candidate

    def _decide(self, release: Release, step: str, fallen: Verdict) -> None:
        self.tell(f"judge, {step}: {fallen}")
        if not fallen.good:
            raise ReleaseRejected(f"judge: {release.image.tag} is not fit at {step}: {fallen}")


def _switches_at_once(target: Target, seen: Seen) -> bool:
    attempt = seen.journal.attempt
    return attempt is not None and bool(attempt.snapshot) and target.shares(attempt.snapshot) == WHOLE


def _candidate_address(seen: Seen, target: Target) -> Address:
    if seen.candidate is None:
        raise ReleaseRejected(f"judge: {target.name} has no candidate to judge; deploy again")
    return seen.candidate
