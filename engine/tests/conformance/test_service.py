"""Service: bindings, addresses, start and stop, and ports of the host."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import dagger
import httpx
import pytest

from conformance.commands import fetch, serve_text

pytestmark = pytest.mark.anyio
TRIES = 2400  # each 0.05 s or longer: a busy machine takes its time


async def test_a_bound_service_is_reached_by_its_name(base: dagger.Container) -> None:
    service = serve_text(base, "served").as_service()
    assert (
        await fetch(base.with_service_binding("files.test", service), "http://files.test:8000/it.txt")
        == "served"
    )


async def test_a_service_runs_the_command_that_it_is_given(base: dagger.Container) -> None:
    container = serve_text(base, "served").with_entrypoint(["sh", "-c", '"$@"', "sh"], keep_default_args=True)
    command = ["$WHAT", "-m", "http.server", "8000"]
    container = container.with_env_variable("WHAT", "python")
    for service in (
        container.as_service(args=command, expand=True),
        container.as_service(args=command, expand=True, use_entrypoint=True),
        container.as_service(use_entrypoint=True),
    ):
        assert await fetch(base.with_service_binding("it", service), "http://it:8000/it.txt") == "served"
    with pytest.raises(dagger.QueryError, match="no service command has been set"):
        await base.without_default_args().as_service().start()


async def test_two_services_have_the_same_port_and_answer_for_themselves(base: dagger.Container) -> None:
    bound = base.with_service_binding("a", serve_text(base, "1").as_service())
    bound = bound.with_service_binding("b", serve_text(base, "2").as_service())
    assert await fetch(bound, "http://a:8000/it.txt") + await fetch(bound, "http://b:8000/it.txt") == "12"


async def test_a_service_returns_its_address(base: dagger.Container) -> None:
    service = (
        await serve_text(base, "served")
        .with_exposed_port(9000, experimental_skip_healthcheck=True)
        .as_service()
        .start()
    )
    host = await service.hostname()
    assert await service.endpoint() == f"{host}:8000"
    assert await service.endpoint(port=9000, scheme="http") == f"http://{host}:9000"
    assert [await port.port() for port in await service.ports()] == [8000, 9000]
    assert await service.id()
    await service.stop()


async def test_a_started_service_serves_until_it_is_stopped(base: dagger.Container) -> None:
    fresh = base.with_env_variable("WHICH", uuid.uuid4().hex)  # so that nothing is cached
    service = await (await serve_text(fresh, "served").as_service().sync()).start()
    url = await service.endpoint(scheme="http")
    assert await fetch(fresh.with_service_binding("it", service), f"{url}/it.txt") == "served"
    await service.stop()
    with pytest.raises(dagger.ExecError):
        await fetch(fresh.with_env_variable("AFTER", "1"), f"{url}/it.txt")
    await (await service.start()).stop(kill=True)


async def test_a_service_that_ends_at_once_says_so(base: dagger.Container) -> None:
    failing = base.with_exposed_port(8001).as_service(args=["sh", "-c", "echo no luck; exit 2"])
    with pytest.raises(dagger.QueryError, match="exit"):
        await failing.start()


async def fetch_from_host(port: int) -> str:
    """Return the content served at a port of the host, once it is available."""
    async with httpx.AsyncClient(trust_env=False) as client:
        for _ in range(TRIES):
            try:
                return (await client.get(f"http://127.0.0.1:{port}/it.txt")).text
            except httpx.TransportError:
                await asyncio.sleep(0.05)
    raise AssertionError(f"nothing is served at port {port}")


async def fetch_from_ports(ports: set[int]) -> list[str]:
    """Return what ports of the host serve; some may be another process's, or lead nowhere yet."""
    found = []
    async with httpx.AsyncClient(trust_env=False) as client:
        for port in ports:
            with suppress(httpx.HTTPError):
                found.append((await client.get(f"http://127.0.0.1:{port}/it.txt")).text)
    return found


def listening_ports() -> set[int]:
    """Return the TCP ports of this host with a listening socket."""
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()
    ]
    return {int(words[1].rpartition(":")[2], 16) for words in lines if words[3] == "0A"}


@asynccontextmanager
async def up(running: Awaitable[object]) -> AsyncIterator[None]:
    """Keep a service up while the block runs."""
    task = asyncio.ensure_future(running)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_ports_of_the_host_lead_to_a_service_while_it_is_up(
    base: dagger.Container, free_port: int
) -> None:
    ports = [dagger.PortForward(backend=8000, frontend=free_port)]
    async with up(serve_text(base, "service").as_service().up(ports=ports)):
        assert await fetch_from_host(free_port) == "service"


async def test_ports_of_the_host_lead_to_a_container_while_it_is_up(
    base: dagger.Container, free_port: int
) -> None:
    ports = [dagger.PortForward(backend=8000, frontend=free_port)]
    container = serve_text(base, "container").with_entrypoint(["sh", "-c", '"$@"', "sh"])
    command = ["${WHAT}", "-m", "http.server", "8000"]
    container = container.with_env_variable("WHAT", "python")
    async with up(container.up(ports=ports, args=command, expand=True, use_entrypoint=True)):
        assert await fetch_from_host(free_port) == "container"


@pytest.mark.parametrize("kind", ["service", "container"])
async def test_a_random_port_of_the_host_leads_to_what_is_up(base: dagger.Container, kind: str) -> None:
    before = listening_ports()
    container = serve_text(base, f"random {kind}")
    running = container.up(random=True) if kind == "container" else container.as_service().up(random=True)
    async with up(running):
        for _ in range(TRIES):
            if f"random {kind}" in await fetch_from_ports(listening_ports() - before):
                return
            await asyncio.sleep(0.05)
    raise AssertionError(f"no port of {listening_ports() - before} leads to it")


async def test_a_service_of_the_host_is_reached_by_containers(
    dag: dagger.Client, base: dagger.Container, free_port: int
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readline():  # a client that only tries the port sends nothing
            writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: 13\r\n\r\nfrom the host")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", free_port):
        forward = dagger.PortForward(backend=free_port, frontend=80)
        service = dag.host().service([forward], host="127.0.0.1")
        bound = base.with_service_binding("host.test", service)
        assert await fetch(bound, "http://host.test/") == "from the host"
        assert [await port.port() for port in await service.ports()] == [80]
