"""A real registry, and image archives of every kind."""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
import json
import shutil
import ssl
import subprocess
import sys
import tarfile
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from fakecloud.fake_app import application
from fakecloud.state.faults import parse
from fakecloud.state.fixtures import CloudSetup, usual_setup
from oci.repository import Repository, connect
from tests.ci.connections import serve
from tests.ci.deploying.targets.labs.fleet import Fleet, run_fleet
from tests.ci.releaser import Releaser

KEYS = 4  # for a key ring of three and another issuer
CONFIG = """
version: 0.1
log: {level: info, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %s}}
http: {addr: "%s:0"%s}
"""


@pytest.fixture(scope="session", autouse=True)
def _save_repeated_work() -> Iterator[None]:
    """Read certificates once, make few keys, and end httpcore's search for a package that is not there.

    Each takes longer than most tests do. Keys are given out in turn: two issuers have different ones.
    """
    make_key = functools.cache(lambda turn, **of: generate_key(**of))
    turns, generate_key = itertools.cycle(range(KEYS)), rsa.generate_private_key
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        patch.setattr(rsa, "generate_private_key", lambda **of: make_key(next(turns), **of))
        patch.setitem(sys.modules, "sniffio", None)  # looked for in every request
        yield


@pytest.fixture(scope="session")
def registry_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of a running distribution registry."""
    given: str | None = request.config.getoption("--registry-url")
    if given:
        yield given
        return
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("no --registry-url is given and docker-registry is not installed")
    with serving_registry(program, tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture
async def repository(registry_url: str) -> AsyncIterator[Repository]:
    """Yield an empty repository of the real registry, which keeps no list of referrers."""
    async with connect(registry_url, f"tests/{uuid.uuid4()}") as repository:
        yield repository


@contextmanager
def serving_registry(
    program: str,
    folder: Path,
    host: str = "127.0.0.1",
    namespace: str = "",
    certificate: Path | None = None,
) -> Iterator[str]:
    """Run a distribution registry that keeps its images in a folder, and yield its address.

    With the name of a network namespace it runs inside of that; with a file of a key and its certificate it
    speaks TLS.
    """
    tls = f", tls: {{certificate: {certificate}, key: {certificate}}}" if certificate else ""
    (folder / "config.yml").write_text(CONFIG % (folder / "images", host, tls))
    inside = ["ip", "netns", "exec", namespace] if namespace else []
    with subprocess.Popen(
        [*inside, program, "serve", str(folder / "config.yml")], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        try:
            yield f"{'https' if certificate else 'http'}://{_address(process.stderr)}"
        finally:
            process.terminate()


def _address(log: IO[str]) -> str:
    """Return where the registry says it listens, and read its log on so that it never blocks."""
    for line in log:
        if "listening on " in line:
            threading.Thread(target=log.read, daemon=True).start()
            return line.split("listening on ")[1].split('"')[0].split(",")[0]
    pytest.fail("docker-registry ended before it listened")


@pytest.fixture(scope="session")
def setup() -> CloudSetup:
    """Return the usual setup of a rehearsal; the job's request token is in it."""
    return usual_setup("the-request-token")


@pytest.fixture(scope="session")
def google(registry_url: str, setup: CloudSetup) -> Iterator[str]:
    """Yield the address of a fake cloud with the usual setup."""
    with _serve_google(setup, registry_url) as address:
        yield address


@pytest.fixture
def start_google(registry_url: str) -> Iterator[Callable[..., str]]:
    """Yield a function that starts a fake cloud, from a setup and faults, and returns its address."""
    with ExitStack() as started:

        def start(setup: CloudSetup, *faults: str, registry_url: str = registry_url) -> str:
            return started.enter_context(_serve_google(setup, registry_url, *faults))

        yield start


@pytest.fixture
def releaser(google: str, setup: CloudSetup) -> Iterator[Releaser]:
    """Yield a job in the usual setup."""
    with Releaser(google, setup) as releaser:
        yield releaser


@pytest.fixture
def release_in(start_google: Callable[..., str]) -> Iterator[Callable[..., Releaser]]:
    """Yield a function that starts a fake cloud, from a setup and faults, and returns a job there."""
    with ExitStack() as started:

        def start(setup: CloudSetup, *faults: str, **options: str) -> Releaser:
            return started.enter_context(Releaser(start_google(setup, *faults, **options), setup))

        yield start


@contextmanager
def _serve_google(setup: CloudSetup, registry_url: str, *faults: str) -> Iterator[str]:
    app = application(setup, registry_url, [parse(fault) for fault in faults], seconds=0.01)
    with serve(app) as address:
        yield address


@pytest.fixture(scope="session")
def server() -> Iterator[Fleet]:
    """Yield the server that all services live on."""
    with run_fleet() as fleet:
        yield fleet


@pytest.fixture
def fleet(server: Fleet) -> Fleet:
    """Return a fleet that nothing runs in yet."""
    server.running.clear()
    server.known.clear()
    return server


class Archive:
    """An image archive in the making: files by name, then written as a tar."""

    def __init__(self, path: Path) -> None:
        """Start without files, to be written to the path."""
        self.path = path
        self.files: dict[str, bytes] = {}

    def add(self, content: bytes, kind: str = "application/octet-stream") -> dict[str, object]:
        """Add a blob and return its descriptor."""
        digest = hashlib.sha256(content).hexdigest()
        self.files[f"blobs/sha256/{digest}"] = content
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}

    def add_manifest(
        self, *layers: bytes, configuration: bytes = b'{"architecture":"amd64","os":"linux"}'
    ) -> dict[str, object]:
        """Add an image of some layers and return its manifest's descriptor."""
        config = self.add(configuration, "application/vnd.oci.image.config.v1+json")
        kind = "application/vnd.oci.image.layer.v1.tar"
        described = [self.add(layer, kind) for layer in layers]
        document = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": described,
        }
        return self.add(json.dumps(document).encode(), "application/vnd.oci.image.manifest.v1+json")

    def add_index(self, *manifests: dict[str, object]) -> dict[str, object]:
        """Add an index of manifests and return its descriptor."""
        kind = "application/vnd.oci.image.index.v1+json"
        document = {"schemaVersion": 2, "mediaType": kind, "manifests": manifests}
        return self.add(json.dumps(document).encode(), kind)

    def index(self, *manifests: dict[str, object]) -> None:
        """Make the manifests those of index.json."""
        self.files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()

    def write(self, prefix: str = "") -> Path:
        """Write the files as a tar and return its path."""
        with tarfile.open(self.path, "w") as tar:
            for name, content in self.files.items():
                member = tarfile.TarInfo(prefix + name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        return self.path


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """Return an empty image archive."""
    return Archive(tmp_path / "image.tar")
