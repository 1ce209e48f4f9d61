"""Network of a session: hosts restart while others still have their MAC addresses cached."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator

import pytest

from daggerw_engine.run.network import Network, host_addresses, private_network, service_address
from daggerw_engine.run.proxies import proxies_of

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.geteuid() != 0, reason="a network needs root"),
]
ADDRESS, ANOTHER = service_address(0), service_address(1)


@pytest.fixture
async def network(anyio_backend: str) -> AsyncIterator[Network]:
    async with private_network() as network:
        yield network


async def test_a_service_that_comes_again_is_reached_by_those_who_remember_it(network: Network) -> None:
    async with network.add_host(ANOTHER) as client:
        for _ in range(3):
            async with network.add_host(ADDRESS) as service:
                await network.connect(client, service)
                with await service.namespace.listen("0.0.0.0", 8000):
                    reached = await client.namespace.connect(ADDRESS, 8000)
                    assert reached.getpeername() == (ADDRESS, 8000)
                    reached.close()


async def test_the_module_reaches_a_service_and_it_the_module_alone(network: Network) -> None:
    async with network.with_module() as module, network.service(ADDRESS, ()) as service:
        with await service.namespace.listen("0.0.0.0", 8000):
            (await module.namespace.connect(ADDRESS, 8000)).close()
            async with network.command() as command:
                with pytest.raises(OSError, match="No route to host"):
                    await command.namespace.connect(ADDRESS, 8000)


async def test_a_running_service_reaches_those_that_start_later(network: Network) -> None:
    async with network.service(ADDRESS, ()) as first, network.service(ANOTHER, ()) as later:
        with await later.namespace.listen("0.0.0.0", 8000):
            (await first.namespace.connect(ANOTHER, 8000)).close()


async def test_commands_do_not_reach_each_other_nor_the_module(network: Network) -> None:
    async with network.with_module() as module, network.command() as one, network.command() as other:
        for peer in (module, other):
            listening = await peer.namespace.listen("0.0.0.0", 8000)
            with listening, pytest.raises(OSError, match="No route to host"):
                await one.namespace.connect(peer.address, 8000)


async def test_a_command_reaches_what_it_is_bound_to_and_no_other_service(network: Network) -> None:
    async with (
        network.add_host(ADDRESS) as bound,
        network.add_host(ANOTHER) as other,
        network.command([bound]) as command,
    ):
        with await bound.namespace.listen("0.0.0.0", 80), await other.namespace.listen("0.0.0.0", 80):
            (await command.namespace.connect(ADDRESS, 80)).close()
            with pytest.raises(OSError, match="No route to host"):
                await command.namespace.connect(ANOTHER, 80)


async def test_the_hosts_addresses_and_the_clouds_are_out_of_reach(network: Network) -> None:
    async with network.command() as command:
        for address in ("169.254.169.254", *await host_addresses()):
            with pytest.raises(OSError, match="No route to host|Network is unreachable"):
                await command.namespace.connect(address, 80)


async def test_a_proxy_on_the_host_is_reached_at_its_port_alone() -> None:
    address = (await host_addresses())[0]
    with socket.create_server((address, 0)) as proxy, socket.create_server((address, 0)) as other:
        async with private_network([proxy.getsockname()]) as network, network.command() as command:
            (await command.namespace.connect(*proxy.getsockname())).close()
            with pytest.raises(OSError, match="No route to host"):
                await command.namespace.connect(*other.getsockname())


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        (
            {"HTTP_PROXY": "http://127.0.0.2:3128", "https_proxy": "http://127.0.0.2:3128/"},
            [("127.0.0.2", 3128)],
        ),
        ({"ALL_PROXY": "socks5://user:word@127.0.0.3"}, [("127.0.0.3", 1080)]),
        ({"http_proxy": "127.0.0.4:8080", "no_proxy": "127.0.0.5"}, [("127.0.0.4", 8080)]),
        ({"http_proxy": "", "HTTPS_PROXY": "http://127.0.0.1:none"}, []),
        ({}, []),
    ],
)
def test_proxies_are_found_in_the_environment(environment: dict[str, str], found: list[object]) -> None:
    assert proxies_of(environment) == found
