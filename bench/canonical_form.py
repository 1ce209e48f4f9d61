"""Speed of an image's canonical form: `PYTHONPATH=ci python bench/canonical_form.py IMAGE.tar [N]`

Such an image: `./daggerw call build as-tarball --forced-compression Uncompressed export --path IMAGE.tar`.
Prints the medians of N alternating rounds: all of it, and zlib alone on one thread over the same bytes.
"""

from __future__ import annotations

import resource
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

from image import archive_reader, canonical, layer_tree

ORIGIN = canonical.Origin("0" * 40, "1970-01-01T00:00:00Z", f"base@sha256:{'0' * 64}")
CHUNK = 1024 * 1024


def rewrite(archive: Path) -> int:
    """Write the canonical form; returns the bytes of files in it."""
    image = archive_reader.read(archive)
    with tempfile.TemporaryDirectory() as folder, layer_tree.open_tree(image) as tree:
        canonical.write(image, tree, ORIGIN, Path(folder, "image.tar"))
        return sum(entry.size for entry in tree.values())


def compress(archive: Path) -> int:
    """Compress the same files' bytes, and nothing else; returns how many there were."""
    stream = zlib.compressobj(canonical.LEVEL, wbits=31)
    with layer_tree.open_tree(archive_reader.read(archive)) as tree:
        for entry in tree.values():
            for piece in entry.chunks():
                stream.compress(piece)
        return sum(entry.size for entry in tree.values())


def speed(work: Callable[[Path], int], archive: Path) -> float:
    """Return megabytes a second."""
    started = time.monotonic()
    return work(archive) / 1e6 / (time.monotonic() - started)


def main(archive: str, rounds: str = "5") -> None:
    """Print the medians, their ratio, and the most memory that was used."""
    found = [(speed(rewrite, Path(archive)), speed(compress, Path(archive))) for _ in range(int(rounds))]
    whole, alone = (statistics.median(column) for column in zip(*found, strict=True))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"canonical form {whole:.0f} MB/s, zlib alone {alone:.0f} MB/s, ratio {whole / alone:.2f}")
    print(f"most memory {memory:.0f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
