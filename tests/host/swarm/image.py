"""Images for a swarm's nodes: this machine's Python, and what it runs, in layers of their own."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

from image import archive_reader
from oci.reference import Image, Release
from oci.repository import connect
from tests.ci.conftest import Archive

ROOT = Path(__file__).resolve().parents[3]
INTERPRETER = "/venv/bin/python"  # as in the project's own image


def layer(files: dict[str, bytes], trees: dict[str, Path] | None = None) -> bytes:
    """Return a layer with files, and with folders' content by the path that it has there."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, tree in (trees or {}).items():
            tar.add(tree, name)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            tar.addfile(member, io.BytesIO(content))
    return written.getvalue()


def python_tree(folder: Path) -> Path:
    """Gather this machine's Python in a folder, and return it: where the project's own image has one."""
    tree = folder / "tree"
    program = (
        "import sys, runtime_tree as r; from pathlib import Path; "
        "r.gather(Path(sys.argv[1]), Path('/usr/bin/python3.11'), r.standard_library(), Path(sys.argv[2]))"
    )
    words = ["/usr/bin/python3.11", "-c", program, str(tree), str(folder)]
    subprocess.run(words, env={"PYTHONPATH": str(ROOT / "docker"), "PATH": os.environ["PATH"]}, check=True)
    (tree / "venv/bin").mkdir(parents=True)
    (tree / "venv/bin/python").symlink_to("/usr/bin/python3.11")
    return tree


def archive(path: Path, layers: list[bytes], words: list[str], variables: list[str]) -> Path:
    """Write an image's archive that runs a program of its Python."""
    made = Archive(path)
    diffs = [f"sha256:{hashlib.sha256(each).hexdigest()}" for each in layers]
    config = {"Entrypoint": [INTERPRETER, *words], "Env": ["PATH=/venv/bin", *variables]}
    described = {"architecture": "amd64", "os": "linux", "config": config}
    described["rootfs"] = {"type": "layers", "diff_ids": diffs}
    made.index(made.add_manifest(*layers, configuration=json.dumps(described).encode()))
    return made.write()


async def publish(archive: Path, registry_url: str, repository: str, tag: str) -> Release:
    """Publish an archive's image."""
    image = archive_reader.read(archive)
    async with connect(registry_url, repository) as place:
        await replace(place, say=lambda line: None).publish(image, tag)
    return Release(Image(registry_url.removeprefix("http://"), repository, tag), image.digest)
