"""Cached results of the module's functions, by source and arguments, with Dagger's lifetimes.

Only values are kept, as an object is valid only in its session, and only for calls whose arguments are
values, files and folders of the host.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from daggerw_engine.command.arguments.parsing import FunctionCall
from daggerw_engine.command.arguments.values import Loaded
from daggerw_engine.command.modules.module import VENDORED, Module, sdk_version
from daggerw_engine.command.modules.typedefs import Catalogue

if TYPE_CHECKING:
    from daggerw_engine.store.cache import Cache

WEEK = 7 * 24 * 3600.0  # Dagger's default
UNKEPT = {"never", "session"}
UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
SOURCE = [f"**/{name}" for name in sorted(VENDORED)]


@dataclass(frozen=True)
class KeptResult:
    """Entry of a call among the kept results; `value` is its content."""

    folder: Path
    key: str
    value: tuple[object, ...] = ()

    async def keep(self, value: object, bound: int) -> None:
        """Keep the call's result."""
        from daggerw_engine.store.cache import Cache

        async with Cache.open(self.folder, bound) as cache:
            cache.results.put(self.key, {"value": value, "time": time.time()})


async def look_up(
    folder: Path, bound: int, module: Module, catalogue: Catalogue, calls: Sequence[FunctionCall]
) -> KeptResult | None:
    """Return a call's entry among the results in the cache `folder`; None if its result must not be kept."""
    if not is_kept(catalogue, calls):
        return None
    from daggerw_engine.store.cache import Cache

    async with Cache.open(folder, bound) as cache:
        key = await asyncio.to_thread(_key, cache, module, calls)
        found = cache.results.get(key)
        age = time.time() - float(str(found["time"])) if found else 0.0
        if not found or age >= min(map(seconds, _policies(calls))):
            return KeptResult(folder, key)
        return KeptResult(folder, key, (found["value"],))


def is_kept(catalogue: Catalogue, calls: Sequence[FunctionCall]) -> bool:
    """Return whether the result of these calls is a value that Dagger would keep."""
    last = calls[-1].function.returns.name
    return (
        all(call.owner.name in catalogue.module.objects for call in calls)
        and catalogue.object(last) is None
        and UNKEPT.isdisjoint(_policies(calls))
        and all(value.type in ("Directory", "File") for call in calls for value in _loaded_values(call))
    )


def seconds(policy: str) -> float:
    """Return the lifetime of a cache policy such as "1h30m", in seconds."""
    parts = DURATION.findall(policy)
    return sum(float(number) * UNITS[unit] for number, unit in parts) if parts else WEEK


def _policies(calls: Sequence[FunctionCall]) -> list[str]:
    return [call.function.cache for call in calls]


def _loaded_values(call: FunctionCall) -> Iterator[Loaded]:
    for given in call.inputs.values():
        values = given if isinstance(given, list) else [given]
        yield from (each for each in values if isinstance(each, Loaded))


def _key(cache: Cache, module: Module, calls: Sequence[FunctionCall]) -> str:
    from daggerw_engine.files.patterns import Filter
    from daggerw_engine.keys import key_of

    def content(value: object) -> object:
        if isinstance(value, list):
            return [content(each) for each in value]
        if not isinstance(value, Loaded):
            return value
        path = Path(str(value.variables["path"]))
        if value.type == "File":
            return [path.name, cache.trees.upload_file(path).key]
        return cache.trees.upload(path, Filter.of(value.variables.get("exclude", ()))).key  # type: ignore[arg-type]

    source = cache.trees.upload(module.source, Filter.of(SOURCE)).key
    words = [
        [call.owner.name, call.function.name, {name: content(each) for name, each in call.inputs.items()}]
        for call in calls
    ]
    return key_of("function", sdk_version(), module.name, module.entry, source, words)
