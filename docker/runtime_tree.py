"""Copy of the running interpreter, with all that it needs, into a folder that can be the root of an image.

    python runtime_tree.py TREE

Copies the interpreter, its standard library and every shared library that these and the installed packages
are linked with, each to its own path below TREE. All paths come from the interpreter (`sysconfig`) and from
the loader (`ldd`), because Python lies under /usr/local in one base image and under /usr in another. The
installed packages themselves are not copied.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

# Parts of the standard library that a service never imports, and other tools' packages that lie beside it.
LEFT_OUT = frozenset(
    {"__pycache__", "curses", "dbm", "dist-packages", "distutils", "ensurepip", "idlelib", "lib2to3"}
    | {"pydoc_data", "site-packages", "test", "tests", "tkinter", "turtle.py", "turtledemo"}
)
# The base images have Tk's extension module without Tk; config-* serves to embed Python elsewhere. The others
# bring libraries along that are larger than they are: for databases in files, terminals, Kerberos.
LEFT_OUT_STARTS = ("_tkinter.", "config-", "_curses", "_dbm.", "_gdbm.", "_test", "nis.", "readline.")
_FOUND = re.compile(r"^\s+(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_MISSING = re.compile(r"^\s+(\S+) => not found$", re.MULTILINE)


class MissingLibrary(Exception):
    """The loader does not find a library that a binary is linked with, or `ldd` fails."""


def left_out(_folder: str, names: Iterable[str]) -> set[str]:
    """Return the names of a folder that stay out of the tree, in the form that `shutil.copytree` expects."""
    return {name for name in names if name in LEFT_OUT or name.startswith(LEFT_OUT_STARTS)}


def extensions(folder: Path) -> Iterator[Path]:
    """Yield the extension modules below a folder.

    The libraries that wheels bring along for them (`libgfortran-….so.5`) count through the modules only: many
    are found by the path of the module that loads them and by no other.
    """
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - left_out(root, folders))
        for name in sorted(set(names) - left_out(root, names)):
            if name.endswith(".so"):
                yield Path(root, name)


def libraries(report: str) -> set[Path]:
    """Return the libraries that a report of `ldd` names; raises MissingLibrary when one was not found."""
    if absent := sorted(set(_MISSING.findall(report))):
        raise MissingLibrary(
            f"runtime tree: the loader has no {', '.join(absent)}; install it in the builder"
        )
    return {Path(os.path.normpath(path)) for path in _FOUND.findall(report)}


def find_linked(binaries: Iterable[Path]) -> set[Path]:
    """Return every library that the binaries are linked with, directly or not."""
    return libraries(_report(binaries))


def find_missing(binaries: Iterable[Path]) -> set[str]:
    """Return the names of the libraries that the binaries need and the loader doesn't find."""
    return set(_MISSING.findall(_report(binaries)))


def _report(binaries: Iterable[Path]) -> str:
    names = list(map(str, binaries))
    if not names:
        return ""
    ldd = subprocess.run(["ldd", *names], capture_output=True, text=True, check=False)
    # For a binary that needs nothing, ldd ends with 1 and says so on stdout. Failures are on stderr.
    if ldd.stderr.strip():
        raise MissingLibrary(f"runtime tree: ldd failed: {ldd.stderr.strip()}")
    return ldd.stdout


def copy(path: Path, tree: Path) -> None:
    """Copy a file or a folder to its own path below the tree; a link is copied as a link, with its target."""
    place = _folder(path.parent, tree) / path.name
    if path.is_symlink():
        copy(_link(path, place), tree)
    elif path.is_dir():
        shutil.copytree(path, place, symlinks=True, ignore=left_out, dirs_exist_ok=True)
    else:
        shutil.copy2(path, place)


def _folder(path: Path, tree: Path) -> Path:
    """Make a folder below the tree and return where it lies there with links (/lib to usr/lib) followed."""
    if path == path.parent:
        return tree
    place = _folder(path.parent, tree) / path.name
    if path.is_symlink():
        return _folder(_link(path, place), tree)
    place.mkdir(exist_ok=True)
    return place


def _link(link: Path, place: Path) -> Path:
    """Repeat a symbolic link at its place in the tree and return the path that it points to."""
    if not place.is_symlink():
        place.symlink_to(link.readlink())
    return Path(os.path.normpath(link.parent.resolve() / link.readlink()))


def gather(tree: Path, executable: Path, standard: set[Path], packages: Path) -> None:
    """Fill the tree with an interpreter, its standard library and what these and the packages link."""
    tree.mkdir(parents=True)
    binaries = [executable, *(file for folder in (*standard, packages) for file in extensions(folder))]
    bundled, found = packages.resolve(), find_linked(binaries)
    needed = {path for path in found if not path.resolve().is_relative_to(bundled)}
    for path in sorted({executable, *standard, *needed}):
        copy(path, tree)
    # shared_libraries.py has made links from the loader's folders to what the packages bring.
    for path in sorted(found - needed):
        if not path.parent.resolve().is_relative_to(bundled):
            _link(path, _folder(path.parent, tree) / path.name)


def standard_library() -> set[Path]:
    """Return the folders of the running interpreter's standard library, a virtual environment's aside."""
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    return {Path(sysconfig.get_path(name, vars=base)) for name in ("stdlib", "platstdlib")}


if __name__ == "__main__":
    gather(Path(sys.argv[1]), Path(sys.executable), standard_library(), Path(sysconfig.get_path("platlib")))
