"""Cached results of calls: conditions, lifetimes, and inputs of their keys."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from daggerw_engine.command.arguments.parsing import FunctionCall
from daggerw_engine.command.arguments.values import Loaded
from daggerw_engine.command.calls.result_cache import KeptResult, is_kept, look_up, seconds
from daggerw_engine.command.modules import module
from daggerw_engine.command.modules.typedefs import Catalogue, Function, TypeRef

BOUND = 1 << 30
TEXT = TypeRef("String")


@pytest.fixture
def copy(example: Path, tmp_path: Path) -> Path:
    """Return a copy of the example module that a test may change."""
    return shutil.copytree(example, tmp_path / "copy")


def call(catalogue: Catalogue, returns: TypeRef = TEXT, cache: str = "", **inputs: object) -> FunctionCall:
    return FunctionCall(catalogue.main, Function("greet", returns, cache=cache), inputs)


def look(cache: Path, folder: Path, catalogue: Catalogue, *calls: FunctionCall) -> KeptResult:
    found = asyncio.run(look_up(cache, BOUND, module.load(folder), catalogue, calls))
    assert found is not None
    return found


def test_values_are_kept_and_objects_and_what_wants_no_cache_are_not(catalogue: Catalogue) -> None:
    assert is_kept(catalogue, [call(catalogue, cache="10m", name="x")])
    assert is_kept(catalogue, [call(catalogue, source=Loaded("Directory", {"path": "/"}))])
    assert not is_kept(catalogue, [call(catalogue, TypeRef("Directory"))])
    assert not is_kept(catalogue, [call(catalogue, token=Loaded("Secret", {"uri": "env:X"}))])
    for policy in ("never", "session"):
        assert not is_kept(catalogue, [call(catalogue, cache=policy), call(catalogue)])


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("", 7 * 24 * 3600), ("10s", 10), ("1h30m", 5400), ("1.5h", 5400), ("20ms", 0.02)],
)
def test_a_policy_says_for_how_long(policy: str, expected: float) -> None:
    assert seconds(policy) == expected


def test_the_source_and_each_argument_count(catalogue: Catalogue, copy: Path, tmp_path: Path) -> None:
    cache, folder = tmp_path / "cache", tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_text("one")
    given = call(catalogue, source=Loaded("Directory", {"path": str(folder)}), name="x")
    place = look(cache, copy, catalogue, given)
    assert place.value == ()
    asyncio.run(place.keep("hello", BOUND))
    assert look(cache, copy, catalogue, given).value == ("hello",)
    assert look(cache, copy, catalogue, call(catalogue, name="x")).value == ()
    (folder / "file").write_text("other")
    assert look(cache, copy, catalogue, given).value == ()
    (folder / "file").write_text("one")
    assert look(cache, copy, catalogue, given).value == ("hello",)
    (copy / "source/data.txt").write_text("read by the module")
    assert look(cache, copy, catalogue, given).value == ()


def test_a_result_is_gone_after_its_time(catalogue: Catalogue, copy: Path, tmp_path: Path) -> None:
    given = call(catalogue, cache="1h")
    place = look(tmp_path / "cache", copy, catalogue, given)
    asyncio.run(place.keep(None, BOUND))
    assert look(tmp_path / "cache", copy, catalogue, given).value == (None,)
    kept = tmp_path / "cache/results" / f"{place.key}.json"
    result = json.loads(kept.read_text())
    kept.write_text(json.dumps({**result, "time": result["time"] - 3601}))
    assert look(tmp_path / "cache", copy, catalogue, given).value == ()
