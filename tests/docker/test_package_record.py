"""Records of the Debian packages of a tree's files, as scanners of distroless images read them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

import package_record

STATUS = """Package: zlib1g
Status: install ok installed
Maintainer: Somebody <somebody@example.test>
Architecture: amd64
Source: zlib (1:1.2.13)
Version: 1:1.2.13
Conffiles:
 /etc/zlib 0123
Description: compression library
 in many lines

Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36

Package: unused
Version: 1
"""


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """Return a root with dpkg's records, where /lib is a link to /usr/lib as in Debian 12."""
    root = tmp_path / "system"
    files = {
        "var/lib/dpkg/status": STATUS,
        "var/lib/dpkg/info/zlib1g:amd64.list": "/.\n/lib\n/lib/libz.so.1.2.13\n/usr/share/doc/zlib1g\n",
        "var/lib/dpkg/info/libc6:amd64.list": "/.\n/usr/lib/libc.so.6\n/lib/missing\n",
        "var/lib/dpkg/info/unused.list": "/usr/bin/unused\n",
        "usr/lib/libz.so.1.2.13": "library",
        "usr/share/doc/zlib1g/copyright": "terms",
        "usr/lib/os-release": "ID=debian\n",
        "etc/nothing": "",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "lib").symlink_to("usr/lib")
    (root / "etc/os-release").symlink_to("../usr/lib/os-release")
    return root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a folder with one file of zlib1g, one of libc6, a link, and one of no package."""
    root = tmp_path / "tree"
    (root / "usr/lib").mkdir(parents=True)
    for name in ("libz.so.1.2.13", "libc.so.6", "unknown"):
        (root / "usr/lib" / name).write_text(name)
    (root / "usr/lib/libz.so.1").symlink_to("libz.so.1.2.13")
    return root


def test_a_package_of_which_files_are_there_is_recorded_with_them(system: Path, tree: Path) -> None:
    package_record.record(tree, system)
    records = tree / package_record.RECORDS
    assert sorted(each.name for each in records.iterdir()) == [
        *("libc6", "libc6.md5sums", "zlib1g", "zlib1g.md5sums")
    ]
    assert (records / "zlib1g").read_text().splitlines() == [
        "Package: zlib1g",
        "Status: install ok installed",
        "Maintainer: Somebody <somebody@example.test>",
        "Architecture: amd64",
        "Source: zlib (1:1.2.13)",
        "Version: 1:1.2.13",
    ]
    sum_ = hashlib.md5(b"libz.so.1.2.13", usedforsecurity=False).hexdigest()
    assert (records / "zlib1g.md5sums").read_text() == f"{sum_}  usr/lib/libz.so.1.2.13\n"


def test_licence_texts_and_the_release_s_name_go_along_where_they_are(system: Path, tree: Path) -> None:
    package_record.record(tree, system)
    assert (tree / "usr/share/doc/zlib1g/copyright").read_text() == "terms"
    assert not (tree / "usr/share/doc/libc6").exists()
    assert (tree / "etc/os-release").read_text() == "ID=debian\n"
    assert not (tree / "etc/os-release").is_symlink()
