"""Manifests, referrers and copies from a registry, all of them verified."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from errors import InvalidLayout, RegistryError, StandInRefused
from image import archive_reader, canonical_json
from image.archive_reader import INDEX, MANIFEST, Layout
from oci.manifests import Manifest, Referrer
from oci.repository import Repository, connect
from tests.ci.connections import open_repository

if TYPE_CHECKING:
    from tests.ci.conftest import Archive

pytestmark = pytest.mark.anyio
CONFIG = "application/vnd.oci.image.config.v1+json"
OTHER = "sha256:" + "0" * 64


@pytest.fixture
def image(archive: Archive) -> Layout:
    """Return an image of two layers."""
    archive.index(archive.add_manifest(b"one", b"two"))
    return archive_reader.read(archive.write())


async def put(repository: Repository, reference: str, kind: str, document: dict[str, object]) -> str:
    """Put a manifest into the real registry and return its digest."""
    content, path = json.dumps(document).encode(), f"/v2/{repository.name}/manifests/{reference}"
    await repository.wire.send("PUT", path, 201, headers={"Content-Type": kind}, content=content)
    return canonical_json.digest(content)


async def test_a_manifest_is_read_by_tag_and_by_digest(repository: Repository, image: Layout) -> None:
    await repository.publish(image, "v1.0.0")
    assert await repository.manifest("v1.0.0") == image.manifest
    assert await repository.manifest(image.digest) == image.manifest


@pytest.mark.parametrize("reference", ["v1.0.0", OTHER])
async def test_a_manifest_that_is_not_there_is_named(repository: Repository, reference: str) -> None:
    with pytest.raises(RegistryError, match=f"{repository.name} has no {reference}; `dagger call images`"):
        await repository.manifest(reference)


@pytest.mark.parametrize(("reference", "headers"), [(OTHER, {}), ("v1", {"Docker-Content-Digest": OTHER})])
async def test_a_manifest_of_another_digest_is_refused(reference: str, headers: dict[str, str]) -> None:
    answer = httpx.Response(200, content=b"{}", headers=headers)
    async with open_repository(lambda request: answer) as repository:
        with pytest.raises(
            RegistryError, match=f"{OTHER} has the content of {canonical_json.digest(b'{}')}; don't use it"
        ):
            await repository.manifest(reference)


async def test_a_manifest_that_is_too_large_is_refused() -> None:
    answer = httpx.Response(200, content=b" " * (archive_reader.MAX_DOCUMENT + 1))
    async with open_repository(lambda request: answer) as repository:
        with pytest.raises(RegistryError, match="has 4194305 bytes; 4194304 are the most"):
            await repository.manifest("v1")


@pytest.mark.parametrize("content", [b"{}", b'{"config": 1, "layers": []}', b'{"config": {"digest": "x"}}'])
def test_a_manifest_of_another_shape_is_refused(content: bytes) -> None:
    with pytest.raises(RegistryError, match="is no image manifest"):
        _ = Manifest(MANIFEST, content).blobs


async def test_referrers_are_found_by_the_fallback_tag(repository: Repository, image: Layout) -> None:
    await repository.publish(image, "v1.0.0")
    assert await repository.referrers(image.digest) == []
    empty: dict[str, object] = {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}
    about = await put(repository, "about", INDEX, empty)
    listed = {"mediaType": INDEX, "artifactType": "application/spdx+json", "digest": about, "size": 2}
    await put(repository, image.digest.replace(":", "-"), INDEX, empty | {"manifests": [listed]})
    assert await repository.referrers(image.digest) == [Referrer(about, "application/spdx+json", 2)]


async def test_referrers_are_read_from_the_registry_s_list_page_by_page() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        described = {"mediaType": MANIFEST, "digest": OTHER, "size": 7}
        more = {} if request.url.query else {"Link": f'<{request.url.path}?page=2>; rel="next"'}
        return httpx.Response(200, json={"manifests": [described]}, headers=more)

    async with open_repository(handler) as repository:
        assert await repository.referrers(OTHER) == [Referrer(OTHER, MANIFEST, 7)] * 2


async def test_malformed_referrers_are_refused() -> None:
    async with open_repository(lambda request: httpx.Response(200, json={"manifests": [1]})) as repository:
        with pytest.raises(RegistryError, match="list of referrers is malformed"):
            await repository.referrers(OTHER)


async def test_a_copy_brings_an_index_with_all_its_images(
    repository: Repository, registry_url: str, archive: Archive
) -> None:
    described = [archive.add_manifest(b"amd64"), archive.add_manifest(b"arm64")]
    for number, each in enumerate(described):
        archive.index(each)
        await repository.publish(archive_reader.read(archive.write()), f"v{number}")
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": described}
    digest = await put(repository, "all", INDEX, document)
    async with connect(registry_url, f"tests/{uuid.uuid4()}") as target:
        assert await target.copy(repository, digest, "v1.0.0")
        assert await target.digest("v1.0.0") == digest
        for each in described:
            assert canonical_json.digest(await target.manifest(str(each["digest"]))) == each["digest"]


async def test_a_copy_of_what_is_not_there_is_refused(repository: Repository) -> None:
    with pytest.raises(RegistryError, match=f"has no {OTHER}"):
        await repository.copy(repository, OTHER, "v1.0.0")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda content: content[::-1], "has the content of sha256:"),
        (lambda content: content + b"x", "bytes; [0-9]+ are the most"),
        (lambda content: content[1:], "has fewer bytes than|has the content of"),
    ],
)
async def test_a_copy_of_a_blob_that_is_damaged_is_refused(
    repository: Repository, image: Layout, damage: Callable[[bytes], bytes], complaint: str
) -> None:
    blobs = {blob.digest: b"".join(image.chunks(blob)) for blob in image.blobs}

    def respond_damaged(request: httpx.Request) -> httpx.Response:
        if "/manifests/" in request.url.path:
            return httpx.Response(200, content=image.manifest, headers={"Content-Type": MANIFEST})
        return httpx.Response(200, content=damage(blobs[request.url.path.rpartition("/")[2]]))

    async with open_repository(respond_damaged) as source:
        with pytest.raises(RegistryError, match=complaint):
            await repository.copy(source, image.digest, "v1.0.0")
    assert await repository.digest("v1.0.0") is None


def label(archive: Archive, config: bytes) -> Layout:
    """Return an image without layers and with a configuration."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": archive.add(config, CONFIG),
        "layers": [],
    }
    archive.index(archive.add(json.dumps(document).encode(), MANIFEST))
    return archive_reader.read(archive.write())


def test_an_image_from_stand_ins_is_refused_with_their_names(archive: Archive) -> None:
    labels = {archive_reader.STAND_IN_LABEL: "python:3.11 registry:3"}
    image = label(archive, json.dumps({"config": {"Labels": labels}}).encode())
    with pytest.raises(StandInRefused, match=r"stand-in for python:3.11, registry:3, .* --allow-stand-in"):
        archive_reader.check_base(image, allow_stand_in=False)
    archive_reader.check_base(image, allow_stand_in=True)


@pytest.mark.parametrize("config", [b"{}", b'{"config": null}', b'{"config": {"Labels": {"a": "b"}}}'])
def test_an_image_from_genuine_bases_may_go_anywhere(archive: Archive, config: bytes) -> None:
    archive_reader.check_base(label(archive, config), allow_stand_in=False)


@pytest.mark.parametrize("config", [b"", b"[]", b'{"config": {"Labels": [1]}}'])
def test_an_image_whose_labels_cannot_be_read_is_refused(archive: Archive, config: bytes) -> None:
    with pytest.raises(InvalidLayout, match="is no configuration"):
        archive_reader.check_base(label(archive, config), allow_stand_in=False)


def test_the_label_of_stand_ins_is_the_embedded_engine_s() -> None:
    engine = Path(archive_reader.__file__).parents[2] / "engine/daggerw_engine/values/config.py"
    assert f'STAND_IN_LABEL = "{archive_reader.STAND_IN_LABEL}"' in engine.read_text()
