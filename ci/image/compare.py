"""Comparison of two images: configuration, files in layers, and the first byte that differs.

    python compare.py OURS.tar THEIRS.tar

Prints the differences, with exit status 1 when there are any. Differences that only
packing makes (an engine's own layers, times, owners) are marked: `canonical.py` removes them.
"""

import argparse
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from errors import PipelineError
from image import archive_reader, canonical, layer_tree
from image.archive_reader import Layout
from image.layer_tree import Entry, Tree

PROGRAM = "image.compare"
SHOWN = 40  # differences


def differences(ours: Layout, theirs: Layout) -> list[str]:
    """Return a sentence for each difference, none when the digests are the same. Raises InvalidLayout."""
    if ours.digest == theirs.digest:
        return []
    with layer_tree.open_tree(ours) as our_tree, layer_tree.open_tree(theirs) as their_tree:
        found = [*_configuration(ours.config, theirs.config), *_files(our_tree, their_tree)]
    return found or [
        "packing: the same files and settings in other layers, with other times, owners or modes"
    ]


def _configuration(ours: dict[str, Any], theirs: dict[str, Any]) -> Iterator[str]:
    ours, theirs = dict(ours), dict(theirs)
    for packing in ("rootfs", "history"):
        ours.pop(packing, None)
        theirs.pop(packing, None)
    yield from unequal("configuration", ours, theirs)


def unequal(
    path: str, ours: object, theirs: object, places: tuple[str, str] = ("here", "there")
) -> Iterator[str]:
    """Yield a sentence for each place where two JSON documents differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted({*ours, *theirs}):
            yield from unequal(f"{path}.{name}", ours.get(name), theirs.get(name), places)
    elif isinstance(ours, list) and isinstance(theirs, list):
        for index, (one, other) in enumerate(zip_longest(ours, theirs)):
            yield from unequal(f"{path}[{index}]", one, other, places)
    elif ours != theirs:
        yield f"{path}: {_show(ours)} {places[0]}, {_show(theirs)} {places[1]}"


def _show(value: object) -> str:
    return "nothing" if value is None else f"{value!r:.100}"


def _files(ours: Tree, theirs: Tree) -> Iterator[str]:
    for path in sorted({*ours, *theirs}):
        if how := _difference(ours.get(path), theirs.get(path)):
            yield f"{canonical.layer_of(path)}: {path}: {how}"


def _difference(ours: Entry | None, theirs: Entry | None) -> str:
    if ours is None or theirs is None:
        return "only here" if ours else "only there"
    if ours.kind != theirs.kind:
        return f"a {ours.kind} here, a {theirs.kind} there"
    if ours.target != theirs.target:
        return f"a link to {ours.target} here, to {theirs.target} there"
    if ours.executable != theirs.executable:
        return f"executable only {'here' if ours.executable else 'there'}"
    return _contents(ours, theirs)


def _contents(ours: Entry, theirs: Entry) -> str:
    if ours.sha256() == theirs.sha256():
        return ""
    size = f"{ours.size} bytes" if ours.size == theirs.size else f"{ours.size} and {theirs.size} bytes"
    start = 0
    for one, other in zip_longest(ours.chunks(), theirs.chunks(), fillvalue=b""):
        if one != other:
            break
        start += len(one)
    shorter = min(len(one), len(other))
    first = next((index for index in range(shorter) if one[index] != other[index]), shorter)
    return f"other content from byte {start + first} of {size} on"


def main() -> int:
    """Print how the command line's images differ and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, nargs=2, help="two images as OCI layouts in tar archives")
    try:
        ours, theirs = (archive_reader.read(path) for path in parser.parse_args().images)
        found = differences(ours, theirs)
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{ours.digest} here, {theirs.digest} there")
    print("\n".join(found[:SHOWN]) or "no difference")
    if len(found) > SHOWN:
        print(f"and {len(found) - SHOWN} more")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
