"""Starter of Cloud Run's revisions in a rehearsal: the fake cloud names them, and gets their addresses."""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagger
import httpx
from dagger import dag

from fakecloud import addresses
from net.retry_policy import Retrying
from net.tokens import Token
from oci.image_download import pull
from oci.repository import Repository
from releasing.publishing import PLATFORM, PORT, as_service

_WAIT = 5  # seconds that the fake cloud holds a request without a pending revision
Distort = Callable[[dagger.Container], Awaitable[dagger.Service]]


async def as_it_is(image: dagger.Container) -> dagger.Service:
    """Return an image as the service that it is."""
    return as_service(image)


@dataclass
class Starter:
    """Starts the revisions that the fake cloud requests; `distorted` spoils releases, by digest."""

    base: str
    key: Token
    client: Retrying
    repository: Repository
    distorted: Mapping[str, Distort] = field(default_factory=dict)
    _running: list[dagger.Service] = field(default_factory=list)

    async def run(self) -> None:
        """Start revisions for ever."""
        while True:
            answer = await self._send("GET", "/pending", params={"seconds": str(_WAIT)})
            if answer.status_code == 200:
                pending = answer.json()
                instance = await self._instance(pending["revision"], pending["image"], pending["environment"])
                await self._send("POST", f"/revisions/{pending['revision']}", json={"instance": instance})

    async def stop(self) -> None:
        """Stop all that was started."""
        for service in self._running:
            await service.stop(kill=True)

    async def _instance(self, revision: str, image: str, environment: Mapping[str, str]) -> str:
        """Return where a revision answers, nothing when it ended before it listened."""
        digest = image.partition("@")[2]
        container = await self._image(digest)
        for name, value in {**environment, "PORT": str(PORT), "K_REVISION": revision}.items():
            container = container.with_env_variable(name, value)
        service = await self.distorted.get(digest, as_it_is)(container)
        with suppress(dagger.QueryError):
            started = await service.start()
            self._running.append(started)
            return await started.endpoint(port=PORT, scheme="http")
        return ""

    async def _image(self, digest: str) -> dagger.Container:
        archive = Path(f"{digest.removeprefix('sha256:')}.tar")
        await pull(self.repository, digest, archive)
        files = dag.current_module().workdir(".", include=[str(archive)])
        return dag.container(platform=PLATFORM).import_(files.file(str(archive)))

    async def _send(self, method: str, path: str, **sent: Any) -> httpx.Response:
        request = self.client.http.build_request(
            method,
            f"{self.base}{addresses.CONTROL}{path}",
            headers={"Authorization": self.key.authorization()},
            **sent,
        )
        return (await self.client.send(request)).raise_for_status()
