"""One release: how a version of a commit is made, tried and pushed, wherever to and as whomever."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import dagger
from dagger import dag

from errors import DirtyRefused, ImagesDiffer, InvalidIdentity
from image import archive_reader, compare, release_files
from keyless.doctor import Place
from keyless.federation import Federation
from keyless.google_identity import Identity, known
from net.concurrency import together
from net.retry_policy import patient
from net.step_log import Steps
from oci.manifests import Parcel
from oci.reference import Destination, Image, Release
from oci.repository import Repository, connect
from releasing import smoke
from releasing.git_commit import Commit

PORT = 8080
_FILES = Path("release")
REGISTRY_PORT = 5000


class Pipeline(Protocol):
    """What a release is made by."""

    async def lint_team(self) -> str:
        """Check what the team writes."""

    async def test(self) -> str:
        """Test what a release depends on."""

    async def bundle(self, tag: str, commit: Commit) -> dagger.Container:
        """Return the container that made a version of a commit into files, as `bundled` does."""

    def train(self) -> dagger.Directory:
        """Return the model's folder."""

    def registry(self) -> dagger.Service:
        """Return the local registry."""


@dataclass(frozen=True)
class Allowed:
    """What may go to a registry that is not the local one."""

    stand_in: bool = False
    dirty: bool = False


async def release(
    pipeline: Pipeline,
    target: Image,
    commit: Commit,
    identity: Identity | None,
    steps: Steps,
    allowed: Allowed,
) -> Release:
    """Lint, test, build, try and push one version; raises a PipelineError, or what a container ends with."""
    check_commit(commit, target, allowed, steps)
    async with AsyncExitStack() as stack:

        async def reach() -> Repository:
            repository = await stack.enter_async_context(opened(pipeline, target, identity))
            await repository.check()
            return repository

        async def build() -> dagger.Directory:
            made = await pipeline.bundle(target.tag, commit)
            return (await made.sync()).directory(release_files.FOLDER)

        host = f"mint a token for {target.host}" if identity else f"ask {target.host}"
        repository, _ = await together(steps.timed(host, reach), steps.timed("lint", pipeline.lint_team))
        with steps.step("train"):
            await pipeline.train().sync()
        files, _ = await together(steps.timed("build", build), steps.timed("test", pipeline.test))
        with steps.step("try the image"):
            await tried(dag.container().import_(files.file(release_files.IMAGE)), target.tag)
        await files.export(str(_FILES))
        image = archive_reader.read(_FILES / release_files.IMAGE)
        if image.stand_ins and not target.local:
            archive_reader.check_base(image, allow_stand_in=allowed.stand_in)
            steps.note(f"allowed here: it is made from a stand-in for {', '.join(image.stand_ins)}")
        with steps.step(f"push {target}"):
            if not await repository.publish(image, target.tag, attachments(image, _FILES)):
                steps.note(f"{target} is {image.digest} already; nothing to push")
    return Release(target, image.digest)


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


def bundled(
    image: dagger.Container, programs: dagger.Container, commit: Commit, base: str
) -> dagger.Container:
    """Return the container that makes an image into a release's files, it prints the digest.

    The programs are a container of the base image with release_files.FILES; the release's files are in
    release_files.FOLDER.
    """
    archive = image.as_tarball(forced_compression=dagger.ImageLayerCompression.Uncompressed)
    origin = ["--revision", commit.revision, "--created", commit.created, "--base", base]
    command = ["python", "-m", release_files.PROGRAM, "/image.tar", release_files.FOLDER, *origin]
    return programs.with_mounted_file("/image.tar", archive).with_exec(command)


async def compared(programs: dagger.Container, ours: dagger.File, theirs: dagger.File) -> str:
    """Return that two images are the same; raises ImagesDiffer with how they differ."""
    mounted = programs.with_mounted_file("/ours.tar", ours).with_mounted_file("/theirs.tar", theirs)
    command = ["python", "-m", compare.PROGRAM, "/ours.tar", "/theirs.tar"]
    done = mounted.with_exec(command, expect=dagger.ReturnType.ANY)
    told, status = (await done.stdout()).strip(), await done.exit_code()
    if status:
        raise ImagesDiffer(f"compare: {told or (await done.stderr()).strip()}")
    return told


def attachments(image: archive_reader.Layout, folder: Path) -> list[Parcel]:
    """Return what is published about an image, from the files of its release."""
    return [
        Parcel.about(image, kind, name, (folder / name).read_bytes())
        for name, kind in release_files.KINDS.items()
    ]


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
