"""Reduction of installed packages: the files removed, and the rest still works."""

from __future__ import annotations

import csv
import gzip
import hashlib
import shutil
import subprocess
import sys
import sysconfig
from base64 import urlsafe_b64encode
from pathlib import Path

import pytest

import slim

PACKAGES = Path(sysconfig.get_path("platlib"))
LOOP = "import uvloop, asyncio; print(uvloop.run(asyncio.sleep(0, 'ran')), uvloop.__file__)"


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with copies of installed packages and a package of our own, reduced."""
    tmp_path = tmp_path_factory.mktemp("packages")
    for found in (*PACKAGES.glob("uvloop*"), *PACKAGES.glob("fastapi_swagger*")):
        shutil.copytree(found, tmp_path / found.name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (
        *("own/__init__.py", "own/fast.c", "own/fast.pyi", "own/tests/test_a.py", "own/test/data.bin"),
        "own/tests.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "own-1.dist-info").mkdir()
    record = (
        "own/__init__.py,sha256=x,0\nown/fast.c,sha256=x,0\nown/tests/test_a.py,,\nown-1.dist-info/RECORD,,\n"
    )
    (tmp_path / "own-1.dist-info/RECORD").write_text(record)
    slim.slim(tmp_path)
    return tmp_path


def test_tests_stubs_and_c_sources_go_and_records_name_what_is_left(packages: Path) -> None:
    assert sorted(path.name for path in (packages / "own").rglob("*")) == ["__init__.py", "tests.py"]
    left = (packages / "own-1.dist-info/RECORD").read_text()
    assert left == "own/__init__.py,sha256=x,0\nown-1.dist-info/RECORD,,\n"


def test_uvloop_works_without_its_symbols_is_a_fraction_of_itself_and_has_its_sum_recorded(
    packages: Path,
) -> None:
    (whole,), (library,) = PACKAGES.glob(slim.SYMBOLS), packages.glob(slim.SYMBOLS)
    content = library.read_bytes()
    assert len(content) < whole.stat().st_size / 5
    assert slim.strip_sections(content) == content
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(packages)!r}); {LOOP}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["ran", str(packages / "uvloop/__init__.py")], done.stderr
    (record,) = packages.glob("uvloop-*.dist-info/RECORD")
    rows = {name: (digest, size) for name, digest, size in csv.reader(record.read_text().splitlines())}
    digest = urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    assert rows[f"uvloop/{library.name}"] == (f"sha256={digest}", str(len(content)))


def test_what_browsers_are_sent_is_packed_always_the_same(packages: Path) -> None:
    script = "fastapi_swagger/resources/swagger-ui-bundle.js"
    packed = slim.packed_name(packages / script).read_bytes()
    assert not (packages / script).exists()
    assert packed == gzip.compress((PACKAGES / script).read_bytes(), mtime=0)
    (record,) = packages.glob("fastapi_swagger-*.dist-info/RECORD")
    names = [name for name, *_ in csv.reader(record.read_text().splitlines())]
    assert [name for name in names if "swagger-ui" in name] == [
        "fastapi_swagger/resources/swagger-ui-bundle.js.gz",
        "fastapi_swagger/resources/swagger-ui.css.gz",
    ]


@pytest.mark.parametrize("content", [b"", b"not a library", b"\x7fELF\x01\x01"])
def test_what_is_no_64_bit_library_is_refused(content: bytes) -> None:
    with pytest.raises(slim.UnknownFormat, match="expected a 64-bit ELF library"):
        slim.strip_sections(content)
