"""Files of a release: the canonical image, its SBOM and provenance, and checksums of the three.

    PYTHONPATH=ci python -m image.release_files IMAGE.tar FOLDER --revision … --created … --base NAME@sha256:…

Runs in the pinned base image, whose zlib and json make the bytes, with nothing but the standard library.
"""

import argparse
import hashlib
import sys
from pathlib import Path

from errors import PipelineError
from image import archive_reader, canonical, layer_tree, provenance, sbom
from image.canonical import Origin

IMAGE, SBOM, PROVENANCE, SUMS = "image.tar", "sbom.cdx.json", "provenance.intoto.json", "SHA256SUMS"
# What is published about an image, and its media types.
KINDS = {SBOM: sbom.KIND, PROVENANCE: provenance.KIND}
PROGRAM = "image.release_files"
FOLDER = "/release"
# What runs there.
FILES = ["ci/errors.py", "ci/advice/*.py", "ci/image/*.py"]


def write(image: Path, origin: Origin, folder: Path) -> str:
    """Write the release that an engine's image becomes into a folder; returns its digest.

    Raises InvalidLayout.
    """
    folder.mkdir(parents=True, exist_ok=True)
    built = archive_reader.read(image)
    with layer_tree.open_tree(built) as tree:
        written = canonical.write(built, tree, origin, folder / IMAGE)
        materials = sbom.document(written, tree)
        (folder / SBOM).write_bytes(materials)
        (folder / PROVENANCE).write_bytes(provenance.statement(written, tree, materials))
    sums = [f"{_sha256(folder / name)}  {name}\n" for name in (IMAGE, PROVENANCE, SBOM)]
    (folder / SUMS).write_text("".join(sums))
    return written.digest


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> int:
    """Write the release of the command line's image and print its digest; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", type=Path, help="the image as an engine exported it")
    parser.add_argument("folder", type=Path, help="where to write to")
    parser.add_argument("--revision", required=True, help="the commit, -dirty when changed since")
    parser.add_argument("--created", required=True, help="the commit's time, RFC 3339 in UTC")
    parser.add_argument("--base", required=True, help="the base image, NAME@sha256:…")
    given = parser.parse_args()
    try:
        print(write(given.image, Origin(given.revision, given.created, given.base), given.folder))
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
