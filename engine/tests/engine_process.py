"""Embedded engine as a process: queries, interrupts, kills, and leftovers."""

from __future__ import annotations

import ctypes
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from daggerw_engine.run.namespaces import join

DISTRIBUTION = Path(__file__).resolve().parents[1]
PATIENCE = 120.0  # a busy machine takes its time
PROGRAMS = ("sh", "cat", "dd", "ls", "sleep", "touch", "perl")
PR_SET_CHILD_SUBREAPER = 36  # <sys/prctl.h>


def small_root(folder: Path) -> Path:
    """Fill `folder` with a file system of a few of this host's programs, without network."""
    for name in PROGRAMS:
        program = Path(shutil.which(name) or name).resolve()
        _copy(program, folder / "bin" / name)
        output = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
        for library in (Path(word) for word in output.split() if word.startswith("/")):
            _copy(library.resolve(), folder / library.relative_to("/"))
    modules = next(Path("/usr/lib").glob("*/perl-base"))
    shutil.copytree(modules, folder / modules.relative_to("/"), symlinks=True)
    return folder


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def until(condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Wait until the condition holds; AssertionError after the time limit."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"waited {patience:.0f} s for this and it did not come: {what}"
        time.sleep(0.005)


def children(pid: int) -> list[int]:
    """Return all descendants of the process `pid`, as reported by the kernel."""
    try:
        lists = [path.read_text().split() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except (FileNotFoundError, ProcessLookupError):
        return []
    found = [int(child) for words in lists for child in words]
    return [*found, *(below for child in found for below in children(child))]


def find_free_port() -> int:
    """Return a free port of the loopback, below those that the kernel hands out to other processes."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for port in random.SystemRandom().sample(range(10_000, first), 100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError(f"no port from 10000 to {first} is free")


def words_of(pid: int) -> str:
    """Return a process's command line; an empty text when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def adopt_orphans() -> None:
    """Become the parent of all orphaned descendants, so that none escapes."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@dataclass
class Engine:
    """`daggerw session` or another command of the command line, with a cache folder, as a process group."""

    home: Path
    words: Sequence[str] = ("session",)
    before: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    python: str = sys.executable

    def start(self) -> Engine:
        """Start the process."""
        base = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.home),
            "PYTHONPATH": str(DISTRIBUTION),
            "PYTHONPYCACHEPREFIX": str(self.home / "bytecode"),
        }
        command = (self.python, "-P", "-m", "daggerw_engine", *self.words)
        self.process = subprocess.Popen(
            [*self.before, *command],
            env={**base, **self.environment},
            cwd=self.cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,
        )
        return self

    @property
    def cache(self) -> Path:
        """Cache folder of the engine."""
        return self.home / "daggerw"

    def wait_until_open(self) -> Engine:
        """Wait until the engine serves its API; return self."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError(f"the engine ended: {self.end()}")
        self.address: dict[str, Any] = json.loads(line)
        return self

    def query(self, query: str) -> dict[str, Any]:
        """Return the response to a query, with data and errors; sent from the engine's own network."""
        with ThreadPoolExecutor(
            1, initializer=join, initargs=(f"/proc/{self.process.pid}/ns/net",)
        ) as inside:
            return inside.submit(self._send, query).result()

    def _send(self, query: str) -> dict[str, Any]:
        answer = httpx.post(
            f"http://127.0.0.1:{self.address['port']}/query",
            auth=(self.address["session_token"], ""),
            json={"query": query},
            timeout=2 * PATIENCE,
            trust_env=False,
        )
        result: dict[str, Any] = answer.json()
        return result

    def container(self, root: Path, chain: str) -> dict[str, Any]:
        """Return the response to a chain on a container with the file system in `root`."""
        found = self.query(f'{{host{{directory(path:"{root}"){{id}}}}}}')
        if "errors" in found:
            return found
        source = found["data"]["host"]["directory"]["id"]
        return self.query(f'{{container{{withDirectory(path:"/",source:"{source}"){{{chain}}}}}}}')

    def build(self, root: Path, *lines: str) -> dict[str, Any]:
        """Return the response to a Dockerfile that begins with the file system in `root`."""
        found = self.query(f'{{host{{directory(path:"{root}"){{id}}}}}}')
        if "errors" in found:
            return found
        source = found["data"]["host"]["directory"]["id"]
        text = json.dumps("\n".join(("FROM scratch", "COPY root /", *lines, "")))
        built = f'withNewFile(path:"Dockerfile",contents:{text}){{dockerBuild{{sync}}}}'
        return self.query(f'{{directory{{withDirectory(path:"/root",source:"{source}"){{{built}}}}}}}')

    def runs(self, *signs: str) -> bool:
        """Return whether a descendant has all of these words in its command line."""
        lines = [words_of(pid) for pid in children(self.process.pid)]
        return any(all(sign in line for sign in signs) for line in lines)

    def end(self, number: int | None = None, patience: float = PATIENCE) -> tuple[int, str]:
        """Send a signal to its process group, as a terminal does; return its status and stderr."""
        if number is not None:
            os.killpg(self.process.pid, number)
        _, stderr = self.process.communicate(timeout=patience)
        return self.process.returncode, stderr

    def kill(self) -> None:
        """Kill only the engine, so that it can't clean up."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def leftovers(self, patience: float = 60.0) -> list[str]:
        """Return the remaining processes and mounts of the engine after a while; ideally an empty list."""
        deadline = time.monotonic() + patience
        for pid in (found := children(os.getpid())):
            _wait_for_end(pid, deadline)
        mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if self._ours(line)]
        return [words for pid in found if (words := words_of(pid))] + mounts

    def _ours(self, mount: str) -> bool:
        return f"{self.cache}/" in mount


def _wait_for_end(pid: int, deadline: float) -> None:
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
        if ended:
            os.waitid(os.P_PIDFD, handle, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        pass  # its own parent has waited for it
    finally:
        os.close(handle)


@contextmanager
def run_engine(
    home: Path, *before: str, python: str = sys.executable, **environment: str
) -> Iterator[Engine]:
    """Serve the API on a cache folder while the block runs."""
    engine = Engine(home, before=before, environment=environment, python=python).start().wait_until_open()
    try:
        yield engine
    finally:
        assert engine.process.stdin is not None
        engine.process.stdin.close()
        engine.process.stdin = None
        engine.end()
