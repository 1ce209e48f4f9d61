"""Secrecy of a release's tokens: none is in output, files, pushed data or command lines.

A witness in front of the fake cloud learns every token from the requests and responses themselves.
"""

from __future__ import annotations

import gzip
import os
import secrets
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from starlette.types import ASGIApp

from engine_fixtures import Command
from fakecloud import addresses
from fakecloud.connection_faults import server
from fakecloud.fake_app import application
from fakecloud.state.fixtures import CloudSetup, usual_setup
from tests.host.release.neighbour import NAME, listen
from tests.host.release.test_release import ROOT, address, registry
from tests.host.release.witness import Witness, shapes

__all__ = ["address", "registry"]  # fixtures
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a session needs root")
GZIP, CHUNK, PAUSE = b"\x1f\x8b", 1 << 24, 0.01


@dataclass
class Commands:
    """All command lines of this machine's processes while the block runs."""

    seen: set[bytes] = field(default_factory=set)

    @contextmanager
    def record(self) -> Iterator[None]:
        """Record the command lines repeatedly while the block runs."""
        done = threading.Event()
        thread = threading.Thread(target=lambda: self._watch(done))
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _watch(self, done: threading.Event) -> None:
        while not done.wait(PAUSE):
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.seen.add(process.read_bytes())
                except (FileNotFoundError, ProcessLookupError):
                    continue  # it has ended


@contextmanager
def serve(app: ASGIApp) -> Iterator[str]:
    """Serve an application where a container sees it, and yield its address."""
    running = server(app)
    with listen(NAME) as listener:
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            host, port = listener.getsockname()
            yield f"http://{host}:{port}"
        finally:
            running.should_exit = True
            thread.join()


@pytest.fixture
def setup() -> CloudSetup:
    return usual_setup(secrets.token_urlsafe())


def files_changed_since(folder: Path, since: float) -> Iterator[Path]:
    """Yield the files below a folder that have been made or changed since a time."""
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names):
            with suppress(FileNotFoundError):  # another engine's, which has ended
                info = path.lstat()
                if stat.S_ISREG(info.st_mode) and info.st_ctime >= since:
                    yield path


def has_text(path: Path, wanted: set[bytes]) -> bool:
    """Return whether a file contains one of some texts, also when it is compressed."""
    with path.open("rb") as plain:
        compressed = plain.read(len(GZIP)) == GZIP
    with gzip.open(path) if compressed else path.open("rb") as file:
        longest, before = max(map(len, wanted)), b""
        while chunk := file.read(CHUNK):
            text = before + chunk
            if any(each in text for each in wanted):
                return True
            before = text[-longest:]
    return False


def files_with(files: list[Path], wanted: set[bytes]) -> list[Path]:
    """Return the files that hold one of some texts; another engine's may be gone by now."""
    found = []
    for path in files:
        with suppress(FileNotFoundError):
            found += [path] if has_text(path, wanted) else []
    return found


def test_a_release_leaves_no_token_anywhere(
    command: Command, engine_home: Path, registry: str, setup: CloudSetup, tmp_path: Path
) -> None:
    witness, commands, endpoints = Witness(), Commands(), tmp_path / "google.toml"
    with serve(witness.of(application(setup, registry))) as base, commands.record():
        endpoints.write_text(addresses.endpoints(base, setup))
        words, environment = command(
            *("call", "--verbose", "--progress=plain", "publish", "--tag=v1.0.0", "--allow-stand-in"),
            *(f"--registry={setup.repository.uri}", f"--service-account={setup.service_account}"),
            f"--workload-identity-provider={setup.provider.resource}",
            *("--oidc-url=env:URL", "--oidc-token=env:TICKET", f"--google-endpoints={endpoints}"),
        )
        environment |= {"URL": addresses.request_url(base), "TICKET": setup.request_token}
        started = time.time()
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert len(witness.tokens) >= 5  # the job's, its identity, the federated, the account's, the registry's
    wanted = {shape for token in witness.tokens for shape in shapes(token)}
    output = b"".join([done.stdout, done.stderr, *commands.seen])
    assert b"publish" in b"".join(commands.seen)
    assert not [shape for shape in wanted if shape in output]
    files = list(files_changed_since(engine_home, started))
    assert any("docker/registry/v2/blobs" in str(path) for path in files), "the registry has none of its own"
    assert not files_with(files, wanted)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_token_in_a_file_is_found(tmp_path: Path, compressed: bool) -> None:
    content = b"x" * CHUNK + b"the-token-of-all"
    (tmp_path / "file").write_bytes(gzip.compress(content, 1) if compressed else content)
    assert has_text(tmp_path / "file", shapes("the-token-of-all"))
    assert not has_text(tmp_path / "file", shapes("another-token-of-all"))
