"""One release: how a version is made, tried and pushed, wherever to and as whomever."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Protocol

import dagger

import layout
import smoke
from doctor import Place
from errors import InvalidIdentity
from principal import Identity, known
from reference import Destination, Image, Release
from registry import Repository, connect
from retrying import patient
from steps import Steps
from together import together
from wif import Federation

PORT = 8080
REGISTRY_PORT = 5000


class Pipeline(Protocol):
    """What a release is made by."""

    async def check(self) -> str:
        """Lint and test."""

    async def build(self, tag: str) -> dagger.Container:
        """Return the image of a version."""

    def train(self) -> dagger.Directory:
        """Return the model's folder."""

    def registry(self) -> dagger.Service:
        """Return the local registry."""


async def release(
    pipeline: Pipeline, target: Image, identity: Identity | None, steps: Steps, *, allow_stand_in: bool
) -> Release:
    """Lint, test, build, try and push one version; raises a PipelineError, or what a container ends with."""
    async with AsyncExitStack() as stack:
        with steps.step(f"mint a token for {target.host}" if identity else f"ask {target.host}"):
            repository = await stack.enter_async_context(opened(pipeline, target, identity))
            await repository.check()
        built = await pipeline.build(target.tag)
        await together(steps.timed("lint and test", pipeline.check), steps.timed("build", built.sync))
        with steps.step("try the image"):
            await tried(built, target.tag)
        with steps.step("pack it"):
            await built.as_tarball().export("image.tar")
            image = layout.read(Path("image.tar"))
        if image.stand_ins and not target.local:
            layout.check_base(image, allow_stand_in=allow_stand_in)
            steps.note(f"allowed here: it is made from a stand-in for {', '.join(image.stand_ins)}")
        with steps.step(f"push {target}"):
            if not await repository.publish(image, target.tag):
                steps.note(f"{target} is {image.digest} already; nothing to push")
    return Release(target, image.digest)


@asynccontextmanager
async def opened(pipeline: Pipeline, target: Image, identity: Identity | None) -> AsyncIterator[Repository]:
    """Open a release's repository, as somebody when there is an identity."""
    if identity is None:
        async with connect(await _address(pipeline, target), target.repository) as repository:
            yield repository
        return
    if target.local:
        raise InvalidIdentity(
            "registry: the local registry knows nobody; give --registry, too, or no identity"
        )
    # Google's tokens go to Google's registry and to no other.
    place = Place.of(Destination(target.host, target.repository, target.tag))
    async with patient() as client:
        token = Federation(identity, client).access_token
        await token()  # there is no need to ask the registry as nobody
        address, names = identity.endpoints.registry(target.host), known(identity, {}) | place.names
        async with connect(address, target.repository, token=token, names=names) as repository:
            yield repository


async def tried(image: dagger.Container, tag: str) -> float:
    """Start an image, and return what it predicts; raises SmokeError when that is not fit for a release."""
    service = await served(image).start()
    try:
        return await smoke.predict(await service.endpoint(port=PORT, scheme="http"), tag)
    finally:
        await service.stop()


def served(image: dagger.Container) -> dagger.Service:
    """Return an image as the service that it is."""
    return image.with_exposed_port(PORT).as_service(use_entrypoint=True)


async def _address(pipeline: Pipeline, target: Image) -> str:
    if not target.local:
        return f"https://{target.host}"
    service = await pipeline.registry().start()
    return await service.endpoint(port=REGISTRY_PORT, scheme="http")
