"""Layers made to exhaust their reader: each is refused within 400 MB and a few seconds.

Each is read by a process of its own, whose memory and processor time the system limits.
"""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from image.layer_archive import MAX_DEPTH, MAX_HEADER, MAX_PATH
from tests.ci.sample_image import layer

if TYPE_CHECKING:
    from tests.ci.conftest import Archive

CI = Path(__file__).parents[3] / "ci"
READER = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (400_000_000, 400_000_000))
resource.setrlimit(resource.RLIMIT_CPU, (30, 30))
from pathlib import Path
from errors import InvalidLayout
from image import archive_reader, layer_tree
try:
    with layer_tree.open_tree(archive_reader.read(Path(sys.argv[1]))) as tree:
        print(f"{len(tree)} paths")
except InvalidLayout as error:
    print(error)
"""


def header(name: str, kind: bytes, size: int = 0, **pax: str) -> bytes:
    """Return one header, as PAX writes it."""
    member = tarfile.TarInfo(name)
    member.type, member.size, member.pax_headers = kind, size, pax
    return member.tobuf(tarfile.PAX_FORMAT)


def pad(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % tarfile.BLOCKSIZE)


def large(kind: bytes) -> bytes:
    """Return an extending header that announces two gigabytes."""
    return header("x", kind, 2 * 1024**3) + b"\0" * 1024**2


def nest() -> bytes:
    """Return five thousand extending headers, each about the next."""
    record = b"20 mtime=1234567890\n"
    return (header("x", tarfile.XHDTYPE, len(record)) + pad(record)) * 5000


def negative() -> bytes:
    """Return an entry whose size leads back to itself."""
    raw = bytearray(header("a", tarfile.REGTYPE))
    raw[124:136] = b"\xff" * 10 + (-512 & 0xFFFF).to_bytes(2, "big")
    raw[148:156] = b" " * 8
    raw[148:156] = f"{sum(raw):06o}\0 ".encode()
    return bytes(raw) * 3


def sparse() -> bytes:
    """Return a sparse file whose map has a thousand million entries."""
    said = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1"}
    return header("a", tarfile.REGTYPE, 2048, **said) + pad(b"1000000000\n" + b"0\n" * 500) + b"0\n" * 512


def entries(paths: Iterator[str]) -> bytes:
    return b"".join(header(path, tarfile.REGTYPE) for path in paths) + b"\0" * 1024


CORPUS: dict[str, tuple[Callable[[], bytes], str]] = {
    "pax header": (
        lambda: large(tarfile.XHDTYPE),
        f"2147483648 bytes; {MAX_HEADER} are the most",
    ),
    "long name": (lambda: large(tarfile.GNUTYPE_LONGNAME), "a header of 2147483648 bytes"),
    "long link": (lambda: large(tarfile.GNUTYPE_LONGLINK), "a header of 2147483648 bytes"),
    "global header": (lambda: header("g", tarfile.XGLTYPE), "a header that is about all entries after it"),
    "nested headers": (nest, "RecursionError"),
    "negative size": (negative, "has a size of -"),
    "sparse map": (sparse, "is a sparse file"),
    "old sparse": (lambda: header("a", tarfile.GNUTYPE_SPARSE), "is a sparse file"),
    "long path": (lambda: entries(iter(["a/" * 20 + "b" * MAX_PATH])), f"is longer than {MAX_PATH} bytes"),
    "depth": (lambda: entries(iter(["a/" * MAX_DEPTH + "b"])), f"101 folders deep; {MAX_DEPTH} are the most"),
    "many long paths": (
        lambda: entries(f"{number}/{'a' * 3900}" for number in range(9000)),
        "the paths of all layers have more than",
    ),
    "implied folders": (
        lambda: entries(f"{number}/{'a/' * 98}b" for number in range(3000)),
        "more than 200000 entries in all layers|the paths of all layers have more",
    ),
    "size beyond the layer": (lambda: header("a", tarfile.REGTYPE, 8 * 1024**3 - 1), "ends after the layer"),
    "whiteouts": (lambda: whiteouts(), "4000 paths|8000 paths"),
}


def whiteouts() -> bytes:
    """Return four thousand folders, each of which hides what is below."""
    return layer(
        {f"f{number}/.wh..wh..opq": b"" for number in range(4000)}
        | {f"f{number}/x": b"" for number in range(4000)}
    )


@pytest.mark.parametrize("name", list(CORPUS))
def test_a_hostile_layer_is_refused_in_little_memory_and_time(archive: Archive, name: str) -> None:
    make, expected = CORPUS[name]
    lower = {f"f{number % 4000}/{number}": b"" for number in range(20_000 * (name == "whiteouts"))}
    archive.index(archive.add_manifest(gzip.compress(layer(lower), 1), gzip.compress(make(), 1)))
    message = read(archive.write())
    assert any(each in message for each in expected.split("|")), message


def read(archive: Path) -> str:
    """Return what a process with little memory says of an archive."""
    program = f"import sys; sys.path.insert(0, {str(CI)!r})\n{READER}"
    command = [sys.executable, "-I", "-c", program, str(archive)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_a_deep_document_is_refused(archive: Archive) -> None:
    archive.files["index.json"] = b"[" * 1_000_000
    assert "not an OCI layout: RecursionError" in read(archive.write())


def test_a_file_that_is_read_whole_has_a_limit() -> None:
    from errors import InvalidLayout
    from image.layer_tree import MAX_TEXT, Entry

    with pytest.raises(InvalidLayout, match=f"card.json has {MAX_TEXT + 1} bytes; {MAX_TEXT} are the most"):
        Entry("card.json", "file", stored=io.BytesIO(), size=MAX_TEXT + 1).content()
