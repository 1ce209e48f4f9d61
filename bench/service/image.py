"""The sizes of images: from an archive, or from a base image and the packages that are installed on it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from image import archive_reader, layer_tree

_name = re.compile(r"[A-Za-z0-9._-]+").match


def sizes(archive: Path) -> dict[str, float]:
    """Return the megabytes of an image: files, gzipped layers, and files in site-packages."""
    image = archive_reader.read(archive)
    with layer_tree.opened(image) as tree:
        packages = sum(entry.size for path, entry in tree.items() if "/site-packages/" in path)
        unpacked = sum(entry.size for entry in tree.values())
    compressed = sum(blob.size for blob in image.layers)
    figures = {"image_mb": unpacked, "compressed_mb": compressed, "site_packages_mb": packages}
    return {name: size / 1e6 for name, size in figures.items()}


def compared_sizes(
    archive: Path, base: Path, others: Mapping[str, Iterable[str]]
) -> dict[str, dict[str, float]]:
    """Return sizes by name: `this` is the archive's image, the others are the base's files with packages."""
    base_mb = folder_megabytes(base)
    found = {name: {"image_mb": base_mb + installed_megabytes(packages)} for name, packages in others.items()}
    return {"this": sizes(archive), **found}


def folder_megabytes(folder: Path) -> float:
    """Return how large the regular files below a folder are."""
    paths = (Path(above) / name for above, _, names in os.walk(folder) for name in names)
    return sum(found.st_size for path in paths if stat.S_ISREG((found := path.lstat()).st_mode)) / 1e6


def installed_megabytes(packages: Iterable[str]) -> float:
    """Return how large packages are with all that they require, as they are installed here."""
    waiting, seen, size = [*packages], set(), 0
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        found = metadata.distribution(name)
        paths = (Path(str(each.locate())) for each in found.files or ())
        size += sum(path.stat().st_size for path in paths if path.is_file())
        waiting += [each[0] for line in found.requires or () if ";" not in line and (each := _name(line))]
    return size / 1e6
