"""The sizes of an image, from its archive: unpacked, compressed, and of its site-packages."""

from __future__ import annotations

from pathlib import Path

import filesystem
import layout


def sizes(archive: Path) -> dict[str, float]:
    """Return the megabytes of an image: files, gzipped layers, and files in site-packages."""
    image = layout.read(archive)
    with filesystem.opened(image) as tree:
        packages = sum(entry.size for path, entry in tree.items() if "/site-packages/" in path)
        unpacked = sum(entry.size for entry in tree.values())
    compressed = sum(blob.size for blob in image.layers)
    figures = {"image_mb": unpacked, "compressed_mb": compressed, "site_packages_mb": packages}
    return {name: size / 1e6 for name, size in figures.items()}
