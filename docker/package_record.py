"""Record of the Debian packages that a root folder's files come from, as scanners expect it.

    python package_record.py TREE

Writes what distroless images have: `var/lib/dpkg/status.d/NAME` with a package's record, `NAME.md5sums` with
those of its files that are here, the licence texts and os-release. Run where dpkg installed the files.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

DPKG = Path("var/lib/dpkg")
RECORDS = DPKG / "status.d"
FIELDS = ("Package", "Status", "Source", "Version", "Architecture", "Maintainer", "Homepage")


def record(tree: Path, system: Path) -> None:
    """Record the packages of a system's dpkg that the tree has files of."""
    owners, stanzas = _owners(system), _stanzas(system)
    files: dict[str, list[Path]] = {}
    for path in _files(tree):
        if owner := owners.get(path):
            files.setdefault(owner, []).append(path)
    (tree / RECORDS).mkdir(parents=True)
    for name, paths in files.items():
        sums = (f"{_md5(tree / path)}  {path}\n" for path in sorted(paths))
        (tree / RECORDS / name).write_text(stanzas[name])
        (tree / RECORDS / f"{name}.md5sums").write_text("".join(sums))
        _copy(Path("usr/share/doc", name, "copyright"), system, tree)
    _copy(Path("etc/os-release"), system, tree)


def _files(tree: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(tree):
        for name in names:
            path = Path(folder, name)
            if not path.is_symlink():
                yield path.relative_to(tree)


def _owners(system: Path) -> dict[Path, str]:
    """Return each installed file's package; dpkg knows /lib/x where /usr/lib/x is meant, too."""
    owners: dict[Path, str] = {}
    for listing in sorted((system / DPKG / "info").glob("*.list")):
        for line in listing.read_text().splitlines():
            if line == "/.":
                continue
            path = system / line.lstrip("/")
            place = path.parent.resolve().relative_to(system.resolve())
            owners[place / path.name] = listing.stem.partition(":")[0]
    return owners


def _stanzas(system: Path) -> Mapping[str, str]:
    """Return each package's record in dpkg's status file, as far as FIELDS say."""
    found = {}
    for stanza in (system / DPKG / "status").read_text().split("\n\n"):
        lines = [line for line in stanza.splitlines() if line.partition(":")[0] in FIELDS]
        if lines:
            found[lines[0].removeprefix("Package: ")] = "".join(f"{line}\n" for line in lines)
    return found


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _copy(path: Path, system: Path, tree: Path) -> None:
    """Copy what a system has at a path, be it a link there, if it has it."""
    if (system / path).is_file():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(system / path, tree / path)


if __name__ == "__main__":
    record(Path(sys.argv[1]), Path("/"))
