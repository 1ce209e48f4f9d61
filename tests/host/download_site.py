"""Fake download site of the Dagger CLI, on a loopback port, with the real one's TLS and paths.

A .curlrc in the home folder redirects curl to it, so that the callers of curl stay unchanged.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import socket
import ssl
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509

from tests.host.certificates import certify

ROOT = Path(__file__).resolve().parents[2]
HOST = "dl.dagger.io"
VERSION = json.loads((ROOT / "dagger.json").read_text())["engineVersion"].removeprefix("v")
SUMS = {"amd64": "SHA256_AMD64", "arm64": "SHA256_ARM64"}


@dataclass(frozen=True)
class Site:
    """The site's files, its certificate and its port."""

    folder: Path
    certificate: Path
    port: int

    def lead(self, home: Path) -> None:
        """Redirect every curl of the user with this home to the site."""
        home.mkdir(parents=True, exist_ok=True)
        lines = (f'connect-to = "{HOST}:443:127.0.0.1:{self.port}"', f'cacert = "{self.certificate}"')
        (home / ".curlrc").write_text("\n".join(lines) + "\n")

    def offer(self, program: str) -> str:
        """Offer a CLI for every machine that one is pinned for; returns the SHA-256 of its archive."""
        content = archive(program)
        releases = self.folder / "dagger/releases" / VERSION
        releases.mkdir(parents=True)
        for machine in SUMS:
            (releases / f"dagger_v{VERSION}_linux_{machine}.tar.gz").write_bytes(content)
        return hashlib.sha256(content).hexdigest()


def archive(program: str) -> bytes:
    """Return an archive with a CLI, the same bytes for the same text."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content, mode in (("LICENSE", "", 0o644), ("dagger", program, 0o755)):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content.encode()), mode
            tar.addfile(member, io.BytesIO(content.encode()))
    return gzip.compress(packed.getvalue(), mtime=0)


def pin(wrapper: Path, digest: str) -> None:
    """Make a copy of daggerw take the archive with this SHA-256."""
    names = tuple(f"{name}=" for name in SUMS.values())
    lines = wrapper.read_text().splitlines(keepends=True)
    kept = (f"{line.split('=')[0]}={digest}\n" if line.startswith(names) else line for line in lines)
    wrapper.write_text("".join(kept))


@contextmanager
def serve(folder: Path) -> Iterator[Site]:
    """Serve the site from below a folder while the block runs."""
    served, certificate = folder / "site", folder / "site.pem"
    served.mkdir()
    certify(certificate, x509.DNSName(HOST))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        site = Site(served, certificate, listening.getsockname()[1])
        with serve_files(served, certificate, listening):
            yield site


@contextmanager
def serve_files(folder: Path, certificate: Path, listening: socket.socket) -> Iterator[None]:
    """Serve a folder's files by TLS at a listening socket, which this closes, while the block runs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(listening.getsockname(), handler, bind_and_activate=False) as server:
        server.socket.close()
        server.socket = context.wrap_socket(listening, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
