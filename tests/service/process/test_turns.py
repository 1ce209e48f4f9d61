"""Turns on the event loop: a little of the long work in each round."""

from __future__ import annotations

import asyncio

import pytest

from app.turns import REQUESTS, Turns


@pytest.mark.anyio
async def test_between_two_pieces_everything_else_goes_on() -> None:
    turns, order = Turns(), list[str]()

    async def work(name: str) -> None:
        for _ in range(3):
            await turns.wait()
            order.append(name)

    async def others() -> None:
        for _ in range(10):
            order.append("-")
            await asyncio.sleep(0)

    await asyncio.gather(work("a"), work("b"), others())
    said = "".join(order)
    assert "".join(said.split("-")) == "ababab"
    assert all(len(between) <= 1 for between in said.split("-")[1:-1])


@pytest.mark.anyio
async def test_some_requests_begin_in_a_round_whatever_long_work_waits() -> None:
    turns, begun = Turns(), list[int]()

    async def request(number: int) -> None:
        await turns.begin()
        begun.append(number)

    tasks = [asyncio.ensure_future(request(number)) for number in range(3 * REQUESTS)]
    pieces = [asyncio.ensure_future(turns.wait()) for _ in range(100)]
    for _ in range(6):
        await asyncio.sleep(0)
    assert begun == list(range(3 * REQUESTS))
    assert sum(piece.done() for piece in pieces) < 6
    await asyncio.gather(*tasks, *pieces)


@pytest.mark.anyio
async def test_a_request_that_has_left_gives_its_turn_away() -> None:
    turns = Turns()
    leaving, staying = asyncio.ensure_future(turns.wait()), asyncio.ensure_future(turns.wait())
    await asyncio.sleep(0)
    leaving.cancel()
    await staying
    assert leaving.cancelled()


@pytest.mark.anyio
async def test_a_piece_that_fails_stops_no_others() -> None:
    turns, failed = Turns(), list[BaseException]()
    asyncio.get_running_loop().set_exception_handler(
        lambda loop, context: failed.append(context["exception"])
    )
    turns.call(lambda: 1 / 0)
    await turns.wait()
    assert [type(error) for error in failed] == [ZeroDivisionError]
