"""Builder of an image's root: the interpreter, all that it needs, and the records of their packages.

    python assemble.py TREE

Run by the Python of a virtual environment, whose packages are reduced on the way. Both get their byte-code
here: of the sources alone and by one process, so that it is always the same, and not checked at start.
"""

import compileall
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from py_compile import PycInvalidationMode

import package_record
import runtime_tree
import slim


class NotCompiled(Exception):
    """A source file has no byte-code."""


def assemble(tree: Path, packages: Path, system: Path = Path("/")) -> None:
    """Reduce and compile the packages, and fill the tree with what they and their interpreter need."""
    slim.slim(packages)
    compile_all(packages, prefix=packages)
    runtime_tree.gather(tree, Path(sys.executable), runtime_tree.standard_library(), packages)
    _loader(tree, system)
    package_record.record(tree, system)
    compile_all(tree, prefix=Path("/"))


def compile_all(folder: Path, prefix: Path) -> None:
    """Compile the Python files below a folder, which tracebacks will say lies at the prefix."""
    done = compileall.compile_dir(
        folder,
        force=True,  # also where a program that ran has left its own
        quiet=1,
        workers=1,
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        stripdir=str(folder),
        prependdir=str(prefix),
    )
    if not done:
        raise NotCompiled(f"assemble: a file below {folder} cannot be compiled; it is named above")


def _loader(tree: Path, system: Path) -> None:
    """Give the loader its cache: it knows libraries outside the default folders, such as /usr/local/lib.

    With -X no link is removed: one may lead into the packages, which aren't in the tree.
    """
    (tree / "etc").mkdir()
    shutil.copy(system / "etc/ld.so.conf", tree / "etc")
    shutil.copytree(system / "etc/ld.so.conf.d", tree / "etc/ld.so.conf.d")
    subprocess.run(["ldconfig", "-X", "-r", tree], check=True)


if __name__ == "__main__":
    assemble(Path(sys.argv[1]), Path(sysconfig.get_path("platlib")))
