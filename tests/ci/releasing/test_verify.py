"""Verification of published images: every difference is found and named."""

from __future__ import annotations

import json
import random
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from errors import NotVerified
from image import archive_reader, canonical_json, release_files
from image.archive_reader import Layout
from net.retry_policy import Retrying
from oci.manifests import Parcel
from oci.reference import Image, Release
from oci.repository import Repository, connect, open_with
from releasing import publishing, release_documents, verify
from tests.ci.sample_image import CARD, FILES, ORIGIN, VARIABLES, build, layer
from tests.ci.sigstore_lab import UNSIGNED

if TYPE_CHECKING:
    from tests.ci.conftest import Archive

pytestmark = pytest.mark.anyio
Publish = Callable[..., Awaitable[Release]]


@pytest.fixture
async def repository(
    registry_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Repository]:
    """Yield an empty repository of the real registry. The module has a folder of its own."""
    monkeypatch.chdir(tmp_path)
    async with connect(registry_url, f"tests/{uuid.uuid4()}") as repository:
        yield repository


@pytest.fixture
def publish(repository: Repository, archive: Archive, tmp_path: Path) -> Publish:
    """Return what publishes an image of changed FILES, and documents that may be changed, too."""

    async def publish(
        changed: dict[str, bytes] | None = None,
        documents: Callable[[Layout, Path], list[Parcel]] = publishing.attachments,
        **how: Any,
    ) -> Release:
        folder = tmp_path / "release"
        digest = release_files.write(
            build(archive, layer({**FILES, **(changed or {})}), **how), ORIGIN, folder
        )
        image = archive_reader.read(folder / release_files.IMAGE)
        await repository.publish(image, "v1.0.0", documents(image, folder))
        return Release(Image("localhost:5000", repository.name, "v1.0.0"), digest)

    return publish


def rewrite(name: str, change: Callable[[dict[str, Any]], object]) -> Callable[[Layout, Path], list[Parcel]]:
    """Return a function that attaches a release's documents, one of them changed, with correct digests."""

    def attach(image: Layout, folder: Path) -> list[Parcel]:
        document = json.loads((folder / name).read_bytes())
        change(document)
        (folder / name).write_bytes(canonical_json.canonical(document))
        return publishing.attachments(image, folder)

    return attach


async def refusal(repository: Repository, release: Release) -> str:
    """Return why a release is not verified."""
    with pytest.raises(NotVerified) as raised:
        await verify.verify_release(repository, release, UNSIGNED)
    assert str(raised.value).startswith(f"verify: {release}:")
    return raised.value.message.partition(f"{release}:")[2]


async def test_what_was_published_is_verified(repository: Repository, publish: Publish) -> None:
    released = await publish()
    assert str(await verify.verify_release(repository, released, UNSIGNED)).splitlines() == [
        str(released),
        "  image: 3 layers of 0.0 MB, the same when made anew",
        "  sbom.cdx.json: 5 components, as in the image",
        f"  provenance.intoto.json: version v1.0.0, commit {'c' * 40}",
        "  model: as its card says",
        "  signature: none, as this is the local registry",
    ]


class Changed(httpx.AsyncHTTPTransport):
    """The way to the registry, on which one byte of one content changes."""

    def __init__(self) -> None:
        """Change nothing yet, and learn which contents there are."""
        super().__init__()
        self.contents: dict[str, int] = {}
        self.place: tuple[str, int] | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer as the registry does, but for a byte."""
        answer = await super().handle_async_request(request)
        content = bytearray(await answer.aread())
        path = request.url.path
        if answer.status_code == 200 and ("/manifests/" in path or "/blobs/" in path):
            self.contents[path] = len(content)
            if self.place and self.place[0] == path:
                content[self.place[1]] ^= 1
        return httpx.Response(answer.status_code, headers=answer.headers, content=bytes(content))


@asynccontextmanager
async def through(transport: httpx.AsyncBaseTransport, repository: Repository) -> AsyncIterator[Repository]:
    async with httpx.AsyncClient(transport=transport, timeout=60) as http:
        yield open_with(Retrying(http), str(repository.wire.base), repository.name)


async def test_one_changed_byte_is_found_and_named_in_every_content(
    repository: Repository, publish: Publish
) -> None:
    released, transport, chance = await publish(), Changed(), random.Random(6)
    async with through(transport, repository) as changed:
        await verify.verify_release(changed, released, UNSIGNED)
        # Two manifests, a list of referrers, the image by digest and by tag; four blobs of it, two documents.
        contents = dict(transport.contents)
        assert len(contents) == 11
        for path, size in [*contents.items()] * 2:
            transport.place = path, chance.randrange(size)
            complaint = await refusal(changed, released)
            assert "has the content of sha256:" in complaint
            reference = path.rpartition("/")[2]
            assert reference in complaint or reference in ("v1.0.0", released.digest.replace(":", "-"))


@pytest.mark.parametrize(
    ("name", "change", "complaint"),
    [
        (
            release_files.SBOM,
            lambda bill: bill["components"].pop(0),
            r"sbom.cdx.json.components.pkg:deb/debian/zlib1g@\S+: nothing is said, {.* is true",
        ),
        (
            release_files.SBOM,
            lambda bill: bill["components"][-1].update(version="0.9.1"),
            "httptools@0.9.0.version: '0.9.1' is said, '0.9.0' is true",
        ),
        (
            release_files.SBOM,
            lambda bill: bill["components"][-2]["components"][0]["hashes"][0].update(content="0"),
            r"rehearsed-service@v1.0.0.components.app/app/__init__.py: '0' is said",
        ),
        (release_files.SBOM, lambda bill: bill.update(components=1), "no bill of materials: .* is said"),
        (
            release_files.PROVENANCE,
            lambda statement: statement["subject"][0]["digest"].update(sha256="0" * 64),
            r"subject\[0\].digest.sha256: '0000",
        ),
        (
            release_files.PROVENANCE,
            lambda statement: statement["predicate"]["buildDefinition"]["resolvedDependencies"][0].update(
                digest={"gitCommit": "f" * 40}
            ),
            r"resolvedDependencies\[0\].digest.gitCommit: 'ffff",
        ),
        (
            release_files.PROVENANCE,
            lambda statement: statement["predicate"]["runDetails"]["byproducts"][0].update(
                digest={"sha256": "0" * 64}
            ),
            r"byproducts\[0\].digest.sha256: '0000",
        ),
    ],
)
async def test_a_document_that_says_something_else_than_the_image_is_found(
    repository: Repository,
    publish: Publish,
    name: str,
    change: Callable[[dict[str, Any]], object],
    complaint: str,
) -> None:
    released = await publish(documents=rewrite(name, change))
    assert re.search(complaint, await refusal(repository, released))


async def test_a_release_of_an_earlier_pipeline_is_recognised_by_its_bill_without_files(
    repository: Repository, publish: Publish
) -> None:
    def without_files(bill: dict[str, Any]) -> None:
        for each in (bill["metadata"]["component"], *bill["components"]):
            each.pop("components", None)

    found = await refusal(repository, await publish(documents=rewrite(release_files.SBOM, without_files)))
    assert found.count("sbom.cdx.json") == 1
    assert "it lists no files: an earlier version of this pipeline published the release" in found
    assert "publish the model again as the next version" in found


async def test_a_document_that_is_no_json_is_found(repository: Repository, publish: Publish) -> None:
    def attach(image: Layout, folder: Path) -> list[Parcel]:
        (folder / release_files.PROVENANCE).write_bytes(b"{")
        return publishing.attachments(image, folder)

    assert "provenance.intoto.json: 'no JSON: " in await refusal(repository, await publish(documents=attach))


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "sbom.cdx.json: none is attached"), (1, "provenance.intoto.json: none is attached; publish")],
)
async def test_a_document_that_is_not_there_is_named(
    repository: Repository, publish: Publish, count: int, said: str
) -> None:
    released = await publish(documents=lambda *given: publishing.attachments(*given)[:count])
    assert said in await refusal(repository, released)


@pytest.mark.parametrize("name", list(release_files.KINDS))
async def test_foreign_documents_make_nothing_fail(
    repository: Repository, publish: Publish, archive: Archive, name: str
) -> None:
    def attach(image: Layout, folder: Path) -> list[Parcel]:
        kind, real = release_files.KINDS[name], (folder / name).read_bytes()
        foreign = [b"{}", b"[" * 100_000, real.replace(b"v1.0.0", b"v9.9.9")]
        others = [Parcel.about(image.manifest, kind, name, each) for each in foreign]
        return [*others, *publishing.attachments(image, folder)]

    assert await verify.verify_release(repository, await publish(documents=attach), UNSIGNED)


async def test_foreign_documents_alone_are_compared_with_the_closest_named(
    repository: Repository, publish: Publish
) -> None:
    def attach(image: Layout, folder: Path) -> list[Parcel]:
        kind, real = (
            release_files.KINDS[release_files.PROVENANCE],
            (folder / release_files.PROVENANCE).read_bytes(),
        )
        foreign = [b"{}", b"[" * 100_000, real.replace(b"c" * 40, b"d" * 40), b"[]"]
        others = [Parcel.about(image.manifest, kind, "p", each) for each in foreign]
        return [*others, *publishing.attachments(image, folder)[:1]]

    found = await refusal(repository, await publish(documents=attach))
    assert "provenance.intoto.json: 1 more are attached, not compared" in found


async def test_a_document_about_another_image_is_refused(
    repository: Repository, publish: Publish, archive: Archive, tmp_path: Path
) -> None:
    release_files.write(build(archive, version="v2.0.0"), ORIGIN, tmp_path / "other")
    other = archive_reader.read(tmp_path / "other" / release_files.IMAGE)
    released = await publish(documents=lambda image, folder: publishing.attachments(other, folder))
    assert "is not about this image" in await refusal(repository, released)


async def test_a_model_that_is_not_its_card_s_is_found(repository: Repository, publish: Publish) -> None:
    released = await publish({"app/model/model.joblib": b"another"})
    found = await refusal(repository, released)
    another = canonical_json.digest(b"another")[7:]
    assert f"app/model/model.joblib: {another}, its card says {CARD['artifact_sha256']}" in found


@pytest.mark.parametrize(("name", "altered"), [("model.json", b"altered"), ("golden.json", b"altered")])
async def test_a_portable_model_and_golden_rows_are_held_against_the_card(
    repository: Repository, publish: Publish, name: str, altered: bytes
) -> None:
    sha256 = canonical_json.digest(b"as trained").removeprefix("sha256:")
    card = {**CARD, "artifact_sha256": "not here", "portable": {"sha256": sha256}, "golden_sha256": sha256}
    files = {
        "card.json": json.dumps(card).encode(),
        "model.json": b"as trained",
        "golden.json": b"as trained",
    }
    released = await publish(
        {f"app/model/{each}": content for each, content in {**files, name: altered}.items()}
    )
    assert f"app/model/{name}: {canonical_json.digest(altered)[7:]}, its card says {sha256}" in await refusal(
        repository, released
    )


@pytest.mark.parametrize(("number", "name"), [(1, "model.json"), (2, "model.bin")])
async def test_a_portable_model_is_verified_without_its_pickle(
    repository: Repository, publish: Publish, number: int, name: str
) -> None:
    card = {
        **CARD,
        "artifact_sha256": "not here",
        "portable": {"sha256": canonical_json.digest(b"plain")[7:], "format": number},
    }
    files = {"app/model/card.json": json.dumps(card).encode(), f"app/model/{name}": b"plain"}
    assert "  model: as its card says" in str(
        await verify.verify_release(repository, await publish(files), UNSIGNED)
    )


async def test_a_version_that_is_not_the_label_s_is_found(repository: Repository, publish: Publish) -> None:
    released = await publish(Env=[*VARIABLES, "MODEL_VERSION=v0.9.0"])
    expected = "variable.MODEL_VERSION: 'v0.9.0' in the registry, 'v1.0.0' by the rule"
    assert expected in await refusal(repository, released)


async def test_a_tag_that_leads_elsewhere_is_found(repository: Repository, publish: Publish) -> None:
    first = await publish()
    second = Release(Image("localhost:5000", repository.name, "v1.0.1"), first.digest)
    found = await refusal(repository, second)
    assert "tag: v1.0.1 names nothing" in found
    assert "tag: v1.0.1, the label says 'v1.0.0'" in found
    untagged = Release(Image("localhost:5000", repository.name, ""), first.digest)
    assert await verify.verify_release(repository, untagged, UNSIGNED)


async def test_an_image_that_is_not_there_is_named(repository: Repository) -> None:
    nowhere = Release(Image("localhost:5000", repository.name, ""), f"sha256:{'0' * 64}")
    assert f"{repository.name} has no sha256:0000" in await refusal(repository, nowhere)


def test_many_differences_are_reported_as_a_few() -> None:
    assert list(release_documents.shorten(["one", "two", "three"], 1)) == ["one", "and 2 more"]
