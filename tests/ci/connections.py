"""A job's identity at the fake cloud, clients of servers with given responses, and applications on a port."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio.lowlevel
import httpx
from starlette.types import ASGIApp

from fakecloud import addresses, connection_faults
from fakecloud.state.fixtures import CloudSetup
from keyless.endpoints import Endpoints
from keyless.google_identity import Identity, Provider
from keyless.oidc_sources import Given
from net.retry_policy import Retrying
from net.tokens import Token
from oci.authentication import Mint
from oci.repository import Repository, open_with

Handler = Callable[[httpx.Request], httpx.Response]


async def no_wait(seconds: float) -> None:
    """Let others run instead of waiting."""
    await anyio.lowlevel.checkpoint()


def job_identity(base: str, setup: CloudSetup, account: str | None = None) -> Identity:
    """Return the identity of a setup's job at the fake cloud: a service account's, or its federated self."""
    given = Given(addresses.request_url(base), Token(setup.request_token))
    endpoints = Endpoints.of(addresses.endpoints(base, setup))
    return Identity(Provider.of(setup.provider.resource), account, given, endpoints)


@asynccontextmanager
async def open_client(handler: Handler) -> AsyncIterator[Retrying]:
    """Open a client to a server with given responses; it doesn't wait between attempts."""
    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as http:
        yield Retrying(http, sleep=no_wait)


@asynccontextmanager
async def open_repository(handler: Handler, token: Mint | None = None) -> AsyncIterator[Repository]:
    """Open the repository `m` of registry.test, which has given responses."""
    async with open_client(handler) as client:
        yield open_with(client, "https://registry.test", "m", token=token)


@contextmanager
def serve(app: ASGIApp) -> Iterator[str]:
    """Serve an application and yield its address."""
    server = connection_faults.server(app)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
