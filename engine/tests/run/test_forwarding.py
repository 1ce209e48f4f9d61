"""Forwarding of a host's ports as a service."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from daggerw_engine.errors import NotOfferedError, ServiceError
from daggerw_engine.run.forwarding import forward_host_ports
from daggerw_engine.run.network import listener
from daggerw_engine.values.host_service import HostService


@asynccontextmanager
async def serve_in_capitals() -> AsyncIterator[int]:
    """Run a host server that replies in capitals after the end of the input; yields its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        writer.close()

    server = await asyncio.start_server(answer, sock=listener())
    async with server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def forward_to(port: int) -> AsyncIterator[int]:
    """Forward a port of the host as a service; yields the service's port."""
    inside = listener()

    async def listen(wanted: int) -> socket.socket:
        assert wanted == port
        return inside

    async with forward_host_ports(HostService.of("localhost", [{"backend": port}]), listen):
        yield inside.getsockname()[1]


async def said(port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    writer.write_eof()
    try:
        return await reader.read()
    finally:
        writer.close()


def test_a_hosts_port_is_reached_through_the_service() -> None:
    async def exchange() -> list[bytes]:
        async with serve_in_capitals() as port, forward_to(port) as own:
            return list(await asyncio.gather(said(own, b"one"), said(own, b"two" * 100_000)))

    assert asyncio.run(exchange()) == [b"ONE", b"TWO" * 100_000]


def test_who_comes_while_the_host_does_not_listen_is_hung_up_on() -> None:
    async def exchange() -> bytes:
        with listener() as taken:
            port = taken.getsockname()[1]
        async with forward_to(port) as own:
            return await said(own, b"")

    assert asyncio.run(exchange()) == b""


def test_connections_end_with_the_service() -> None:
    async def exchange() -> bytes:
        async with serve_in_capitals() as port:
            async with forward_to(port) as own:
                reader, writer = await asyncio.open_connection("127.0.0.1", own)
                writer.write(b"never ended")
                await writer.drain()
                assert await said(own, b"x") == b"X"
            async with asyncio.timeout(60):
                left = await reader.read()
            with pytest.raises(ConnectionRefusedError):
                await said(own, b"x")
            writer.close()
            return left

    assert asyncio.run(exchange()) == b""


def test_a_port_without_a_frontend_has_its_own_number_inside() -> None:
    service = HostService.of("db", [{"backend": 5432}, {"backend": 80, "frontend": 8080, "protocol": "TCP"}])
    assert service.forwards == ((5432, 5432), (8080, 80))
    assert [port.text for port in service.ports] == ["5432/tcp", "8080/tcp"]


def test_services_of_other_hosts_or_ports_have_other_keys() -> None:
    services = [HostService.of(host, [{"backend": port}]) for host in ("a", "b") for port in (1, 2)]
    assert len({service.key for service in services}) == 4


def test_a_host_service_has_ports() -> None:
    with pytest.raises(ServiceError, match="no ports specified"):
        HostService.of("localhost", [])


def test_a_hosts_udp_port_is_not_offered() -> None:
    with pytest.raises(NotOfferedError, match="a host's UDP port as a service"):
        HostService.of("localhost", [{"backend": 53, "protocol": "UDP"}])
