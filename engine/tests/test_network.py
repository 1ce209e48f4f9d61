"""The session's network, whose hosts come and go while others remember where they were."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from daggerw_engine.run.network import Network, join, listening_in, private_network, service_address

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.geteuid() != 0, reason="a network needs root"),
]
ADDRESS, ANOTHER = service_address(0), service_address(1)


@pytest.fixture
async def network(anyio_backend: str) -> AsyncIterator[Network]:
    async with private_network() as network:
        yield network


async def test_a_host_that_comes_again_is_reached_by_those_who_remember_it(network: Network) -> None:
    async with network.joined(ANOTHER) as elsewhere:
        with ThreadPoolExecutor(1, initializer=join, initargs=(elsewhere,)) as another:
            for _ in range(3):
                async with network.joined(ADDRESS) as namespace:
                    with await listening_in(namespace, 8000):
                        (await network.connect(ADDRESS, 8000)).close()
                        asked = asyncio.get_running_loop().run_in_executor(another, reached)
                        assert await asked == (ADDRESS, 8000)


def reached() -> object:
    """Connect to the host and return where it was found; raises OSError when it is not reached."""
    with socket.create_connection((ADDRESS, 8000), timeout=5) as connection:
        return connection.getpeername()


async def test_a_host_that_is_gone_is_no_more_remembered(network: Network) -> None:
    async with network.joined(ADDRESS) as namespace:
        with await listening_in(namespace, 8000):
            (await network.connect(ADDRESS, 8000)).close()
    with pytest.raises(OSError, match="No route to host"):
        await network.connect(ADDRESS, 8000)
