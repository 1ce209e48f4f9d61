"""Compilation of the native scorer."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import compile_scorer


def test_the_library_has_the_same_bytes_wherever_it_is_compiled(tmp_path: Path) -> None:
    found = []
    for folder in ("one", "another/and deeper"):
        program = tmp_path / folder / "docker/compile_scorer.py"
        sources = tmp_path / folder / compile_scorer.FOLDER.relative_to(compile_scorer.FOLDER.parents[2])
        for path in (program.parent, sources):
            path.mkdir(parents=True)
        shutil.copy(compile_scorer.__file__, program)
        for name in compile_scorer.SOURCES:
            shutil.copy(compile_scorer.FOLDER / name, sources)
        subprocess.run([sys.executable, program], check=True)
        found.append((sources / "libscorer.so").read_bytes())
    assert found[0] == found[1]
    assert str(tmp_path).encode() not in found[0]


def test_the_pinned_compiler_is_taken_before_the_system_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    assert compile_scorer.installed_compiler()[:4] == (sys.executable, "-m", "ziglang", "cc")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert compile_scorer.installed_compiler() == ("cc",)


def test_a_compiler_unpacked_from_its_wheel_writes_the_same_library(tmp_path: Path) -> None:
    package = Path(str(importlib.metadata.distribution("ziglang").locate_file("ziglang")))
    headers = [path.relative_to(package) for path in package.glob("lib/include/*.h")]
    others = map(Path, ("zig", "lib/std/std.zig", "lib/libc/include/generic-glibc/stdio.h"))
    (tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(tmp_path / "wheels/ziglang.whl", "w") as wheel:
        for path in (*others, *headers):
            wheel.write(package / path, "ziglang" / path)
    command = compile_scorer.unpack_compiler(tmp_path / "wheels", tmp_path / "compiler")
    compile_scorer.compile_scorer(tmp_path / "one.so", command)
    compile_scorer.main(str(tmp_path / "other.so"))
    assert (tmp_path / "one.so").read_bytes() == (tmp_path / "other.so").read_bytes()
    assert not (tmp_path / "compiler/ziglang/lib/libc").exists()


def test_a_compiler_that_fails_leaves_no_library(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        compile_scorer.compile_scorer(tmp_path / "libscorer.so", ("false",))
    assert not (tmp_path / "libscorer.so").exists()
