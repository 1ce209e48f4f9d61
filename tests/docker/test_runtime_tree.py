"""Files of an interpreter that go into the image."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

import runtime_tree

REPORT = """/usr/local/bin/python3.11:
\tlinux-vdso.so.1 (0x00007ffe0d5f2000)
\tlibpython3.11.so.1.0 => /usr/local/bin/../lib/libpython3.11.so.1.0 (0x00007f6b1be00000)
\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f6b1bc1f000)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f6b1c3a9000)
/usr/local/lib/static:
\tstatically linked
"""


def test_libraries_are_those_that_ldd_found_by_their_plain_paths() -> None:
    assert runtime_tree.libraries(REPORT) == {
        Path("/usr/local/lib/libpython3.11.so.1.0"),
        Path("/lib/x86_64-linux-gnu/libc.so.6"),
        Path("/lib64/ld-linux-x86-64.so.2"),
    }


def test_a_library_that_is_not_found_is_refused_by_name() -> None:
    with pytest.raises(runtime_tree.MissingLibrary, match="the loader has no libtk8.6.so, libx.so; install"):
        runtime_tree.libraries(
            "a.so:\n\tlibx.so => not found\n\tlibtk8.6.so => not found\n\tlibx.so => not found\n"
        )


def test_a_binary_that_ldd_cannot_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(runtime_tree.MissingLibrary, match=r"ldd failed: .*No such file"):
        runtime_tree.find_linked([tmp_path / "missing.so"])


def test_extensions_are_modules_and_not_the_libraries_that_wheels_bring(tmp_path: Path) -> None:
    for name in (
        "a.cpython-311.so",
        "a.libs/libg.so.5",
        "tests/t.so",
        "b/c.abi3.so",
        "_tkinter.x.so",
        "d.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = {str(path.relative_to(tmp_path)) for path in runtime_tree.extensions(tmp_path)}
    assert found == {"a.cpython-311.so", "b/c.abi3.so"}


def test_copy_repeats_the_links_that_lead_to_a_file(tmp_path: Path) -> None:
    root, tree = tmp_path / "root", tmp_path / "tree"
    (root / "usr/lib").mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    (root / "lib64").symlink_to(root / "usr/lib")
    (root / "usr/lib/libz.so.1.2").write_text("z")
    (root / "usr/lib/libz.so.1").symlink_to("libz.so.1.2")
    tree.mkdir()
    runtime_tree.copy(root / "lib/libz.so.1", tree)
    runtime_tree.copy(root / "lib64/libz.so.1", tree)
    copied = tree / root.relative_to("/")
    assert os.readlink(copied / "lib") == "usr/lib"
    assert os.readlink(copied / "usr/lib/libz.so.1") == "libz.so.1.2"
    assert (copied / "lib/libz.so.1").read_text() == "z"


@pytest.mark.parametrize("prefix", ["usr", "usr/local"])
def test_gather_puts_an_interpreter_where_it_was_whatever_its_prefix(tmp_path: Path, prefix: str) -> None:
    home = tmp_path / "root" / prefix
    standard, packages = home / "lib/python3.11", home / "lib/python3.11/site-packages"
    (home / "bin").mkdir(parents=True)
    (packages / "numpy").mkdir(parents=True)
    (standard / "test").mkdir()
    (standard / "json.py").touch()
    shutil.copy(Path(sys.executable).resolve(), home / "bin/python3.11")
    (home / "bin/python").symlink_to("python3.11")
    tree = tmp_path / "tree"
    runtime_tree.gather(tree, home / "bin/python", {standard}, packages)
    copied = tree / home.relative_to("/")
    assert os.readlink(copied / "bin/python") == "python3.11"
    assert (copied / "bin/python3.11").is_file()
    assert sorted(path.name for path in (copied / "lib/python3.11").iterdir()) == ["json.py"]
    assert list(tree.glob("lib*/**/libc.so.6"))


def test_the_standard_library_is_the_base_interpreter_s_also_in_a_virtual_environment() -> None:
    for folder in runtime_tree.standard_library():
        assert (folder / "json").is_dir() or (folder / "lib-dynload").is_dir()
