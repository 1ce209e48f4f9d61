"""The client against the strict fake Artifact Registry: permissions, faults that it survives, errors."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import httpx
import pytest

from errors import RegistryDenied, RegistryError, RegistryUnreachable
from fakecloud.state.fixtures import CloudSetup
from image import archive_reader
from image.archive_reader import Layout
from keyless.federation import Federation
from net.retry_policy import Retrying
from oci.authentication import Mint
from oci.repository import Repository, open_with
from tests.ci.connections import job_identity, no_wait

if TYPE_CHECKING:
    from tests.ci.conftest import Archive

pytestmark = pytest.mark.anyio
REPOSITORY = "rehearsal-project/models"
NAMES = {"project": "rehearsal-project", "location": "us-central1", "repository": "models", "pusher": "us"}
Start = Callable[..., str]


@dataclass
class Client:
    """Repositories of one registry, with one client that keeps its requests."""

    retrying: Retrying
    base: str
    token: Mint | None
    sent: list[httpx.Request] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def repository(self, name: str = "") -> Repository:
        """Open a repository, an empty one of the setup's unless it is named."""
        name = name or f"{REPOSITORY}/{uuid.uuid4()}"
        there = open_with(self.retrying, self.base, name, token=self.token, names=NAMES)
        return replace(there, say=self.said.append)

    def requests_of(self, method: str, part: str = "") -> list[str]:
        """Return the paths of the requests of a method."""
        return [each.url.path for each in self.sent if each.method == method and part in each.url.path]


@asynccontextmanager
async def client(base: str, setup: CloudSetup) -> AsyncIterator[Client]:
    """Open a client that mints its tokens at the fake cloud."""
    async with httpx.AsyncClient(timeout=60) as http:
        retrying = Retrying(http, sleep=no_wait)
        identity = job_identity(base, setup, setup.service_account)
        made = Client(retrying, base, Federation(identity, retrying).access_token)

        async def note(request: httpx.Request) -> None:
            made.sent.append(request)

        http.event_hooks = {"request": [note]}
        yield made


@pytest.fixture
async def ours(google: str, setup: CloudSetup) -> AsyncIterator[Client]:
    """Yield a client of the usual setup's."""
    async with client(google, setup) as made:
        yield made


@pytest.fixture
def image(archive: Archive) -> Layout:
    """Return an image that no registry has, with a layer that takes several writes."""
    archive.index(archive.add_manifest(*(os.urandom(10) for _ in range(6)), os.urandom(4_000_000)))
    return archive_reader.read(archive.write())


async def test_publish_follows_the_challenge_with_a_minted_token(ours: Client, image: Layout) -> None:
    repository = ours.repository()
    await repository.check()
    assert await repository.publish(image, "v1.0.0")
    assert await repository.digest("v1.0.0") == image.digest
    assert len(ours.requests_of("GET", "/v2/token")) == 1
    requests_of = next(each for each in ours.sent if each.url.path == "/v2/token").url.params
    assert requests_of["scope"] == f"repository:{repository.name}:pull,push"
    minting = [each for each in ours.sent if not each.url.path.startswith(("/v2/", "/artifacts-"))]
    assert len(minting) == 3


async def test_a_missing_permission_to_push_fails_before_anything_is_built(
    google: str, setup: CloudSetup
) -> None:
    async with client(google, setup) as ours:
        with pytest.raises(
            RegistryDenied,
            match=r"(?s)token endpoint http://\S+/v2/token answered 403: DENIED: Permission "
            r'"artifactregistry.repositories.uploadArtifacts" denied.*cause: the writer role is missing',
        ):
            await ours.repository("rehearsal-project/elsewhere/m").check()


async def test_an_upload_whose_connection_is_lost_is_begun_again(
    start_google: Start, setup: CloudSetup, image: Layout
) -> None:
    async with client(start_google(setup, "registry:resetx3"), setup) as ours:
        repository = ours.repository()
        assert await repository.publish(image, "v1.0.0")
        for blob in image.blobs:
            content = b"".join([piece async for piece in repository.blob(blob.digest, blob.size)])
            assert content == b"".join(image.chunks(blob))
    assert len(ours.requests_of("POST", "/blobs/uploads/")) == len(image.blobs) + 3
    assert len([line for line in ours.said if "broken off, beginning again: registry 127.0.0.1" in line]) == 3


async def test_uploads_that_are_always_lost_end_after_some_attempts(
    start_google: Start, setup: CloudSetup, archive: Archive
) -> None:
    archive.index(archive.add_manifest(os.urandom(3_000_000)))
    image = archive_reader.read(archive.write())
    async with client(start_google(setup, "registry:resetx99"), setup) as ours:
        with pytest.raises(RegistryUnreachable, match=r"no answer to PUT /artifacts-uploads/") as lost:
            await ours.repository().publish(image, "v1.0.0")
        assert "the release again" in str(lost.value)
    assert 5 <= len(ours.requests_of("PUT", "/artifacts-uploads/")) <= 10
    assert not ours.requests_of("PUT", "/manifests/")


async def test_what_passes_is_survived(start_google: Start, setup: CloudSetup, image: Layout) -> None:
    faults = ("registry:503x3", "token:503x2", "token:reset")
    async with client(start_google(setup, *faults), setup) as ours:
        assert await ours.repository().publish(image, "v1.0.0")


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("registry:503x99", r"GET /v2/ answered 503\n  cause: .* is down"),
        ("token:503x99", r"token endpoint \S+ answered 503\n  cause: .* is down"),
    ],
)
async def test_a_lasting_failure_is_reported_with_its_cause(
    start_google: Start, setup: CloudSetup, fault: str, complaint: str
) -> None:
    async with client(start_google(setup, fault), setup) as ours:
        with pytest.raises(RegistryError, match=complaint):
            await ours.repository().check()


async def test_every_blob_has_its_line_of_bytes_and_seconds(ours: Client, image: Layout) -> None:
    repository = ours.repository()
    await repository.publish(image, "v1.0.0")
    assert len(ours.said) == len(image.blobs)
    assert all(re.fullmatch(r"sha256:[0-9a-f]{12}: \d+ bytes in \d+\.\d s", line) for line in ours.said)


async def test_a_copy_within_the_registry_mounts_its_blobs(ours: Client, image: Layout) -> None:
    source, target = ours.repository(), ours.repository()
    await source.publish(image, "v1.0.0")
    ours.sent.clear()
    assert await target.copy(source, image.digest, "v1.0.0")
    assert not await target.copy(source, image.digest, "v1.0.0")
    assert await target.digest("v1.0.0") == image.digest
    assert ours.requests_of("PUT", "/artifacts-uploads/") == []
    assert len([line for line in ours.said if "mounted from" in line]) == len(image.blobs)


async def test_a_copy_from_elsewhere_is_streamed(ours: Client, registry_url: str, image: Layout) -> None:
    async with httpx.AsyncClient(timeout=60) as http:
        source = open_with(Retrying(http), registry_url, f"tests/{uuid.uuid4()}")
        await source.publish(image, "v1.0.0")
        target = ours.repository()
        assert await target.copy(source, image.digest, "v1.0.0")
    assert await target.manifest(image.digest) == image.manifest


async def test_a_tag_that_others_took_meanwhile_is_explained(
    ours: Client, image: Layout, archive: Archive
) -> None:
    repository = ours.repository()
    await repository.publish(image, "v1.0.0")
    archive.index(archive.add_manifest(b"another"))
    other = archive_reader.read(archive.write())

    async def late(tag: str, digest: str) -> bool:
        return True

    object.__setattr__(repository, "_free", late)
    with pytest.raises(RegistryError, match=r"(?s)MANIFEST_INVALID: cannot update tag v1.0.0.*fix: git tag"):
        await repository.publish(other, "v1.0.0")
