"""Links to the shared libraries that the team's packages need and the base image lacks.

    python shared_libraries.py REQUIREMENTS

Wheels bring libraries along under names of their own: scikit_learn.libs/libgomp-e985bcbb.so.1.0.0. Where a
package of the list needs a library that the loader doesn't find, and another installed wheel brings that
one, it is linked where the loader looks. Otherwise the package is refused by name.
"""

import re
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import runtime_tree

_PIN = re.compile(r"^([a-z0-9-]+)==", re.MULTILINE)


class NoLibrary(Exception):
    """Neither the base image nor a wheel has a library that a package needs."""


def provide(package: str, packages: Path, folder: Path) -> None:
    """Link in a folder what an installed package needs and the loader doesn't find. Raises NoLibrary."""
    files = [Path(str(file.locate())) for file in metadata.files(package) or () if file.name.endswith(".so")]
    for name in sorted(runtime_tree.find_missing(files)):
        found = find_bundled(name, packages)
        if found is None:
            raise NoLibrary(
                f"shared libraries: {package} needs {name}, which neither the base image nor a wheel has; "
                "add a wheel that brings it with `./daggerw call lock --add NAME`, or take another package"
            )
        (folder / name).symlink_to(found)


def find_bundled(name: str, packages: Path) -> Path | None:
    """Return the file that a wheel brings for a library, such as `libgomp.so.1`, or None."""
    stem, _, version = name.partition(".so")
    pattern = re.compile(rf"{re.escape(stem)}(-[0-9a-f]+)*\.so{re.escape(version)}(\..*)?")
    return next((path for path in sorted(packages.glob("*.libs/*")) if pattern.fullmatch(path.name)), None)


if __name__ == "__main__":
    library = Path("/usr/lib", str(sysconfig.get_config_var("MULTIARCH")))
    try:
        for pinned in _PIN.findall(Path(sys.argv[1]).read_text()):
            provide(pinned, Path(sysconfig.get_path("platlib")), library)
    except (NoLibrary, runtime_tree.MissingLibrary) as error:
        sys.exit(str(error))
