"""Tree of several layers, as OCI's image specification defines it."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from errors import InvalidLayout
from image import archive_reader, layer_tree
from tests.ci.sample_image import layer

if TYPE_CHECKING:
    from tests.ci.conftest import Archive

Shown = dict[str, bytes | str | None]
Show = Callable[..., Shown]


@pytest.fixture
def show(archive: Archive) -> Show:
    """Return what reads an image of layers: a file's content, a link's target, None for a folder, by path."""

    def show(*layers: bytes) -> Shown:
        archive.files.clear()
        archive.index(archive.add_manifest(*layers))
        with layer_tree.open_tree(archive_reader.read(archive.write())) as tree:
            return {path: show_entry(entry) for path, entry in tree.items()}

    return show


def show_entry(entry: layer_tree.Entry) -> bytes | str | None:
    return {"file": entry.content(), "link": entry.target, "folder": None}[entry.kind]


def special(kind: bytes, path: str = "special", target: str = "") -> bytes:
    """Return a layer of one entry of a kind."""
    written, member = io.BytesIO(), tarfile.TarInfo(path)
    member.type, member.linkname = kind, target
    with tarfile.open(fileobj=written, mode="w") as tar:
        tar.addfile(member)
    return written.getvalue()


def test_a_higher_layer_s_file_hides_a_lower_one_s(show: Show) -> None:
    assert show(layer({"a": b"1", "b": b"1"}), layer({"a": b"2"})) == {"a": b"2", "b": b"1"}


def test_a_layer_that_is_there_twice_lies_on_what_is_between(show: Show) -> None:
    first, second = layer({"a": b"1"}), layer({"a": b"2"})
    assert show(first, second, first) == {"a": b"1"}


def test_names_may_begin_with_a_dot_or_a_slash_and_folders_may_be_missing(show: Show) -> None:
    assert show(layer({"./a/b": b"1", "/c/": b"", "./": b""})) == {"a": None, "a/b": b"1", "c": None}


def test_a_whiteout_removes_what_is_below_it_and_not_what_its_own_layer_adds(show: Show) -> None:
    lower = layer({"f/a": b"1", "f/b/c": b"1", "g": b"1"})
    upper = layer({"f/b": b"2", ".wh.g": b"", "f/.wh.b": b"", "f/.wh.none": b""})
    assert show(lower, upper) == {"f": None, "f/a": b"1", "f/b": b"2"}


def test_an_opaque_folder_hides_all_that_was_in_it(show: Show) -> None:
    lower = layer({"f/a": b"1", "f/b/c": b"1", "fg": b"1"})
    assert show(lower, layer({"f/new": b"2", "f/.wh..wh..opq": b""})) == {
        "f": None,
        "f/new": b"2",
        "fg": b"1",
    }
    assert show(lower, layer({".wh..wh..opq": b""})) == {}


def test_a_file_in_the_place_of_a_folder_removes_what_was_in_it(show: Show) -> None:
    lower = layer({"f/a": b"1"})
    assert show(lower, layer({"f": b"2"})) == {"f": b"2"}
    assert show(lower, layer({"f": "elsewhere"})) == {"f": "elsewhere"}
    assert show(lower, layer({"f": b"2"}), layer({"f/": b""})) == {"f": None}


def test_a_hard_link_is_a_file_of_its_own_with_the_same_content(show: Show) -> None:
    links = special(tarfile.LNKTYPE, "b", "./a")
    assert show(layer({"a": b"1"}), links) == {"a": b"1", "b": b"1"}
    assert show(layer({"a": b"1"}), links, layer({".wh.a": b""})) == {"b": b"1"}


def test_compressed_layers_show_what_plain_ones_do(show: Show) -> None:
    plain = layer({"a": b"1" * 3_000_000})
    assert show(gzip.compress(plain)) == show(plain)


def test_only_its_owner_s_right_to_execute_is_kept_of_a_mode(archive: Archive) -> None:
    archive.index(archive.add_manifest(layer({"a": b""}, mode=0o700), layer({"b": b""}, mode=0o677)))
    with layer_tree.open_tree(archive_reader.read(archive.write())) as tree:
        assert {path: entry.executable for path, entry in tree.items()} == {"a": True, "b": False}


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_and_pipes_are_refused(show: Show, kind: bytes) -> None:
    with pytest.raises(InvalidLayout, match="special is neither a file nor a folder nor a link"):
        show(special(kind))


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (layer({"../a": b""}), "leads out of the image"),
        (special(tarfile.LNKTYPE, "b", "c"), "b is a hard link to c, where no file is"),
        (layer({"f": "g", "f/a": b""}), "f/a lies below f, which is no folder"),
        (layer({"a\udcff": b""}), "surrogates not allowed"),
        (b"x" * 10240, "no entry and no end"),
        (layer({"a": b"1" * 20_000})[:12_000], "ends after the layer does"),
        (layer({"a": b""})[:512], "ends after the layer does"),
        (gzip.compress(layer({"a": b""}))[:-9], "not one whole gzip member"),
        (gzip.compress(layer({"a": b""})) * 2, "not one whole gzip member"),
        (b"\x1f\x8bno gzip", "incorrect header|unknown compression"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd; export it uncompressed"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_broken_layer_is_refused_by_its_digest(show: Show, broken: bytes, why: str) -> None:
    with pytest.raises(InvalidLayout, match=rf"layer sha256:[0-9a-f]{{64}} (?s:.)*({why})"):
        show(layer({"a": b"1"}), broken)


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
def test_a_layer_of_too_many_bytes_is_refused(archive: Archive, packed: Callable[[bytes], bytes]) -> None:
    archive.index(archive.add_manifest(packed(layer({"a": b"1" * 20_000}))))
    image = archive_reader.read(archive.write())
    with (
        pytest.raises(ValueError, match="more than [0-9]+ bytes"),
        layer_tree.open_layer(image, image.layers[0], 10_000),
    ):
        pass
