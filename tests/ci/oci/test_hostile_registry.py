"""A hostile registry: no response fills memory, lasts for ever, or ends in a traceback."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from errors import PipelineError, RegistryError, UnusableAnswer
from net import bounded_reading
from net.retry_policy import Retrying
from oci import registry_listing
from oci.image_download import pull
from oci.repository import Repository, open_with

pytestmark = pytest.mark.anyio
CI = Path(__file__).parents[3] / "ci"
DIGEST = f"sha256:{'a' * 64}"
Handler = Callable[[httpx.Request], httpx.Response]

CLIENT = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1_000_000_000, 1_000_000_000))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
from dataclasses import replace
import anyio
from errors import RegistryError
from net.retry_policy import patient
from oci.repository import open_with

async def main():
    async with patient() as client:
        client = replace(client, attempts=1)
        for name in sys.argv[2:]:
            repository = open_with(client, sys.argv[1], name)
            try:
                if name == "blob":
                    async for piece in repository.blob("sha256:" + "a" * 64, 1000):
                        pass
                elif name == "pages":
                    await repository.tags()
                else:
                    await repository.manifest("v1.0.0")
                print(name, "came to an end")
            except RegistryError as error:
                print(name, str(error).replace("\\n", " "))

anyio.run(main)
"""
ENDLESS = b"HTTP/1.1 %s\r\nTransfer-Encoding: chunked\r\n%s\r\n"
CHUNK = b"%x\r\n" % 65536 + b" " * 65536 + b"\r\n"


class Hostile(threading.Thread):
    """A server whose every response is endless, but for redirections and challenges, which lead to more."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://{}:{}".format(*self.listener.getsockname())

    def run(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            path = connection.recv(65536).split(b" ")[1].decode()
            status, headers = b"200 OK", b""
            if "/redirected/" in path:
                status, headers = b"307 Temporary Redirect", b"Location: /v2/manifest/manifests/v1\r\n"
            elif "/token/" in path:
                realm = f'Bearer realm="{self.url}/tokens",service="x"'.encode()
                status, headers = b"401 Unauthorized", b"WWW-Authenticate: %s\r\n" % realm
            elif "/refused/" in path:
                status = b"403 Forbidden"
            elif "/pages/" in path:
                body, link = b'{"tags":["v1"]}', b'Link: </v2/pages/tags/list?last=v1>; rel="next"\r\n'
                head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n" % (
                    len(body),
                    link,
                )
                connection.sendall(head + body)
                return
            elif "/announced/" in path:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
                return
            elif "/compressed/" in path:
                headers = b"Content-Encoding: gzip\r\n"
            connection.sendall(ENDLESS % (status, headers))
            while True:
                connection.sendall(CHUNK)


def test_endless_responses_of_every_kind_end_in_little_memory_and_time() -> None:
    server = Hostile()
    server.start()
    expected = {
        "manifest": "has more than 4194304 bytes",
        "blob": "has more than 1000 bytes",
        "token": "has more than 4194304 bytes",
        "refused": "has more than 4194304 bytes",
        "redirected": "has more than 4194304 bytes",
        "announced": "has 99999999999 bytes; 4194304 are the most",
        "compressed": "is encoded as 'gzip', which was not requested",
        "pages": "has more than 1000 pages",
    }
    program = f"import sys; sys.path.insert(0, {str(CI)!r})\n{CLIENT}"
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", program, server.url, *expected],
            capture_output=True,
            text=True,
            timeout=240,
            check=True,
        )
    finally:
        server.listener.close()
    found = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert {name: said in found[name] for name, said in expected.items()} == dict.fromkeys(expected, True), (
        found
    )


def repository(handler: Handler) -> Repository:
    client = Retrying(httpx.AsyncClient(transport=httpx.MockTransport(handler)), attempts=1)
    return open_with(client, "https://registry.test", "m")


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


OTHER = f"sha256:{'b' * 64}"
DEEP = b"[" * 100_000
SHAPES: list[object] = [
    None,
    1,
    "text",
    [],
    [[]],
    {},
    {"config": 1},
    {"config": [], "layers": {}},
    {"config": None, "layers": None},
    {"tags": 1},
    {"tags": {"a": 1}},
    {"tags": [{}]},
    {"tags": "v1.0.0"},
    {"manifests": 1},
    {"manifests": [1]},
    {"manifests": {"digest": DIGEST}},
    {"manifests": [{"digest": 1, "size": 1, "mediaType": "x"}]},
    {"manifests": [{"digest": "../../x", "size": 1, "mediaType": "x"}]},
    {"manifests": [{"digest": DIGEST, "size": 1e999, "mediaType": "x"}]},
    {"manifests": [{"digest": DIGEST, "size": -1, "mediaType": "x"}]},
    {"config": {"digest": DIGEST, "size": 10**400}, "layers": []},
    {"config": {"digest": DIGEST, "size": True}, "layers": []},
    {"config": {"digest": "sha256:../../../x", "size": 1}, "layers": []},
    {"config": {"digest": DIGEST, "size": 4 * 1024**3}, "layers": [{"digest": OTHER, "size": 1}]},
    {"created": 1, "errors": 1},
    {"errors": [1]},
    {"errors": [{"code": [], "message": {}}]},
    {"token": 1},
    {"token": ""},
    {"token": "a b"},
    {"access_token": []},
    {"token": "x", "expires_in": 10**400},
    {"token": "x", "expires_in": "soon"},
    {"token": "x", "expires_in": -1},
]
BODIES = [
    *(json.dumps(each).encode() for each in SHAPES),
    *(DEEP, b"", b"\xff\xfe", b"{", b'{"size":' + b"9" * 5000),
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body[:60].decode(errors="replace"))
async def test_malformed_json_of_any_shape_is_a_registry_error(body: bytes, tmp_path: Path) -> None:
    def answer(status: int, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/tokens":
            return httpx.Response(200, content=body)
        challenge = {"WWW-Authenticate": 'Bearer realm="https://registry.test/tokens"'}
        return httpx.Response(status, content=body, headers=challenge)

    for status in (200, 401, 404, 500):
        place = repository(partial(answer, status))
        for work in (
            partial(place.tags),
            partial(place.digest, "v1.0.0"),
            partial(place.referrers, DIGEST),
            partial(place.document, digest(body)),
            partial(pull, place, digest(body), tmp_path / "pulled.tar"),
            partial(registry_listing.list_releases, place),
            partial(place.copy, place, digest(body), "v1.0.0", [DIGEST]),
            partial(place.check),
        ):
            # Anything else than the pipeline's own errors would be a traceback.
            with suppress(PipelineError):
                await work()


@pytest.mark.parametrize(
    "link", ['<https://other.test/x>; rel="next"', '<http://[>; rel="next"', '<>; rel="next"']
)
async def test_a_next_page_elsewhere_is_refused(link: str) -> None:
    place = repository(lambda request: httpx.Response(200, json={"tags": []}, headers={"Link": link}))
    with pytest.raises(RegistryError, match="which is not the registry's"):
        await place.tags()


class Dripping(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            yield b"."


async def test_a_body_that_comes_in_drops_ends() -> None:
    ticks: Iterator[int] = iter(range(100))
    answer = httpx.Response(200, stream=Dripping(), request=httpx.Request("GET", "https://registry.test/x"))
    with pytest.raises(UnusableAnswer, match=r"registry.test/x: the response takes longer than 9 s"):
        async for _ in bounded_reading.pieces(answer, 1000, 9, clock=lambda: next(ticks)):
            pass


async def test_nothing_compressed_is_requested() -> None:
    seen: list[Any] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["Accept-Encoding"])
        return httpx.Response(200, json={"tags": []})

    await repository(handler).tags()
    assert seen == ["identity"]
