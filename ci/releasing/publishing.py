"""Publication of one release: lint, test, build, try, push."""

from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import dagger
from dagger import dag

from errors import DirtyRefused
from image import archive_reader, conformance, release_files
from keyless.google_identity import Identity
from keyless.oidc_sources import Given
from net.concurrency import together
from net.retry_policy import patient
from net.step_log import Steps
from oci.manifests import Parcel
from oci.reference import Image, Release
from oci.repository import Repository
from releasing import model_card, smoke
from releasing.git_commit import Commit
from releasing.registry_access import RegistryAccess
from releasing.release_documents import document
from signing import bundles
from signing.release_signature import Signing

PORT, PLATFORM = 8080, dagger.Platform(conformance.PLATFORM)
_FILES = Path("release")


@dataclass(frozen=True)
class Draft:
    """One version of a commit before its release: what checks it, and what it is made of.

    Nothing of it has run: Dagger runs a container when its result is needed. `build_parts` builds what lint
    and training need. `bundles` has a container for each target of the Dockerfile, which makes that image
    into a release's files; the model decides which one.
    """

    commit: Commit
    build_parts: Callable[[], Coroutine[object, object, object]]
    lint: dagger.Container
    test: dagger.Container
    model: dagger.Directory
    bundles: Mapping[str, dagger.Container]

    async def check(self) -> None:
        """Lint the team's files, after what they and the model need is built at the same time."""
        await self.build_parts()
        await self.lint.sync()

    async def files(self) -> dagger.Directory:
        """Return the folder of the release's files, when they are made."""
        target = model_card.image_target(await self.model.file("card.json").contents())
        bundle = await self.bundles[target].sync()
        return bundle.directory(release_files.FOLDER)


@dataclass(frozen=True)
class Allowed:
    """Exceptions that the user allowed for a registry that is not the local one."""

    stand_in: bool = False
    dirty: bool = False


async def release(
    draft: Draft, target: Image, access: RegistryAccess, steps: Steps, allowed: Allowed, signing: Signing
) -> Release:
    """Lint, test, build, try and push one version; raises a PipelineError, or what a container ends with."""
    check_commit(draft.commit, target, allowed, steps)
    async with AsyncExitStack() as stack:

        async def reach() -> Repository:
            repository = await stack.enter_async_context(access.open(target))
            await repository.check()
            return repository

        host = f"mint a token for {target.host}" if access.identity else f"ask {target.host}"
        repository, _ = await together(steps.wrap(host, reach), steps.wrap("lint", draft.check))
        with steps.step("train"):
            await draft.model.sync()
        files, _ = await together(steps.wrap("build", draft.files), steps.wrap("test", draft.test.sync))
        with steps.step("try the image"):
            await try_image(
                dag.container(platform=PLATFORM).import_(files.file(release_files.IMAGE)), target.tag
            )
        await files.export(str(_FILES))
        image = archive_reader.read(_FILES / release_files.IMAGE)
        if not target.local:
            conformance.check_platform(image)
        check_base(image, target, allowed, steps)
        made, documents = Release(target, image.digest), attachments(image, _FILES)
        documents += await _signature(repository, made, image.manifest, access.identity, signing, steps)
        with steps.step(f"push {target}"):
            if not await repository.publish(image, target.tag, documents):
                steps.note(f"{target} is {image.digest} already; nothing to push")
        return made


async def _signature(
    repository: Repository,
    release: Release,
    image: bytes,
    identity: Identity | None,
    signing: Signing,
    steps: Steps,
) -> list[Parcel]:
    """Return the signature to attach to an image: one, or none when it has one or is not to have one."""
    if identity is None and signing.consent.token is None:
        return []
    given = identity.given if identity else Given()
    statement = (_FILES / release_files.PROVENANCE).read_bytes()
    with steps.step("sign the provenance"):
        async with patient() as client:
            bundle = await signing.bundle(repository, release, statement, given, client, steps.note)
    return [bundles.parcel(image, bundle)] if bundle else []


def check_base(image: archive_reader.Layout, target: Image, allowed: Allowed, steps: Steps) -> None:
    """Raise StandInRefused unless what is pushed is made from the base image, or need not be."""
    if image.stand_ins and not target.local:
        archive_reader.check_base(image, allow_stand_in=allowed.stand_in)
        steps.note(f"allowed here: it is made from a stand-in for {', '.join(image.stand_ins)}")


def check_commit(commit: Commit, target: Image, allowed: Allowed, steps: Steps) -> None:
    """Raise DirtyRefused unless what is built is a commit, or need not be."""
    if not commit.dirty or target.local:
        return
    if not allowed.dirty:
        raise DirtyRefused(
            f"git: the work tree has changes that commit {commit.digest:.12} has not, which only the local "
            "registry takes; commit or stash them (`git status` lists them)"
        )
    steps.note(f"allowed here: the work tree has changes that commit {commit.digest:.12} has not")


def attachments(image: archive_reader.Layout, folder: Path) -> list[Parcel]:
    """Return what is published about an image, from the files of its release."""
    return [document(image.manifest, name, (folder / name).read_bytes()) for name in release_files.KINDS]


async def try_image(image: dagger.Container, tag: str) -> float:
    """Start an image, and return what it predicts; raises SmokeError when that is not fit for a release."""
    service = await as_service(image).start()
    try:
        return await smoke.predict(await service.endpoint(port=PORT, scheme="http"), tag)
    finally:
        await service.stop()


def as_service(image: dagger.Container) -> dagger.Service:
    """Return an image as the service that it is."""
    return image.with_exposed_port(PORT).as_service(use_entrypoint=True)
