"""Reader of image archives, and archives that it refuses."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from errors import InvalidLayout
from image import archive_reader

if TYPE_CHECKING:
    from tests.ci.conftest import Archive


def test_read_gives_manifest_configuration_and_layers(archive: Archive) -> None:
    descriptor = archive.add_manifest(b"one", b"two" * 1_000_000)
    archive.index(descriptor)
    image = archive_reader.read(archive.write())
    assert image.digest == descriptor["digest"]
    assert json.loads(image.manifest)["layers"][0]["digest"] == image.blobs[1].digest
    assert [b"".join(image.chunks(blob)) for blob in image.blobs[1:]] == [b"one", b"two" * 1_000_000]


def test_read_gives_a_layer_that_occurs_twice_once(archive: Archive) -> None:
    archive.index(archive.add_manifest(b"same", b"same"))
    assert len(archive_reader.read(archive.write()).blobs) == 2


def test_read_takes_names_with_a_leading_dot(archive: Archive) -> None:
    archive.index(archive.add_manifest(b"layer"))
    assert archive_reader.read(archive.write(prefix="./")).blobs


def test_read_follows_a_nested_index_and_leaves_attestations_alone(archive: Archive) -> None:
    descriptor = archive.add_manifest(b"layer")
    about = {"annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
    archive.index(archive.add_index(descriptor, archive.add_manifest(b"provenance") | about))
    assert archive_reader.read(archive.write()).digest == descriptor["digest"]


def test_read_refuses_more_indexes_than_anyone_needs(archive: Archive) -> None:
    descriptor = archive.add_manifest(b"layer")
    for _ in range(archive_reader.MAX_INDEXES):
        descriptor = archive.add_index(descriptor)
    archive.index(descriptor)
    with pytest.raises(InvalidLayout, match="more than 4 indexes"):
        archive_reader.read(archive.write())


@pytest.mark.parametrize("layers", [(), (b"one", b"two")])
def test_read_refuses_an_archive_without_an_image_or_with_several(
    archive: Archive, layers: tuple[bytes, ...]
) -> None:
    archive.index(*(archive.add_manifest(each) for each in layers))
    with pytest.raises(InvalidLayout, match=f"has {len(layers)} images"):
        archive_reader.read(archive.write())


def test_read_refuses_a_docker_manifest(archive: Archive) -> None:
    archive.index(
        archive.add_manifest(b"one") | {"mediaType": "application/vnd.docker.distribution.manifest.v2+json"}
    )
    with pytest.raises(InvalidLayout, match=r"manifest.v2\+json' is no OCI image; export it as OCI"):
        archive_reader.read(archive.write())


def test_read_refuses_a_blob_with_other_content(archive: Archive) -> None:
    archive.index(archive.add_manifest(b"layer"))
    for name, content in archive.files.items():
        archive.files[name] = content.replace(b"layer", b"Layer") if content == b"layer" else content
    with pytest.raises(InvalidLayout, match="has the content of sha256:.*export again"):
        archive_reader.read(archive.write())


def test_read_refuses_a_manifest_with_other_content(archive: Archive) -> None:
    descriptor = archive.add_manifest(b"layer")
    archive.index(descriptor)
    name = str(descriptor["digest"]).replace("sha256:", "blobs/sha256/")
    archive.files[name] = archive.files[name].replace(b": 2", b": 3")
    with pytest.raises(InvalidLayout, match="has the content of"):
        archive_reader.read(archive.write())


@pytest.mark.parametrize(
    "change",
    [
        {"size": 1},
        {"size": "5"},
        {"digest": "sha512:00"},
        {"digest": "sha256:../../../etc/passwd"},
        {"digest": f"sha256:{'0' * 64}"},
        {"digest": None},
    ],
)
def test_read_refuses_a_descriptor_that_lies(archive: Archive, change: dict[str, object]) -> None:
    archive.index(archive.add_manifest(b"layer") | change)
    with pytest.raises(InvalidLayout, match="not an OCI layout"):
        archive_reader.read(archive.write())


@pytest.mark.parametrize(
    "index",
    [
        *(b"", b"{", b"[]", b"{}", b'{"manifests": 1}', b'{"manifests": [1]}', b'{"manifests": [{}]}'),
        *(b"\xff", b"[" * 100_000),
    ],
    ids=repr,
)
def test_read_refuses_a_malformed_index(archive: Archive, index: bytes) -> None:
    archive.files["index.json"] = index
    with pytest.raises(InvalidLayout, match="not an OCI layout"):
        archive_reader.read(archive.write())


@pytest.mark.parametrize("manifest", [b"{}", b"[]", b'{"config": {}, "layers": 3}', b"not json"])
def test_read_refuses_a_malformed_manifest(archive: Archive, manifest: bytes) -> None:
    archive.index(archive.add(manifest, archive_reader.MANIFEST))
    with pytest.raises(InvalidLayout, match="not an OCI layout"):
        archive_reader.read(archive.write())


def test_read_refuses_an_archive_without_an_index(archive: Archive) -> None:
    archive.add_manifest(b"layer")
    with pytest.raises(InvalidLayout, match="'index.json'"):
        archive_reader.read(archive.write())


def test_read_refuses_a_document_larger_than_registries_take(archive: Archive) -> None:
    archive.index(archive.add(b" " * (archive_reader.MAX_DOCUMENT + 1), archive_reader.MANIFEST))
    with pytest.raises(InvalidLayout, match="has 4194305 bytes; 4194304 are the most"):
        archive_reader.read(archive.write())


def test_read_refuses_an_endless_list_of_entries(archive: Archive) -> None:
    archive.files = {str(number): b"" for number in range(archive_reader.MAX_MEMBERS + 1)}
    with pytest.raises(InvalidLayout, match="more than 10000 entries"):
        archive_reader.read(archive.write())


def test_read_refuses_a_name_that_is_there_twice(archive: Archive) -> None:
    archive.files = {"index.json": b"{}", "./index.json": b"{}"}
    with pytest.raises(InvalidLayout, match=r"'index.json' is there twice"):
        archive_reader.read(archive.write())


def test_read_never_follows_a_link_out_of_the_archive(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "image.tar", "w") as tar:
        link = tarfile.TarInfo("index.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(InvalidLayout, match="'index.json'"):
        archive_reader.read(tmp_path / "image.tar")


def test_read_refuses_an_archive_that_ends_early(archive: Archive) -> None:
    archive.index(archive.add_manifest(b"layer" * 1000))
    path = archive.write()
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InvalidLayout, match="not an OCI layout"):
        archive_reader.read(path)


@pytest.mark.parametrize("content", [b"", b"no tar at all", b"\x1f\x8b" + b"0" * 600])
def test_read_refuses_what_is_no_tar(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "image.tar").write_bytes(content)
    with pytest.raises(InvalidLayout, match=r"image.tar: not an OCI layout"):
        archive_reader.read(tmp_path / "image.tar")


def test_read_refuses_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidLayout, match="No such file"):
        archive_reader.read(tmp_path / "image.tar")


def test_read_refuses_a_sparse_file_that_claims_to_be_huge(tmp_path: Path) -> None:
    header = tarfile.TarInfo("index.json")
    header.size = 10
    with tarfile.open(tmp_path / "image.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        header.pax_headers = {"GNU.sparse.size": str(2**60), "GNU.sparse.map": "0,10"}
        tar.addfile(header, io.BytesIO(b"0" * 10))
    with pytest.raises(InvalidLayout, match="not an OCI layout"):
        archive_reader.read(tmp_path / "image.tar")
