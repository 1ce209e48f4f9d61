"""Safety of secrets, the host, other sessions' work, and the disk."""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import operator
import os
import signal
import stat
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from daggerw_engine.errors import CacheInUseError
from daggerw_engine.store.cache import clear, prune
from engine_process import DISTRIBUTION, Engine, children, run_engine, small_root, until, words_of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a session needs root")
TOKEN = "a-token-of-this-engine-alone"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_root(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with run_engine(tmp_path_factory.mktemp("home"), TOKEN=TOKEN) as engine:
        yield engine


def of(answer: dict[str, Any], *fields: str) -> Any:
    """Return a nested value of a response; AssertionError when it has errors."""
    assert "errors" not in answer, answer["errors"]
    return functools.reduce(operator.getitem, fields, answer["data"]["container"]["withDirectory"])


def secret_of(engine: Engine) -> str:
    found: str = engine.query('{secret(uri:"env://TOKEN"){id}}')["data"]["secret"]["id"]
    return found


def with_secrets(secret: str, chain: str) -> str:
    """Return a chain on a container that has a secret as a variable and as a file."""
    file = f'withMountedSecret(path:"/run/token",source:"{secret}")'
    return f'withSecretVariable(name:"TOKEN",secret:"{secret}"){{{file}{{{chain}}}}}'


def shell(script: str, fields: str, expect: str = "SUCCESS") -> str:
    return f"withExec(args:{json.dumps(['sh', '-c', script])},expect:{expect}){{{fields}}}"


def holds(folder: Path, text: str) -> list[Path]:
    """Return the files below a folder that contain a text, plain or in Base64, also inside archives."""
    signs = [text.encode(), base64.b64encode(text.encode())]
    found = []
    for path in (each for each in folder.rglob("*") if each.is_file() and not each.is_symlink()):
        content = path.read_bytes()
        if path.suffix == ".tar":
            with tarfile.open(path) as archive:
                content += b"".join(m.name.encode() for m in archive)
        if any(sign in content for sign in signs):
            found.append(path)
    return found


def test_a_secret_is_shown_as_stars_and_kept_nowhere(engine: Engine, root: Path) -> None:
    secret = secret_of(engine)
    shows = "echo $TOKEN; echo $TOKEN >&2; cat /run/token"
    answer = engine.container(root, with_secrets(secret, shell(shows, "stdout stderr asTarball{size}")))
    done = of(answer, "withSecretVariable", "withMountedSecret", "withExec")
    assert (done["stdout"], done["stderr"]) == ("***\n***", "***\n")
    failed = engine.container(root, with_secrets(secret, shell(f"{shows}; exit 3", "sync")))
    assert failed["errors"][0]["extensions"]["exitCode"] == 3
    assert TOKEN not in json.dumps(failed)
    assert holds(engine.cache, TOKEN) == []


def test_a_dockerfiles_secret_is_kept_nowhere(engine: Engine, root: Path) -> None:
    named = engine.query(f'{{setSecret(name:"token",plaintext:"{TOKEN}"){{id}}}}')["data"]["setSecret"]["id"]
    run = "RUN --mount=type=secret,id=token cat /run/secrets/token && ls /run/secrets > /seen"
    text = json.dumps(f"FROM scratch\nCOPY root /\n{run}\n")
    source = engine.query(f'{{host{{directory(path:"{root}"){{id}}}}}}')["data"]["host"]["directory"]["id"]
    build = f'dockerBuild(secrets:["{named}"]){{file(path:"/seen"){{contents}}}}'
    files = f'withDirectory(path:"/root",source:"{source}"){{withNewFile(path:"Dockerfile",contents:{text})'
    answer = engine.query(f"{{directory{{{files}{{{build}}}}}}}}}")
    built = answer["data"]["directory"]["withDirectory"]["withNewFile"]["dockerBuild"]
    assert built["file"]["contents"] == "token\n"
    assert holds(engine.cache, TOKEN) == []


def test_a_secret_is_in_no_argument_list(engine: Engine, root: Path) -> None:
    chain = with_secrets(secret_of(engine), shell("sleep 1004", "sync"))

    def find_sleeping() -> list[int]:
        return [pid for pid in children(engine.process.pid) if words_of(pid) == "sleep 1004 "]

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(lambda: engine.container(root, chain))
        until(lambda: bool(find_sleeping()), "the command runs")  # and not only the shell that starts it
        seen = [words_of(pid) for pid in children(engine.process.pid)]
        for pid in find_sleeping():
            os.kill(pid, signal.SIGTERM)
        assert answer.result()["errors"][0]["extensions"]["exitCode"] == 128 + signal.SIGTERM
    assert seen
    assert not [words for words in seen if TOKEN in words]


@pytest.mark.parametrize("path", ["/../../../escaped", "/to-etc/escaped"])
def test_a_path_does_not_leave_its_container(engine: Engine, root: Path, path: str) -> None:
    linked = shell("exec 2>&1; perl -e 'symlink q(/../../../../../../../tmp), q(/to-etc)'", "{}")
    chain = linked.replace(
        "{}", f'withNewFile(path:"{path}",contents:"x"){{file(path:"{path}"){{contents}}}}'
    )
    answer = engine.container(root, chain)
    written = of(answer, "withExec", "withNewFile")
    assert written["file"]["contents"] == "x"
    assert not Path("/escaped").exists()
    assert not Path("/tmp/escaped").exists()


def test_a_container_may_have_more_layers_than_an_overlay(engine: Engine, root: Path) -> None:
    chain, steps = shell("perl -ne 'END { print $. }' /n", "stdout"), 90
    for number in range(steps):
        chain = shell(f"echo {number} >>/n", chain)
    answer = engine.container(root, chain)
    assert of(answer, *["withExec"] * (steps + 1), "stdout") == str(steps)


def test_only_the_user_may_look_into_a_session(engine: Engine) -> None:
    kept = [engine.cache, *engine.cache.glob("sessions/*"), engine.cache / "salt"]
    engine.query('{setSecret(name:"x",plaintext:"y"){id}}')
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) & 0o077 for path in kept if path.is_dir()}
    assert set(modes.values()) == {0}
    assert stat.S_IMODE((engine.cache / "salt").stat().st_mode) == 0o600


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def test_what_was_used_longest_ago_is_pruned_and_made_again(root: Path, tmp_path: Path) -> None:
    def make_chain(engine: Engine, name: str) -> str:
        script = f"dd if=/dev/zero of=/{name} bs=1M count=8 && cat /proc/sys/kernel/random/uuid"
        answer = engine.container(root, shell(script, "stdout"))
        return str(of(answer, "withExec", "stdout"))

    with run_engine(tmp_path) as engine:
        old, young = make_chain(engine, "old"), make_chain(engine, "young")
    with run_engine(tmp_path) as engine:
        assert make_chain(engine, "young") == young
    cache = tmp_path / "daggerw"
    asyncio.run(prune(cache, bound=size(cache) - 1))
    with run_engine(tmp_path) as engine:
        assert (make_chain(engine, "young") == young, make_chain(engine, "old") == old) == (True, False)
    clear(cache, volumes=True)
    assert size(cache) < 100_000
    with run_engine(tmp_path) as engine:
        assert make_chain(engine, "young") != young


def test_nothing_is_pruned_while_a_session_lives(engine: Engine) -> None:
    with pytest.raises(CacheInUseError, match="let the other calls end"):
        asyncio.run(prune(engine.cache, bound=0))


def test_five_kills_at_random_moments_leave_a_cache_that_works() -> None:
    words = [sys.executable, str(DISTRIBUTION / "tests/kill_many.py"), "5", str(int(time.time()))]
    environment = {**os.environ, "PYTHONPATH": str(DISTRIBUTION)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
