"""An interpreter in a root of its own, as in the image."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

needed = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the root folder")


def run(maker: str, folder: Path, program: str) -> tuple[str, Path]:
    """Return what a program prints in the tree that a file of ci/ makes of this interpreter, and the tree."""
    chroot = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert chroot
    venv, tree = folder / "venv", folder / "tree"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    subprocess.run([venv / "bin/python", maker, tree], check=True)
    command = [chroot, str(tree), str((venv / "bin/python").resolve()), "-I", "-c", program]
    environment = {"LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR"))}
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert ran.stderr == ""
    return ran.stdout.strip(), tree
