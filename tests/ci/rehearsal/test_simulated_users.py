"""Simulated users: requests at a fixed rate beside other work."""

from __future__ import annotations

import anyio
import httpx
import pytest

from deploying.rollout.golden_rows import Golden, Row
from deploying.rollout.target import Address
from net.concurrency import beside
from rehearsal.simulated_users import AT_ONCE, Users

pytestmark = pytest.mark.anyio
GOLDEN = Golden((Row((1.0,), 1.0), Row((2.0,), 2.0)))


async def test_users_ask_in_their_own_time_and_count_what_comes_back() -> None:
    finished = anyio.Event()
    versions = iter(["v1", "v2", "v1"])

    def answer(request: httpx.Request) -> httpx.Response:
        version = next(versions, None)
        if version is None:
            finished.set()
            return httpx.Response(503)
        return httpx.Response(200, json={"model_version": version})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        users = Users(GOLDEN, http, Address("http://service.test"), rate=1000)
        await beside(users.run, finished.wait)
    assert users.answered == {"v1": 2, "v2": 1}
    assert "503" in users.lost[0]
    assert str(users).startswith("3 users' requests answered (2 by v1, 1 by v2), ")


async def test_users_who_wait_keep_others_from_asking_only_when_they_are_many() -> None:
    waiting, most, many = 0, 0, anyio.Event()

    async def never(request: httpx.Request) -> httpx.Response:
        nonlocal waiting, most
        waiting += 1
        most = max(most, waiting)
        if waiting == AT_ONCE:
            many.set()
        try:
            await anyio.sleep_forever()
        finally:
            waiting -= 1
        raise AssertionError

    async def until_others_could_have_asked() -> None:
        await many.wait()
        await anyio.wait_all_tasks_blocked()

    async with httpx.AsyncClient(transport=httpx.MockTransport(never)) as http:
        users = Users(GOLDEN, http, Address("http://service.test"), rate=1000)
        with anyio.fail_after(30):
            await beside(users.run, until_others_could_have_asked)
    assert most == AT_ONCE
    assert (users.answered, users.lost) == ({}, [])
