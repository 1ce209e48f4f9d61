"""The sizes of an image, from its archive: unpacked, compressed, and of its site-packages."""

from __future__ import annotations

from pathlib import Path

from image import archive_reader, layer_tree


def sizes(archive: Path) -> dict[str, float]:
    """Return the megabytes of an image: files, gzipped layers, and files in site-packages."""
    image = archive_reader.read(archive)
    with layer_tree.opened(image) as tree:
        packages = sum(entry.size for path, entry in tree.items() if "/site-packages/" in path)
        unpacked = sum(entry.size for entry in tree.values())
    compressed = sum(blob.size for blob in image.layers)
    figures = {"image_mb": unpacked, "compressed_mb": compressed, "site_packages_mb": packages}
    return {name: size / 1e6 for name, size in figures.items()}
