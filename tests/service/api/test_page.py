"""Files for browsers: the same with and without FastAPI, gzipped, fresh, and from this host only."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from app.api import page
from app.api.page import File, file_routes, takes_gzip
from app.errors import UnknownPath
from app.modelling.artifact import PLOT_FILES
from app.settings import Settings
from tests.service.differential import OURS
from tests.service.model import write_model
from tests.service.server import Server, run_service

STATIC = Path(page.__file__).with_name("static")
PLOT = b'<svg xmlns="http://www.w3.org/2000/svg"><title>ROC curve</title></svg>\n'
PATHS = [
    path for path in file_routes(Settings()) if not path.startswith("/model/") or path == "/model/roc.svg"
]
LEAST_CONTRAST = 4.5  # of text that isn't large (WCAG 2.2, 1.4.3)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Return a service that answers without FastAPI where it can, and one that doesn't."""
    folder = write_model(tmp_path_factory.mktemp("model"))
    (folder / "roc.svg").write_bytes(PLOT)
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(run_service(folder, settings={"HOT_PATH": switch})) for switch in "10"]


def response_to(server: Server, head: str) -> bytes:
    """Return what a server says to a head, the date and its own ids aside."""
    with server.connect() as wire:
        wire.send(f"{head}\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return OURS.sub(b"", wire.rest())


@pytest.mark.parametrize("path", PATHS)
def test_every_file_is_answered_with_what_keeps_it_safe_and_fresh(servers: list[Server], path: str) -> None:
    reply = servers[0].request("GET", path)
    assert reply.status == 200
    assert reply.body
    assert reply.headers["content-type"] in {kind.decode() for kind in page.MEDIA_TYPES.values()}
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.headers["vary"] == "accept-encoding"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "content-encoding" not in reply.headers
    policy = reply.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy


@pytest.mark.parametrize("path", PATHS)
def test_a_client_that_takes_gzip_is_sent_less_of_the_same(servers: list[Server], path: str) -> None:
    whole = servers[0].request("GET", path, Accept_Encoding="identity")
    packed = servers[0].request("GET", path, Accept_Encoding="gzip, deflate, br, zstd")
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == whole.body
    assert packed.headers["etag"] == whole.headers["etag"]
    assert len(packed.body) < len(whole.body) / 1.5 or len(whole.body) < 500


def test_a_client_that_has_the_file_gets_304(servers: list[Server]) -> None:
    tag = servers[0].request("GET", "/docs").headers["etag"]
    for known in (tag, f'"other", {tag}', tag.removeprefix("W/"), "*"):
        reply = servers[0].request("GET", "/docs", If_None_Match=known)
        assert (reply.status, reply.body) == (304, b"")
        assert reply.headers["etag"] == tag
        assert "content-length" not in reply.headers
    for other in ('W/"other"', "", tag.replace('"', "")):
        assert servers[0].request("GET", "/docs", If_None_Match=other).status == 200


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [
        *((b"gzip", True), (b"GZIP", True), (b"br, gzip;q=0.5", True), (b"gzip ; q=1.0", True)),
        *((b"", False), (b"identity", False), (b"br", False), (b"*", False), (b"gzipped", False)),
        *((b"gzip;q=0", False), (b"gzip; q=0.000, *", False)),
    ],
)
def test_gzipped_responses_are_for_clients_that_accept_them(accepted: bytes, takes: bool) -> None:
    assert takes_gzip(accepted) is takes


@pytest.mark.parametrize("path", [*PATHS, "/model/residuals.svg", "/static/", "/static/../page.py", "/docs/"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_fastapi_and_what_stands_before_it_answer_alike(
    servers: list[Server], method: str, path: str
) -> None:
    tag = servers[0].request("GET", path).headers.get("etag", "none")
    for field in ("Accept: */*", "Accept-Encoding: gzip", f"If-None-Match: {tag}"):
        hot, cold = (response_to(server, f"{method} {path} HTTP/1.1\r\n{field}") for server in servers)
        assert hot == cold


def test_pages_are_read_only(servers: list[Server]) -> None:
    for method in ("POST", "DELETE"):
        reply = servers[0].request(method, "/")
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")


OTHERS = ("/static/page.py", "/static/..%2fpage.py", "/static/page.css.gz", "/model/card.json")
NO_PLOT = "/model/residuals.svg"  # which training did not make


@pytest.mark.parametrize("path", [*OTHERS, NO_PLOT])
def test_no_other_file_is_reached(servers: list[Server], path: str) -> None:
    reply = servers[0].request("GET", path)
    assert (reply.status, reply.json()["error"]["code"]) == (404, "not_found")


def test_a_plot_is_the_model_folder_s(servers: list[Server]) -> None:
    reply = servers[0].request("GET", "/model/roc.svg")
    assert (reply.headers["content-type"], reply.body) == ("image/svg+xml", PLOT)


def test_a_file_that_lies_packed_is_sent_as_it_lies(tmp_path: Path) -> None:
    packed = gzip.compress(b"let x;", mtime=1)
    (tmp_path / "x.js.gz").write_bytes(packed)
    file = File(tmp_path / "x.js")
    assert file.answer({b"accept-encoding": b"gzip"}).body == packed
    assert file.answer({}).body == b"let x;"


def test_many_slow_clients_hold_one_copy_of_a_file() -> None:
    file = file_routes(Settings())["/static/swagger-ui-bundle.js"]
    for headers in ({}, {b"accept-encoding": b"gzip"}):
        assert file.answer(headers).body is file.answer(headers).body


def test_a_file_that_is_missing_is_looked_for_again(tmp_path: Path) -> None:
    file = File(tmp_path / "x.js")
    with pytest.raises(UnknownPath, match=r"path: expected a file that can be read, got x\.js"):
        file.answer({})
    (tmp_path / "x.js").write_bytes(b"let x;")
    assert file.answer({}).body == b"let x;"


@pytest.mark.parametrize("target", ["/dev/zero", "fifo", "."])
def test_what_is_no_regular_file_is_not_found(target: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "roc.svg").symlink_to(target)
    with pytest.raises(UnknownPath):
        File(tmp_path / "roc.svg").answer({})


def test_all_our_files_are_served_and_all_plots_have_a_place() -> None:
    assert sorted(path.name for path in STATIC.iterdir()) == sorted([*page.PAGES.values(), *page.OURS])
    assert {path.removeprefix("/model/") for path in file_routes(Settings()) if "/model/" in path} == set(
        PLOT_FILES
    )


def test_scripts_import_what_is_served_and_name_no_other_host() -> None:
    scripts = {path.name: path.read_text() for path in STATIC.glob("*.js")}
    imported = chain.from_iterable(re.findall(r'from "\./([^"]+)"', text) for text in scripts.values())
    assert set(imported) == {"answer.js", "card.js", "question.js"}
    others = [*scripts.values(), (STATIC / "page.css").read_text()]
    assert not any(re.search(r"https?:|//[a-z]|\burl\(", text.replace("// ", "")) for text in others)
    assert not any(re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval\(", text) for text in others)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        *(("ink", "ground"), ("ink", "surface"), ("muted", "ground"), ("muted", "surface")),
        *(("accent", "ground"), ("accent", "surface"), ("wrong", "surface")),
    ],
)
def test_text_stands_out_from_its_ground(scheme: int, text: str, ground: str) -> None:
    colours = re.findall(r":root \{(.*?)\}", (STATIC / "page.css").read_text(), re.DOTALL)[scheme]
    values = dict(re.findall(r"--(\w+): #([0-9a-f]{6});", colours))
    assert contrast(values[text], values[ground]) >= LEAST_CONTRAST


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours as WCAG 2.2 defines it."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(colour: str) -> float:
    """Return a colour's relative luminance as WCAG 2.2 defines it."""
    shares = (int(colour[place : place + 2], 16) / 255 for place in (0, 2, 4))
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
