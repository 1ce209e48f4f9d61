"""Documents that are published about an image: OCI referrers, also where a registry keeps no list of them."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING

import httpx
import pytest

from errors import RegistryError
from image import archive_reader
from image.archive_reader import INDEX, MANIFEST, Layout
from oci.manifests import EMPTY, Parcel, Referrer
from oci.repository import Repository, connect
from tests.ci.connections import open_repository
from tests.ci.oci.test_manifests import put
from tests.ci.oci.test_repository_fakecloud import client

if TYPE_CHECKING:
    from fakecloud.state.fixtures import CloudSetup
    from tests.ci.conftest import Archive

pytestmark = pytest.mark.anyio
KIND, OTHER_KIND = "application/vnd.cyclonedx+json", "application/vnd.in-toto+json"


@pytest.fixture
def image(archive: Archive) -> Layout:
    """Return an image that no other test has."""
    archive.index(archive.add_manifest(uuid.uuid4().bytes))
    return archive_reader.read(archive.write())


@pytest.fixture
def about(image: Layout) -> list[Parcel]:
    """Return two documents about the image."""
    first = Parcel.about(image.manifest, KIND, "a.json", b'{"a":1}')
    return [first, Parcel.about(image.manifest, OTHER_KIND, "b.json", b"{}")]


def test_a_document_s_manifest_is_an_artifact_s_about_the_image(image: Layout, about: list[Parcel]) -> None:
    document = json.loads(about[0].manifest.content)
    assert document["artifactType"] == document["layers"][0]["mediaType"] == KIND
    assert document["layers"][0]["annotations"] == {"org.opencontainers.image.title": "a.json"}
    assert document["config"]["mediaType"] == EMPTY
    assert document["subject"] == {"digest": image.digest, "mediaType": MANIFEST, "size": len(image.manifest)}


async def test_documents_are_found_by_the_image_s_digest_and_read_back(
    repository: Repository, image: Layout, about: list[Parcel]
) -> None:
    assert await repository.publish(image, "v1.0.0", about)
    found = await repository.referrers(image.digest)
    assert sorted(each.kind for each in found) == [KIND, OTHER_KIND]
    assert {each.digest for each in found} == {each.manifest.digest for each in about}
    assert b"".join([piece async for piece in repository.blob(about[0].blobs[1].digest, 7)]) == b'{"a":1}'


async def test_documents_that_are_missing_are_added_to_an_image_that_is_there(
    repository: Repository, image: Layout, about: list[Parcel]
) -> None:
    await repository.publish(image, "v1.0.0", about[:1])
    assert await repository.publish(image, "v1.0.0", about)
    assert len(await repository.referrers(image.digest)) == 2


async def test_what_others_attached_stays_listed_as_they_listed_it(
    repository: Repository, image: Layout, about: list[Parcel]
) -> None:
    theirs = {"mediaType": INDEX, "artifactType": "theirs", "annotations": {"a": "b"}}
    index: dict[str, object] = {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
    digest = await put(repository, "empty", INDEX, index)
    described = {**theirs, "digest": digest, "size": len(json.dumps(index))}
    await put(repository, image.digest.replace(":", "-"), INDEX, {**index, "manifests": [described]})
    await repository.publish(image, "v1.0.0", about)
    listed = json.loads(await repository.manifest(image.digest.replace(":", "-")))["manifests"]
    assert described in listed
    assert len(listed) == 3


async def test_the_list_s_tag_is_not_among_the_tags(
    repository: Repository, image: Layout, about: list[Parcel]
) -> None:
    await repository.publish(image, "v1.0.0", about)
    assert await repository.tags() == ["v1.0.0"]


@pytest.mark.parametrize("kept", [False, True], ids=["by tag", "by the registry"])
async def test_nothing_shows_before_everything_is_there_and_who_keeps_the_list_is_given_none(
    image: Layout, about: list[Parcel], kept: bool
) -> None:
    put: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "PUT" and "/manifests/" in request.url.path:
            put.append(request.url.path.rpartition("/")[2])
        status = {"GET": 404, "HEAD": 200, "PUT": 201}[request.method]
        return httpx.Response(status, headers={"OCI-Subject": image.digest} if kept else {})

    async with open_repository(handler) as repository:
        await repository.publish(image, "v1.0.0", about)
    digests = [each.manifest.digest for each in about]
    fallback = [] if kept else [image.digest.replace(":", "-")]
    assert put == [image.digest, *digests, *fallback, "v1.0.0"]


async def test_immutable_tags_accept_the_list_once_and_find_it_identical(
    google: str, setup: CloudSetup, image: Layout, about: list[Parcel]
) -> None:
    async with client(google, setup) as ours:
        repository = ours.repository()
        assert await repository.publish(image, "v1.0.0-list", about)
        assert not await repository.publish(image, "v1.0.0-list", about)
        assert len(await repository.referrers(image.digest)) == 2
        another = Parcel.about(image.manifest, KIND, "c.json", b"[]")
        with pytest.raises(RegistryError, match="immutability"):
            await repository.publish(image, "v1.0.0-list", [another])


async def test_a_copy_brings_what_is_named_of_what_is_attached(
    repository: Repository, registry_url: str, image: Layout, about: list[Parcel]
) -> None:
    await repository.publish(image, "v1.0.0", about)
    async with connect(registry_url, f"copies/{uuid.uuid4()}") as target:
        named = about[0].manifest.digest
        assert await target.copy(repository, image.digest, "v1.0.0", [named])
        assert not await target.copy(repository, image.digest, "v1.0.0", [named])
        found: list[Referrer] = await target.referrers(image.digest)
        assert [each.digest for each in found] == [named]
        assert await target.digest("v1.0.0") == image.digest
