"""Assembly of an image's root."""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import assemble

UNCHECKED_HASH = (1).to_bytes(4, "little")  # PEP 552: the flags behind the magic number


def test_byte_code_is_made_of_the_sources_alone_and_never_checked(tmp_path: Path) -> None:
    for folder in ("one", "other"):
        (tmp_path / folder / "package").mkdir(parents=True)
        (tmp_path / folder / "package/module.py").write_text("WORDS = {'a', 'b', 'c'}\n")
        os.utime(tmp_path / folder / "package/module.py", (0, len(folder)))
    compileall.compile_dir(tmp_path / "one", quiet=1)  # as a program that imports it would
    for folder in ("one", "other"):
        assemble.compile_all(tmp_path / folder, prefix=Path("/lib"))
    one, other = (path.read_bytes() for path in sorted(tmp_path.rglob("*.pyc")))
    assert one == other
    assert one[4:8] == UNCHECKED_HASH
    assert b"/lib/package/module.py" in one


def test_a_file_that_cannot_be_compiled_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.py").write_text("def (")
    with pytest.raises(assemble.NotCompiled, match=f"a file below {tmp_path} cannot be compiled"):
        assemble.compile_all(tmp_path, prefix=tmp_path)
    assert "broken.py" in capsys.readouterr().out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the root folder")
def test_an_interpreter_starts_from_its_assembled_root_with_byte_code_and_records(tmp_path: Path) -> None:
    chroot = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert chroot
    venv, tree = tmp_path / "venv", tmp_path / "tree"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    subprocess.run([venv / "bin/python", assemble.__file__, tree], check=True)
    program = "import asyncio, ctypes, lzma, pdb, sqlite3, ssl, traceback; print(asyncio.__cached__)"
    command = [chroot, str(tree), str((venv / "bin/python").resolve()), "-I", "-c", program]
    environment = {"LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))}
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert ran.stderr == ""
    assert (tree / ran.stdout.strip().lstrip("/")).is_file()
    assert (tree / "etc/ld.so.cache").is_file()
    assert list((tree / "var/lib/dpkg/status.d").iterdir())
