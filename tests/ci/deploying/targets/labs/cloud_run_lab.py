"""Cloud Run as the rehearsal has it, with a starter of revisions as the rehearsal has one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import httpx

from deploying.rollout.target import Target
from deploying.targets.cloud_run import CloudRun, Settings
from fakecloud import addresses
from fakecloud.state.fixtures import World, usual_world
from image import archive_reader
from keyless.endpoints import Endpoints
from keyless.federation import Federation
from keyless.google_identity import Identity, Provider
from keyless.oidc_sources import Given
from net.retry_policy import Retrying
from net.tokens import Token
from oci.reference import Image, Release
from oci.repository import connect
from tests.ci import discovery
from tests.ci.conftest import Archive
from tests.ci.deploying.targets.labs.fleet import Fleet, Model
from tests.ci.deploying.targets.labs.revision_starter import starting

KEY = "the-control-key"
_NUMBERS = count(1)


@dataclass
class Described(httpx.AsyncBaseTransport):
    """Carries requests to a stand-in for Google, and fails when one of them is not as Google describes it."""

    base: str
    inner: httpx.AsyncHTTPTransport

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Carry a request."""
        answer = await self.inner.handle_async_request(request)
        await answer.aread()
        discovery.checked(self.base, request, answer)
        return answer

    async def aclose(self) -> None:
        """Close."""
        await self.inner.aclose()


@dataclass
class CloudRunLab:
    """A stand-in of its own, in front of a real registry."""

    base: str
    world: World
    registry_url: str
    fleet: Fleet
    folder: Path
    settings: Settings = field(default_factory=lambda: _settings(next(_NUMBERS)))

    def fresh(self) -> CloudRunLab:
        """Return another service of the same project."""
        return replace(self, settings=_settings(next(_NUMBERS)))

    def remove(self) -> None:
        """Leave it to the collector of garbage."""

    def transport(self) -> httpx.AsyncBaseTransport:
        """Return what carries requests over the network, and holds them against Google's descriptions."""
        return Described(self.base, httpx.AsyncHTTPTransport(verify=False))

    def changing(self, request: httpx.Request) -> bool:
        """Return whether a request changes Cloud Run."""
        path = request.url.path
        return request.method != "GET" and path.startswith("/run/") and not path.endswith(":wait")

    def federation(self, client: Retrying) -> Federation:
        """Return the job's identity in the usual world."""
        world = self.world
        given = Given(addresses.request_url(self.base), Token(world.request_token))
        endpoints = Endpoints.of(addresses.endpoints(self.base, world))
        provider = Provider.of(world.provider.resource)
        return Federation(Identity(provider, world.service_account, given, endpoints), client)

    def target(self, client: Retrying) -> Target:
        """Return the driver."""
        return CloudRun.of(self.settings, self.federation(client), client)

    async def release(self, tag: str, model: Model | None = None) -> Release:
        """Publish an image of its own content."""
        archive = Archive(self.folder / f"{tag}.tar")
        configuration = json.dumps(
            {"architecture": "amd64", "os": "linux", "tag": tag, "for": self.folder.name}
        )
        archive.index(archive.add_manifest(configuration=configuration.encode()))
        made = archive_reader.read(archive.write())
        repository = f"{self.world.repository.project}/{self.world.repository.name}/{self.folder.name}"
        async with connect(self.registry_url, repository) as place:
            await replace(place, say=lambda line: None).publish(made, tag)
        self.fleet.known[made.digest] = model or Model(tag)
        return Release(Image(self.world.repository.host, repository, tag), made.digest)

    def mend(self, release: Release) -> None:
        """Let a release start from now on."""
        self.fleet.known[release.digest].starts = True


def _settings(number: int) -> Settings:
    return Settings("rehearsal-project", "us-central1", f"service{number}", lag=0)


@contextmanager
def cloud_run_lab(
    start_google: Callable[..., str], registry_url: str, fleet: Fleet, folder: Path
) -> Iterator[CloudRunLab]:
    """Yield a lab."""
    world = usual_world("the-request-token", control_key=KEY)
    base = start_google(world)
    with starting(base, KEY, fleet.start_told):
        yield CloudRunLab(base, world, registry_url, fleet, folder)
