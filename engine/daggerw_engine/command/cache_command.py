"""`daggerw cache`: size, pruning and clearing of the engine's data on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from daggerw_engine.errors import UsageError
from daggerw_engine.store import cache, pruning

COMMAND = "daggerw cache"
PAGE = f"""Show or remove what this engine keeps on this machine; the dagger CLI has no such command.

USAGE
  {COMMAND}                     Show what it holds, by kind
  {COMMAND} prune               Remove what was used longest ago, down to its bound
  {COMMAND} clear [--volumes]   Remove what can be rebuilt; with --volumes, cache volumes, too

The bound is 20 GB, or as many bytes as DAGGERW_CACHE_BYTES says. Each call prunes by itself once in a while.
"""


def tend(words: Sequence[str], folder: Path, bound: int) -> str:
    """Run the subcommand after `cache`; return the text to print."""
    match words:
        case []:
            return _table(folder, bound)
        case ["prune"]:
            freed = asyncio.run(cache.prune(folder, bound))
            return f"removed {_size(freed)}, left {_size(sum(pruning.sizes(folder).values()))}\n"
        case ["clear"] | ["clear", "--volumes"]:
            cache.clear(folder, volumes=len(words) > 1)
            return f"left {_size(sum(pruning.sizes(folder).values()))}\n"
        case _:
            raise UsageError(f"cache: {' '.join(words)!r} is not a valid subcommand", COMMAND)


def _table(folder: Path, bound: int) -> str:
    sizes = pruning.sizes(folder)
    rows = {**sizes, "in all": sum(sizes.values()), "bound": bound}
    width = max(map(len, rows))
    return f"{folder}\n" + "".join(f"{kind:{width}}  {_size(size):>9}\n" for kind, size in rows.items())


def _size(count: int) -> str:
    """Return a readable number of bytes, such as `3.1 GB`."""
    number, units = float(count), ["bytes", "kB", "MB", "GB"]
    while number >= 1000 and len(units) > 1:
        number /= 1000
        units.pop(0)
    return f"{count} bytes" if units[0] == "bytes" else f"{number:.1f} {units[0]}"
