"""Death of an operator before and after any change of a target: nothing is left half done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count

import anyio
import pytest

from errors import NothingToRestore, RolledBack, TargetBusy
from oci.reference import Release
from tests.ci.deploying.targets.labs.fleet import Model
from tests.ci.deploying.targets.labs.lab import Killed, Lab, Worker, worker

pytestmark = pytest.mark.anyio
Work = Callable[[Worker], Awaitable[object]]
Check = Callable[[Lab, str], Awaitable[None]]
AT_ONCE = 8


async def check_each_death(lab: Lab, before: Work, work: Work, check: Check, *, judged: bool = False) -> None:
    """Check a fresh lab for each state in which work can be killed: before its first change, and after each.

    What is there before a change is what was there after the one before it.
    """
    whole = lab.fresh()
    changes = await _killed_at(whole, before, work, 0, False, judged)
    whole.remove()
    assert changes
    turns = anyio.CapacityLimiter(AT_ONCE)

    async def one(number: int, after: bool) -> None:
        async with turns:
            place = lab.fresh()
            done = await _killed_at(place, before, work, number, after, judged)
            await check(place, f"{'after' if after else 'before'} {number} of {len(changes)}: {done[-1]}")
            place.remove()

    async with anyio.create_task_group() as group:
        group.start_soon(one, 1, False)
        for number in range(1, len(changes) + 1):
            group.start_soon(one, number, True)


async def _killed_at(lab: Lab, before: Work, work: Work, number: int, after: bool, judged: bool) -> list[str]:
    """Return the changes that were made until the work was killed, or done when there is no number.

    Where a controller changes an object meanwhile, the journal is written again. So another run may have
    fewer changes than the number, and is then done.
    """
    async with worker(lab, judged=False) as operator:
        await before(operator)
    async with worker(lab, "the dead", number, after=after, judged=judged) as dead:
        try:
            with suppress(RolledBack):
                await work(dead)
            assert not number or len(dead.mortal.changes) < number
        except Killed:
            assert number
        return dead.mortal.changes


async def settle(lab: Lab, release: Release | None) -> None:
    """Check that one release has all of the traffic and nothing is under way."""
    async with worker(lab) as operator:
        seen = await operator.target.look()
        assert (seen.journal.attempt, seen.candidate) == (None, None)
        if release is None:
            assert not seen.version
            return
        assert seen.live == str(release)
        assert await operator.users(5) == {release.image.tag: 5}


@pytest.fixture
async def first(lab: Lab) -> Release:
    return await lab.release("v1.0.0")


@pytest.fixture
async def second(lab: Lab) -> Release:
    return await lab.release("v1.1.0")


def make_deploy(release: Release) -> Work:
    return lambda operator: operator.deploy(release)


async def do_nothing(operator: Worker) -> None:
    """Do nothing."""


async def deploy_as_heir(release: Release, place: Lab, when: str) -> None:
    async with worker(place, "the heir", judged=False) as heir:
        await heir.deploy(release, takeover=True)
    await settle(place, release)


async def test_the_same_deployment_goes_on(lab: Lab, first: Release, second: Release) -> None:
    await check_each_death(lab, make_deploy(first), make_deploy(second), partial(deploy_as_heir, second))


async def test_another_deployment_first_undoes_what_was_left(
    lab: Lab, first: Release, second: Release
) -> None:
    third = await lab.release("v1.2.0")
    await check_each_death(lab, make_deploy(first), make_deploy(second), partial(deploy_as_heir, third))


async def test_a_rollback_restores_what_was_before(lab: Lab, first: Release, second: Release) -> None:
    async def check(place: Lab, when: str) -> None:
        async with worker(place, "the heir") as heir:
            try:
                await heir.rollback()
            except NothingToRestore:
                assert when.startswith("before 1 ")
        await settle(place, first)

    await check_each_death(lab, make_deploy(first), make_deploy(second), check)


async def test_a_bad_release_is_undone_by_the_next_deployment(lab: Lab, first: Release) -> None:
    bad = await lab.release("v1.1.0", Model("v1.1.0", offset=1))

    async def check(place: Lab, when: str) -> None:
        async with worker(place, "the heir") as heir:
            with pytest.raises(RolledBack, match=r"golden 0 of \d+ right.*predicts"):
                await heir.deploy(bad, takeover=True)
        await settle(place, first)

    await check_each_death(lab, make_deploy(first), make_deploy(bad), check, judged=True)


async def test_a_first_release_goes_live_when_it_is_deployed_again(lab: Lab, first: Release) -> None:
    await check_each_death(lab, do_nothing, make_deploy(first), partial(deploy_as_heir, first))


async def test_a_first_release_that_is_rolled_back_leaves_nothing(lab: Lab, first: Release) -> None:
    async def check(place: Lab, when: str) -> None:
        async with worker(place, "the heir") as heir:
            whole = (await heir.target.look()).journal.attempt is None
            with suppress(NothingToRestore):
                await heir.rollback()
            live = bool((await heir.target.look()).version)
        assert not live or whole
        await settle(place, first if live else None)

    await check_each_death(lab, do_nothing, make_deploy(first), check)


async def test_a_rollback_that_was_killed_is_gone_on_with(lab: Lab, first: Release, second: Release) -> None:
    async def both(operator: Worker) -> None:
        await operator.deploy(first)
        await operator.deploy(second)

    async def check(place: Lab, when: str) -> None:
        async with worker(place, "the heir") as heir:
            seen = await heir.target.look()
            if seen.journal.attempt or seen.live == str(second):
                assert await heir.rollback(takeover=True) == str(first)
        await settle(place, first)

    await check_each_death(lab, both, lambda dead: dead.rollback(), check)


async def test_what_was_left_is_held_until_its_time_is_up(lab: Lab, first: Release) -> None:
    for number in count(1):
        async with worker(lab, "the dead", number) as dead:
            with pytest.raises(Killed):
                await dead.deploy(first)
            if (await dead.target.look()).journal.attempt:
                break
    async with worker(lab, "the heir") as heir:
        with pytest.raises(TargetBusy, match=r"by the dead since .* or give --takeover"):
            await heir.deploy(first)
        heir.deployment.now = lambda: datetime.now(UTC) + timedelta(seconds=901)
        assert await heir.deploy(first)
    await settle(lab, first)
