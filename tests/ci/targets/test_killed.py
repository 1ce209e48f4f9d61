"""Whoever deploys may be killed before and after any change of a target: nothing is left half done."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from itertools import count

import pytest

from errors import NothingToRestore, RolledBack, TargetBusy
from reference import Release
from tests.ci.targets.fleet import Model
from tests.ci.targets.labs import Killed, Lab, Worker, worker

pytestmark = pytest.mark.anyio
Work = Callable[[Worker], Awaitable[object]]
MOST = 100


async def killed(lab: Lab, before: Work, work: Work) -> AsyncIterator[tuple[Lab, str]]:
    """Yield a fresh lab for each change at which the work can be killed, before and after it, once it was."""
    for number in range(1, MOST):
        for after in (False, True):
            place = lab.fresh()
            async with worker(place) as somebody:
                await before(somebody)
            async with worker(place, "the dead", number, after=after) as dead:
                try:
                    await work(dead)
                except Killed:
                    yield (
                        place,
                        f"{'after' if after else 'before'} {dead.mortal.changes[-1]}, number {number}",
                    )
                except RolledBack:
                    assert len(dead.mortal.changes) < number, "it was killed and went on"
                    return
                else:
                    assert len(dead.mortal.changes) < number, "it was killed and went on"
                    return
    pytest.fail("there was no end to it")


async def settled(lab: Lab, release: Release | None) -> None:
    """Check that one release has all of the traffic and nothing is under way."""
    async with worker(lab) as somebody:
        seen = await somebody.target.look()
        assert (seen.journal.attempt, seen.candidate) == (None, None)
        if release is None:
            assert not seen.version
            return
        assert seen.live == str(release)
        assert await lab.users(somebody.client, 5) == {release.image.tag: 5}


@pytest.fixture
async def first(lab: Lab) -> Release:
    return await lab.release("v1.0.0")


@pytest.fixture
async def second(lab: Lab) -> Release:
    return await lab.release("v1.1.0")


@pytest.fixture
async def bad(lab: Lab) -> Release:
    return await lab.release("v1.1.0", Model("v1.1.0", offset=1))


def deploying(release: Release) -> Work:
    return lambda somebody: somebody.deploy(release)


async def nothing(somebody: Worker) -> None:
    """Do nothing."""


async def test_who_deploys_again_goes_on(lab: Lab, first: Release, second: Release) -> None:
    async for place, _when in killed(lab, deploying(first), deploying(second)):
        async with worker(place, "the heir") as heir:
            await heir.deploy(second, takeover=True)
        await settled(place, second)


async def test_who_rolls_back_restores_what_was_before(lab: Lab, first: Release, second: Release) -> None:
    async for place, when in killed(lab, deploying(first), deploying(second)):
        async with worker(place, "the heir") as heir:
            try:
                await heir.rollback()
            except NothingToRestore:
                assert (when.split()[0], when.split()[-1]) == ("before", "1")
        await settled(place, first)


async def test_who_deploys_another_release_undoes_first_what_was_left(
    lab: Lab, first: Release, second: Release
) -> None:
    third = await lab.release("v1.2.0")
    async for place, _when in killed(lab, deploying(first), deploying(second)):
        async with worker(place, "the heir") as heir:
            await heir.deploy(third, takeover=True)
        await settled(place, third)


async def test_a_bad_release_is_undone_by_whoever_comes_next(lab: Lab, first: Release, bad: Release) -> None:
    async for place, _when in killed(lab, deploying(first), deploying(bad)):
        async with worker(place, "the heir") as heir:
            with pytest.raises(RolledBack, match="predicts 2.0"):
                await heir.deploy(bad, takeover=True)
        await settled(place, first)


async def test_a_first_release_goes_live_or_leaves_nothing(lab: Lab, first: Release) -> None:
    async for place, _when in killed(lab, nothing, deploying(first)):
        async with worker(place, "the heir") as heir:
            await heir.deploy(first, takeover=True)
        await settled(place, first)
    async for place, _when in killed(lab, nothing, deploying(first)):
        async with worker(place, "the heir") as heir:
            with suppress(NothingToRestore):
                await heir.rollback()
            seen = await heir.target.look()
        whole = seen.journal.attempt is None and seen.live == str(first)
        await settled(place, first if whole else None)


async def test_a_rollback_that_was_killed_is_gone_on_with(lab: Lab, first: Release, second: Release) -> None:
    async def both(somebody: Worker) -> None:
        await somebody.deploy(first)
        await somebody.deploy(second)

    async for place, _when in killed(lab, both, lambda dead: dead.rollback()):
        async with worker(place, "the heir") as heir:
            if (await heir.target.look()).live != str(first) or (await heir.target.look()).journal.attempt:
                await heir.rollback(takeover=True)
        await settled(place, first)


async def test_what_was_left_is_held_until_its_time_is_up(lab: Lab, first: Release) -> None:
    async for place, _when in killed(lab, nothing, deploying(first)):
        async with worker(place, "the heir") as heir:
            if not (await heir.target.look()).journal.attempt:
                continue
            with pytest.raises(TargetBusy, match="by the dead since .* or give --takeover"):
                await heir.deploy(first)
            return


async def test_what_was_left_is_anybody_s_when_its_time_is_up(lab: Lab, first: Release) -> None:
    for number in count(2):
        place = lab.fresh()
        async with worker(place, "the dead", number, lease=-1) as dead:
            with pytest.raises(Killed):
                await dead.deploy(first)
        async with worker(place, "the heir") as heir:
            assert (await heir.target.look()).journal.attempt
            assert await heir.deploy(first)
        return await settled(place, first)
