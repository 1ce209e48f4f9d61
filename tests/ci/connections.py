"""A job's identity and clients, at the fake cloud and at stand-ins with given responses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio.lowlevel
import httpx

from fakecloud import addresses
from fakecloud.state.fixtures import World
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


def job_identity(base: str, world: World, account: str | None = None) -> Identity:
    """Return the identity of a world's job at the fake cloud: a service account's, or its federated self."""
    given = Given(addresses.request_url(base), Token(world.request_token))
    endpoints = Endpoints.of(addresses.endpoints(base, world))
    return Identity(Provider.of(world.provider.resource), account, given, endpoints)


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
