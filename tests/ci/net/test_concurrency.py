"""Steps that run at the same time."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from errors import InvalidReference
from net.concurrency import beside, together

pytestmark = pytest.mark.anyio


async def test_the_first_failure_ends_the_others_and_is_raised_as_it_is() -> None:
    ended = anyio.Event()

    async def wait() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    async def fail() -> None:
        raise InvalidReference("tag: wrong")

    with pytest.raises(InvalidReference, match="tag: wrong"):
        await together(wait, fail)
    assert ended.is_set()


async def test_results_stand_in_the_order_of_their_steps() -> None:
    second_is_done = anyio.Event()

    async def first() -> int:
        await second_is_done.wait()
        return 1

    async def second() -> int:
        await anyio.lowlevel.checkpoint()
        second_is_done.set()
        return 2

    assert await together(first, second) == (1, 2)


async def test_what_runs_beside_work_ends_with_it() -> None:
    ended = anyio.Event()

    async def other() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    async def work() -> str:
        await anyio.lowlevel.checkpoint()
        return "done"

    assert await beside(other, work) == "done"
    assert ended.is_set()


@pytest.mark.parametrize("failing", ["work", "other"])
async def test_a_failure_of_either_is_raised_as_it_is(failing: str) -> None:
    async def run(name: str) -> None:
        if name == failing:
            raise InvalidReference("tag: wrong")
        await anyio.sleep_forever()

    with pytest.raises(InvalidReference, match="tag: wrong"):
        await beside(lambda: run("other"), lambda: run("work"))
