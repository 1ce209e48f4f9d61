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
from fakecloud.state.fixtures import CloudSetup, usual_setup
from image import archive_reader
from keyless.federation import Federation
from net.retry_policy import Retrying
from oci.reference import Image, Release
from oci.repository import connect
from tests.ci import discovery
from tests.ci.conftest import Archive
from tests.ci.connections import job_identity
from tests.ci.deploying.targets.labs.fleet import Fleet, Model
from tests.ci.deploying.targets.labs.revision_starter import start_revisions

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
        discovery.check(self.base, request, answer)
        return answer

    async def aclose(self) -> None:
        """Close."""
        await self.inner.aclose()


@dataclass
class CloudRunLab:
    """A stand-in of its own, in front of a real registry."""

    base: str
    setup: CloudSetup
    registry_url: str
    fleet: Fleet
    folder: Path
    names: int = 9
    settings: Settings = field(default_factory=lambda: _settings(next(_NUMBERS)))

    def fresh(self) -> CloudRunLab:
        """Return another service of the same project."""
        return replace(self, settings=_settings(next(_NUMBERS)))

    def remove(self) -> None:
        """Leave it to the collector of garbage."""

    def transport(self) -> httpx.AsyncBaseTransport:
        """Return what carries requests over the network, and holds them against Google's descriptions."""
        return Described(self.base, httpx.AsyncHTTPTransport(verify=False))

    def is_change(self, request: httpx.Request) -> bool:
        """Return whether a request changes Cloud Run."""
        path = request.url.path
        return request.method != "GET" and path.startswith("/run/") and not path.endswith(":wait")

    def federation(self, client: Retrying) -> Federation:
        """Return the job's identity in the usual setup."""
        return Federation(job_identity(self.base, self.setup, self.setup.service_account), client)

    def target(self, client: Retrying) -> Target:
        """Return the driver."""
        return replace(CloudRun.of(self.settings, self.federation(client), client), names=self.names)

    async def release(self, tag: str, model: Model | None = None) -> Release:
        """Publish an image of its own content."""
        archive = Archive(self.folder / f"{tag}.tar")
        configuration = json.dumps(
            {"architecture": "amd64", "os": "linux", "tag": tag, "for": self.folder.name}
        )
        archive.index(archive.add_manifest(configuration=configuration.encode()))
        made = archive_reader.read(archive.write())
        repository = f"{self.setup.repository.project}/{self.setup.repository.name}/{self.folder.name}"
        async with connect(self.registry_url, repository) as place:
            await replace(place, say=lambda line: None).publish(made, tag)
        self.fleet.known[made.digest] = model or Model(tag)
        return Release(Image(self.setup.repository.host, repository, tag), made.digest)

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
    # New keys take longer than all the rest.
    setup = replace(usual_setup("the-request-token", control_key=KEY), tokens_per_key=10_000)
    base = start_google(setup)
    with start_revisions(base, KEY, fleet.start_revision):
        yield CloudRunLab(base, setup, registry_url, fleet, folder)
