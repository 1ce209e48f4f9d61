"""Reduction of installed packages to what a service runs, with their records kept true.

    python slim.py

Tests, type stubs and the sources of extension modules go, and uvloop's debugging symbols, nine tenths of it.
`strip` isn't in the base images, and breaks other wheels. Files for browsers are gzipped.
"""

import csv
import gzip
import hashlib
import shutil
import struct
import sysconfig
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

TEST_FOLDERS = ("test", "tests")
SOURCES = (".pyi", ".pyx", ".pxd", ".pxi", ".c", ".cpp", ".h")
SYMBOLS = "uvloop/*.so"
PACKED = ("fastapi_swagger/resources/*.css", "fastapi_swagger/resources/*.js")

_ELF_64 = b"\x7fELF\x02\x01"  # little-endian
_HEADERS, _HEADER_COUNT, _HEADER = 32, 56, struct.Struct("<8xQ16xQ16x")  # offset and size of a segment
_SECTIONS, _SECTION_COUNT = slice(40, 48), slice(60, 64)


class UnknownFormat(Exception):
    """A library is none that this program can read."""


def slim(packages: Path) -> None:
    """Reduce the packages in a folder of installed packages."""
    for path in sorted(packages.rglob("*")):
        if path.is_dir() and path.name in TEST_FOLDERS:
            shutil.rmtree(path)
        elif path.suffix in SOURCES:
            path.unlink(missing_ok=True)
    for library in packages.glob(SYMBOLS):
        library.write_bytes(strip_sections(library.read_bytes()))
    for path in (found for pattern in PACKED for found in packages.glob(pattern)):
        packed_name(path).write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        path.unlink()
    for record in packages.glob("*.dist-info/RECORD"):
        rows = list(csv.reader(record.read_text().splitlines()))
        with record.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(update_record(packages, rows))


def strip_sections(library: bytes) -> bytes:
    """Return a shared library without what follows its segments: symbols and sections.

    Loaders read program headers alone, sections are for linkers and debuggers (System V ABI, "Object Files").
    Raises UnknownFormat for anything but 64-bit little-endian ELF.
    """
    if not library.startswith(_ELF_64):
        raise UnknownFormat(f"slim: expected a 64-bit ELF library, got {library[:6]!r}")
    (start,) = struct.unpack_from("<Q", library, _HEADERS)
    (count,) = struct.unpack_from("<H", library, _HEADER_COUNT)
    headers = library[start : start + count * _HEADER.size]
    kept = bytearray(library[: max(offset + size for offset, size in _HEADER.iter_unpack(headers))])
    kept[_SECTIONS], kept[_SECTION_COUNT] = bytes(8), bytes(4)
    return bytes(kept)


def update_record(packages: Path, rows: Iterable[Sequence[str]]) -> Iterator[Sequence[str]]:
    """Yield the rows of a RECORD for the files that are there, as they are now."""
    for name, digest, size in rows:
        path = packages / name
        packed = any(path.match(pattern) for pattern in PACKED)
        if packed:
            path = packed_name(path)
        if packed or path.match(SYMBOLS):
            content = path.read_bytes()
            digest = urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
            yield str(path.relative_to(packages)), f"sha256={digest}", str(len(content))
        elif path.exists():
            yield name, digest, size


def packed_name(path: Path) -> Path:
    """Return the name of a file when it is gzipped."""
    return path.with_name(f"{path.name}.gz")


if __name__ == "__main__":
    slim(Path(sysconfig.get_path("platlib")))
