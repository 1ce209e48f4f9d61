"""Services in the session's network, and the host's ports that lead to them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from daggerw_engine.errors import NetworkError, ServiceError
from daggerw_engine.isolation.crun import Started
from daggerw_engine.progress import Progress
from daggerw_engine.run.addresses import Addresses
from daggerw_engine.run.forwarding import Streams, forward_connections, forward_host_ports
from daggerw_engine.run.network import Network, Peer, host_listener
from daggerw_engine.run.preparation import Preparer
from daggerw_engine.values.config import Port
from daggerw_engine.values.container import AnyService, Service
from daggerw_engine.values.host_service import HostService

POLL_SECONDS = 0.02
STOP_SECONDS = 10.0
KEPT_OUTPUT = 20_000


@dataclass
class Running:
    """Started service, with its host on the network and its resources."""

    resources: AsyncExitStack
    peer: Peer

    async def end(self, *, kill: bool) -> None:
        """Stop the service."""
        await self.resources.aclose()


@dataclass
class RunningCommand(Running):
    """Started container, with its process and the end of its output."""

    started: Started
    output: bytearray = field(default_factory=bytearray)
    readers: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def process(self) -> asyncio.subprocess.Process:
        """Process of the container."""
        return self.started.process

    async def end(self, *, kill: bool) -> None:
        """Stop the container, with time to end by itself unless it is killed."""
        if not kill:
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_SECONDS):
                    await self.started.terminate()
                    await self.process.wait()
        await self.resources.aclose()
        await asyncio.gather(*self.readers)

    async def read_output(self) -> str:
        """Return the end of its output on both streams, once it has ended."""
        await asyncio.gather(*self.readers)
        return self.output.decode(errors="replace")


class Services:
    """Running services of a session; equal services are one."""

    def __init__(
        self, preparer: Preparer, addresses: Addresses, network: Network, progress: Progress
    ) -> None:
        self._preparer, self._addresses = preparer, addresses
        self._network, self._progress = network, progress
        self._running: dict[str, Running] = {}
        self._users: Counter[str] = Counter()
        self._starting: dict[str, asyncio.Lock] = {}

    @asynccontextmanager
    async def use(self, service: AnyService) -> AsyncIterator[Peer]:
        """Keep a service running while the block runs; the last user stops it. Yields its host."""
        await self.start(service)
        try:
            yield self._running[service.key].peer
        finally:
            await asyncio.shield(self.stop(service))

    async def start(self, service: AnyService) -> None:
        """Add a user of a service; the first user starts it and waits for its ports."""
        key = service.key
        async with self._starting.setdefault(key, asyncio.Lock()):
            if key not in self._running:
                with self._progress.step(f"start service {service.label}"):
                    self._running[key] = await self._start(service)
            self._users[key] += 1

    async def stop(self, service: AnyService, *, kill: bool = False) -> None:
        """Remove a user; the last one stops the service. With `kill`, stop it at once."""
        key = service.key
        async with self._starting.setdefault(key, asyncio.Lock()):
            if key not in self._running:
                return
            self._users[key] -= 1
            if kill or self._users[key] <= 0:
                del self._users[key]
                await self._running.pop(key).end(kill=kill)

    async def stop_all(self) -> None:
        """Stop all running services."""
        running, self._running = list(self._running.values()), {}
        await asyncio.gather(*(each.end(kill=False) for each in running))

    async def _start(self, service: AnyService) -> Running:
        async with AsyncExitStack() as stack:
            bindings = service.container.bindings if isinstance(service, Service) else ()
            bound = [await stack.enter_async_context(self.use(each)) for _, each in bindings]
            joined = self._network.service(self._addresses.of(service), bound)
            peer = await stack.enter_async_context(joined)
            if isinstance(service, HostService):
                listen = partial(peer.namespace.listen, "0.0.0.0")
                await stack.enter_async_context(forward_host_ports(service, listen))
                return Running(stack.pop_all(), peer)
            return await self._run(service, peer, stack)

    async def _run(self, service: Service, peer: Peer, stack: AsyncExitStack) -> RunningCommand:
        prepared = await stack.enter_async_context(self._preparer.prepare(service.container))
        started = await stack.enter_async_context(prepared.start(service.command, peer.namespace))
        running = RunningCommand(AsyncExitStack(), peer, started)
        running.readers = [
            asyncio.create_task(_read(stream, running.output))
            for stream in (started.process.stdout, started.process.stderr)
        ]
        await self._wait_for_ports(service, running)
        running.resources = stack.pop_all()
        return running

    async def _wait_for_ports(self, service: Service, running: RunningCommand) -> None:
        waited = [
            p.port for p in service.ports if p.protocol == "TCP" and not p.experimental_skip_healthcheck
        ]
        for port in waited:
            while not await _is_listening(running.peer, port):
                if (status := running.process.returncode) is not None:
                    refused = running.started.refusal(status, await running.read_output())
                    raise refused or await self._describe_end(service, running)
                await asyncio.sleep(POLL_SECONDS)

    async def _describe_end(self, service: Service, running: RunningCommand) -> ServiceError:
        said = self._progress.scrub((await running.read_output()).rstrip())
        status = running.process.returncode
        return ServiceError(
            f"the service {service.label!r} ended with exit status {status}; it said:\n{said}"
        )

    async def up(self, service: AnyService, forwards: Iterable[dict[str, object]], *, random: bool) -> None:
        """Start a service, forward ports of the host's loopback to it, and wait until it ends.

        Raises NetworkError when a port of the host is taken, before anything starts; ServiceError when the
        service ends by itself.
        """
        pairs = _pairs(service.ports, forwards, random=random)
        async with AsyncExitStack() as stack:
            for frontend, backend in pairs:
                taken = host_listener(frontend, backend)
                port = taken.getsockname()[1]
                connect = partial(self._connect, service, backend)
                await stack.enter_async_context(forward_connections(taken, connect))
                self._progress.note(f"http://localhost:{port} leads to port {backend} of the service")
            await stack.enter_async_context(self.use(service))
            self._progress.note("the service is up; Ctrl-C stops it")
            running = self._running[service.key]
            if isinstance(service, Service) and isinstance(running, RunningCommand):
                await running.process.wait()
                raise await self._describe_end(service, running)
            await asyncio.Event().wait()

    async def _connect(self, service: AnyService, port: int) -> Streams:
        if (running := self._running.get(service.key)) is None:
            raise ConnectionRefusedError
        peer = running.peer
        return await asyncio.open_connection(sock=await peer.namespace.connect(peer.address, port))


async def _is_listening(peer: Peer, port: int) -> bool:
    try:
        (await peer.namespace.connect(peer.address, port)).close()
    except OSError:
        return False
    return True


def _pairs(
    ports: Iterable[Port], forwards: Iterable[dict[str, object]], *, random: bool
) -> list[tuple[int, int]]:
    wanted = [(forward.get("frontend"), int(str(forward["backend"]))) for forward in forwards]
    wanted = wanted or [(None, port.port) for port in ports]
    if not wanted:
        raise NetworkError("the service exposes no port: say which one with --ports HOST_PORT:SERVICE_PORT")
    return [(0 if random else int(str(frontend or backend)), backend) for frontend, backend in wanted]


async def _read(stream: asyncio.StreamReader | None, output: bytearray) -> None:
    while stream and (chunk := await stream.read(1 << 16)):
        output += chunk
        del output[:-KEPT_OUTPUT]
