"""Deployment of one release over another: each step is written to the target's journal before it is taken.

    deploy     stage, shift to each share that a target can give, tidy; judged after each; else restore
    rollback   restore

A killed deployment leaves a journal with the step that it was taking. Steps can be taken twice, so the next
deployment takes that step again and goes on. A lock in the journal keeps two deployments apart, and so does
the version of the target's state, which every change names.
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from deploying.rollout.journal import Attempt, Entry, Lock, stamp
from deploying.rollout.judge import STAGE, Judging
from deploying.rollout.target import SHARES, WHOLE, Seen, Share, Target
from errors import (
    NothingToRestore,
    PipelineError,
    RolledBack,
    TakenOver,
    TargetBusy,
    TargetChanged,
    TargetError,
)
from net.step_log import Steps
from oci.reference import Release, short

SHIFT, TIDY, RESTORE = "shift to ", "tidy", "restore"
_TRIES = 20  # while a target changes by itself, as Kubernetes' objects do

Result = TypeVar("Result")
Effect = Callable[[Seen], Awaitable[None]]


def plan(shares: Sequence[int]) -> list[str]:
    """Return the steps of a deployment that gives the candidate one share of the traffic after another."""
    return [STAGE, *(f"{SHIFT}{share} %" for share in shares), TIDY]


@dataclass
class Deployment:
    """Deployment by one owner to one target; a step must not take longer than the lease in seconds."""

    target: Target
    owner: str
    steps: Steps
    lease: float = 900
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _key: str = field(default_factory=secrets.token_hex)

    async def deploy(self, release: Release, judge: Judging, *, takeover: bool = False) -> bool:
        """Bring a release to all of the traffic and return True, or False when that is so already.

        Raises RolledBack when it failed and was rolled back, TargetBusy during another deployment.
        """
        seen = await self.target.look()
        if seen.journal.attempt is None and seen.shares == self._alone(release):
            self.steps.note(f"{self.target.name} runs {release} already; nothing to do")
            return False
        attempt = await _again(partial(self._begin, release, takeover))
        if attempt.action == "rollback" or attempt.release != str(release):
            await self._restore(attempt)
            return await self.deploy(release, judge)
        if attempt.step == RESTORE:
            raise await self._roll_back(attempt)
        self.steps.note(f"{self.target.name}: {release} over {short(seen.live) or 'nothing'}")
        try:
            await self._forward(release, attempt, judge)
        except TakenOver:
            raise
        except PipelineError as error:
            raise await self._roll_back(replace(attempt, why=error.message)) from error
        return True

    async def rollback(self, version: str | None = None, *, takeover: bool = False) -> str:
        """Restore what was there before what is under way, else the last good release; return what is live.

        A version chooses another good release. A deployment that is under way is taken over. Raises
        NothingToRestore, or TargetBusy during another rollback.
        """
        attempt = await _again(partial(self._begin_restore, version, takeover))
        await self._restore(attempt)
        return (await self.target.look()).live

    async def _begin(self, release: Release, takeover: bool) -> Attempt:
        """Lock the target for this deployment and return the attempt to make."""
        seen = await self.target.look()
        left = seen.journal.attempt
        if left is None:
            attempt = Attempt("deploy", str(release), STAGE, seen.snapshot, self._lock())
        elif left.lock.key == self._key:
            return left
        else:
            self._check_free(left, takeover)
            attempt = replace(left, lock=self._lock())
            if (left.action, left.release) != ("deploy", str(release)):
                attempt = replace(
                    attempt, step=RESTORE, why=left.why or f"left at {left.step!r} by {left.lock}"
                )
            self.steps.note(f"at {left.step!r} of {short(left.release)}, taking over from {left.lock}")
        journal = seen.journal.with_attempt(attempt)
        await (self.target.record(seen, journal) if seen.version else self.target.create(release, journal))
        return attempt

    async def _begin_restore(self, version: str | None, takeover: bool) -> Attempt:
        seen = await self.target.look()
        left = seen.journal.attempt
        if left and left.lock.key == self._key:
            return left
        if left and left.step == RESTORE:
            self._check_free(left, takeover)
        before = left.snapshot if left and version is None else self._good(seen, version).snapshot
        why = (left.why if left else "") or f"rolled back by {self.owner}"
        attempt = Attempt("rollback", seen.live, RESTORE, before, self._lock(), why)
        if left:
            attempt = replace(attempt, action=left.action, release=left.release)
        await self.target.record(seen, seen.journal.with_attempt(attempt))
        return attempt

    async def _forward(self, release: Release, attempt: Attempt, judge: Judging) -> None:
        # Where nothing was before there is nothing to share the traffic with.
        shares = self.target.shares(attempt.snapshot) if attempt.snapshot else WHOLE
        if attempt.snapshot and shares == WHOLE:
            self.steps.note(f"{self.target.name} cannot share its traffic: it will shift all at once")
        elif attempt.snapshot and shares != SHARES:
            listed = ", ".join(map(str, shares))
            self.steps.note(f"{self.target.name} shares its traffic by whole instances: {listed} %")
        steps = plan(shares)
        begun = steps.index(attempt.step) if attempt.step in steps else 0
        for step in steps[begun:]:
            with self.steps.step(f"{step}: {release.image.tag}"):
                await self._write_journal(replace(attempt, step=step))
                await self._change(self._effect(step, release, attempt.snapshot))
            if step != TIDY:
                await judge.judge(self.target, release, step)
        await self._change(partial(self._record_live, release))

    def _effect(self, step: str, release: Release, snapshot: str) -> Effect:
        if step == STAGE:
            return lambda seen: self.target.stage(seen, release)
        if step == TIDY:
            return lambda seen: self.target.tidy(seen, release)
        percent = int(step.removeprefix(SHIFT).removesuffix(" %"))
        return lambda seen: self.target.shift(seen, release, snapshot, percent)

    async def _record_live(self, release: Release, seen: Seen) -> None:
        entry = Entry(str(release), "live", stamp(self.now()), snapshot=seen.snapshot)
        await self.target.record(seen, seen.journal.with_entry(entry))

    async def _roll_back(self, attempt: Attempt) -> RolledBack:
        """Restore the state before the deployment, and return the error to raise."""
        try:
            most = (
                f"at most {(await self.target.look()).percent(attempt.release)} % of the traffic went to it"
            )
            self.steps.note(f"{short(attempt.release)} is undone; {most}")
            await self._restore(attempt)
        except TakenOver:
            raise
        except PipelineError as error:
            raise TargetError(
                f"{attempt.why}\n{self.target.name}: and undoing it failed: {error.message}\n"
                "  fix: dagger call rollback --environment=…"
            ) from error
        live = (await self.target.look()).live or "nothing, as before"
        return RolledBack(f"{attempt.release} was rolled back: {attempt.why}\n{most}\nlive: {live}")

    async def _restore(self, attempt: Attempt) -> None:
        with self.steps.step(f"{RESTORE} what was before {short(attempt.release)}"):
            await self._write_journal(replace(attempt, step=RESTORE))
            await self._change(lambda seen: self.target.restore(seen, attempt.snapshot))
            if attempt.snapshot:  # else nothing is left, and no journal
                await self._change(partial(self._record_rollback, attempt))

    async def _record_rollback(self, attempt: Attempt, seen: Seen) -> None:
        await self.target.record(seen, seen.journal.with_rollback(attempt, self.now()))

    async def _write_journal(self, attempt: Attempt) -> None:
        """Write the next step to the journal, and renew the lock for as long as the step may take."""
        attempt = replace(attempt, lock=self._lock(attempt.lock.since))
        await self._change(lambda seen: self.target.record(seen, seen.journal.with_attempt(attempt)))

    async def _change(self, effect: Effect) -> None:
        """Change the target in its present state, if this deployment still has the lock."""

        async def once() -> None:
            seen = await self.target.look()
            attempt = seen.journal.attempt
            if attempt is None or attempt.lock.key != self._key:
                who = attempt.lock if attempt else "another deployment, which has ended"
                raise TakenOver(f"{self.target.name}: taken over by {who}; see `dagger call history`")
            await effect(seen)

        await _again(once)

    def _check_free(self, left: Attempt, takeover: bool) -> None:
        if left.lock.is_held(self.now()) and not takeover:
            raise TargetBusy(
                f"{self.target.name}: a {left.action} of {left.release} is under way, at {left.step!r}, by "
                f"{left.lock}; wait for it, or give --takeover when its owner is dead"
            )

    def _good(self, seen: Seen, version: str | None) -> Entry:
        found = seen.journal.good(seen.live, version)
        if found is None:
            wanted = f"no good release {version}" if version else "no good release before"
            raise NothingToRestore(
                f"{self.target.name}: there was {wanted}; `dagger call history` lists those that there were"
            )
        return found

    def _lock(self, since: str | None = None) -> Lock:
        now = self.now()
        until = stamp(now + timedelta(seconds=self.lease))
        return Lock(self.owner, self._key, since or stamp(now), until)

    def _alone(self, release: Release) -> tuple[Share, ...]:
        return (Share(str(release), self.target.fingerprint(release), 100),)


async def _again(work: Callable[[], Awaitable[Result]]) -> Result:
    """Return the result of a read and a change, repeated while others change the target in between."""
    for _ in range(_TRIES):
        try:
            return await work()
        except TargetChanged as error:
            changed = error
    raise changed
