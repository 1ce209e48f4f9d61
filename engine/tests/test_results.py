"""Results: stored atomically, with one step at a time for each key."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import daggerw_engine
from daggerw_engine.results import Results


@pytest.fixture
def results(tmp_path: Path) -> Results:
    (tmp_path / "results").mkdir()
    (tmp_path / "scratch").mkdir()
    return Results(tmp_path / "results", tmp_path / "scratch")


def test_a_result_is_found_under_its_key(results: Results) -> None:
    results.put("key", {"exit": 0, "out": "caf\u00e9 \udcff"})
    assert results.get("key") == {"exit": 0, "out": "caf\u00e9 \udcff"}
    assert results.get("other") is None


@pytest.mark.parametrize("torn", [b"", b'{"exit": 0, "o', b'{"out": "\xff'])
def test_a_torn_result_is_none(results: Results, torn: bytes) -> None:
    (results.folder / "key.json").write_bytes(torn)
    assert results.get("key") is None


def test_a_result_that_could_not_be_written_leaves_the_last(results: Results) -> None:
    results.put("key", {"exit": 0})
    with pytest.raises(TypeError):
        results.put("key", {"exit": 1, "out": object()})
    assert results.get("key") == {"exit": 0}


def test_a_result_is_used_by_getting_it(results: Results) -> None:
    results.put("key", {})
    os.utime(results.folder / "key.json", (1, 1))
    results.get("key")
    assert (results.folder / "key.json").stat().st_mtime > time.time() - 60


def test_one_step_at_a_time_works_on_a_key(results: Results) -> None:
    working: set[str] = set()

    async def step(key: str) -> None:
        async with results.alone(key):
            assert key not in working
            working.add(key)
            await asyncio.sleep(0)
            working.remove(key)

    async def all_() -> None:
        await asyncio.gather(*(step(key) for key in "aaaabbbb"))

    asyncio.run(all_())


def test_other_keys_are_not_waited_for(results: Results) -> None:
    async def both() -> list[str]:
        async with results.alone("a"), asyncio.timeout(60), results.alone("b"):
            return ["a", "b"]

    assert asyncio.run(both()) == ["a", "b"]


def test_a_step_that_fails_or_is_called_off_lets_go(results: Results) -> None:
    async def fails() -> None:
        async with results.alone("key"):
            raise LookupError

    async def steps() -> None:
        with pytest.raises(LookupError):
            await fails()
        async with results.alone("key"):
            waiting = asyncio.create_task(fails())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        async with asyncio.timeout(60), results.alone("key"):
            pass

    asyncio.run(steps())


HOLDER = """
import asyncio, sys
from pathlib import Path
from daggerw_engine.results import Results

async def hold():
    async with Results(Path(sys.argv[1]), Path(sys.argv[1])).alone("key"):
        print("held", flush=True)
        await asyncio.Event().wait()

asyncio.run(hold())
"""


def test_a_killed_session_holds_nothing(results: Results) -> None:
    async def take() -> None:
        async with results.alone("key"):
            pass

    async def take_within_50_ms() -> None:
        async with asyncio.timeout(0.05):
            await take()

    path = str(Path(daggerw_engine.__path__[0]).parent)
    command = (sys.executable, "-c", HOLDER, str(results.folder))
    with subprocess.Popen(command, env={"PYTHONPATH": path}, stdout=subprocess.PIPE) as other:
        assert other.stdout
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(TimeoutError):
            asyncio.run(take_within_50_ms())
        other.send_signal(signal.SIGKILL)
        asyncio.run(asyncio.wait_for(take(), 60))
