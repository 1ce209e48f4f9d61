"""HTTP as clients speak it: offers of other protocols, HEAD, gzip, IPv6; and what RFC 9112 has refused."""

from __future__ import annotations

import gzip
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.api.routes import plain_routes
from app.connections import listener
from app.connections.body_framing import LINE_BYTES, TRAILER_FIELDS
from app.connections.content_encoding import MEMBERS, Gzip
from app.errors import ListenError
from app.settings import Limits, Settings
from tests.service.server import BODY, TIMEOUT, Reply, Server, Wire, run_service

ROUTE = "/v1/models/m:predict"
TENSOR = b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP64","data":[1,2,3]}]}'
POSTS = {"/predict": BODY, ROUTE: BODY, "/v2/models/known/infer": TENSOR}
# What curl --http2 and Java's HttpClient send, what browsers do, and what some proxies pass on.
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
WEBSOCKET = b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
TLS = b"connection: upgrade\r\nUPGRADE:TLS/1.0, HTTP/2.0\r\n"
OFFERS = {"h2c": H2C, "websocket": WEBSOCKET, "TLS": TLS}


@pytest.fixture(scope="module")
def server(number_model: Path, switch: dict[str, str]) -> Iterator[Server]:
    settings = switch | {"AIP_PREDICT_ROUTE": ROUTE}
    with run_service(number_model, settings=settings, measured=True) as server:
        yield server


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with server.connect() as wire:
        yield wire


def head(line: bytes, *fields: bytes) -> bytes:
    """Return a head with a Host field."""
    return b"\r\n".join([line, b"Host: x", *fields]) + b"\r\n\r\n"


def post(body: bytes, *fields: bytes) -> bytes:
    """Return a whole request."""
    return head(b"POST /predict HTTP/1.1", b"Content-Length: %d" % len(body), *fields) + body


def to_chunks(body: bytes, size: int) -> bytes:
    """Return a body in chunks."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x;name=value\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def wait_until_read(server: Server) -> None:
    """Have the service answer something else, so that it has read what was sent before."""
    for _ in range(2):
        assert server.request("GET", "/livez").status == 200


@pytest.mark.parametrize("offer", OFFERS.values(), ids=list(OFFERS))
@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("coding", ["whole", "split", "chunked"])
def test_an_offer_of_another_protocol_is_declined_and_the_body_read(
    server: Server, wire: Wire, offer: bytes, path: str, coding: str
) -> None:
    body = POSTS[path]
    length = b"Transfer-Encoding: chunked" if coding == "chunked" else b"Content-Length: %d" % len(body)
    start = head(b"POST %b HTTP/1.1" % path.encode(), length, offer.removesuffix(b"\r\n"))
    for _ in range(2):  # on the same connection
        sent = start + (to_chunks(body, 7) if coding == "chunked" else body)
        at = len(start) + 5 if coding == "split" else len(sent)
        wire.send(sent[:at])
        if at < len(sent):
            wait_until_read(server)
            wire.send(sent[at:])
        reply = wire.reply()
        assert (reply.status, "connection" in reply.headers) == (200, False), reply.body


def test_an_offer_that_comes_byte_by_byte_is_declined(server: Server, wire: Wire) -> None:
    request = post(BODY, H2C.removesuffix(b"\r\n"))
    for at in range(len(request)):
        wire.send(request[at : at + 1])
    assert wire.reply().status == 200


def test_an_offer_without_a_body_is_declined(wire: Wire) -> None:
    for _ in range(2):
        wire.send(head(b"GET /livez HTTP/1.1", H2C.removesuffix(b"\r\n")))
        assert wire.reply().status == 200


@pytest.mark.parametrize(
    "path", [*plain_routes(Settings()), "/", "/docs", "/openapi.json", "/v2", "/v2/models/known"]
)
def test_head_is_get_without_the_body(server: Server, path: str) -> None:
    get, bare = (server.request(method, path, X_Request_ID="same") for method in ("GET", "HEAD"))
    assert (bare.status, bare.body) == (200, b"")
    kept = ({**reply.headers, "date": ""} for reply in (get, bare))
    fields = [{k: v for k, v in each.items() if path != "/metrics" or k != "content-length"} for each in kept]
    assert fields[0] == fields[1]


def test_head_of_what_is_posted_to_is_405_without_a_body(server: Server) -> None:
    reply = server.request("HEAD", "/predict")
    assert (reply.status, reply.headers["allow"], reply.body) == (405, "POST", b"")


def test_a_head_that_is_refused_for_its_body_has_no_body_itself(server: Server) -> None:
    with server.connect() as wire:
        wire.send(head(b"HEAD /livez HTTP/1.1", b"Transfer-Encoding: chunked") + b"nonsense\r\n")
        answers = wire.rest()
    assert b"{" not in answers


def refusal(reply: Reply) -> tuple[int, str, str]:
    """Return the status, the input and what was expected."""
    error = reply.json()["error"]
    return reply.status, error["input"], error["expected"]


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip"])
def test_a_body_in_gzip_is_read(server: Server, coding: str) -> None:
    for body in (BODY, b'{"instances":[' + b",".join([b"[1,2,3]"] * 1000) + b"]}"):
        plain = server.request("POST", "/predict", body)
        packed = server.request("POST", "/predict", gzip.compress(body), Content_Encoding=coding)
        assert (packed.status, packed.body) == (plain.status, plain.body)
    reply = server.request("POST", "/v2/models/known/infer", gzip.compress(TENSOR), Content_Encoding=coding)
    assert reply.status == 200


def test_a_body_in_gzip_may_have_several_members_and_come_in_chunks(wire: Wire) -> None:
    body = gzip.compress(BODY[:9]) + gzip.compress(b"") + gzip.compress(BODY[9:])
    start = head(b"POST /predict HTTP/1.1", b"Transfer-Encoding: chunked", b"Content-Encoding: gzip")
    wire.send(start + to_chunks(body, 3))
    assert wire.reply().status == 200


def test_identity_is_no_encoding(server: Server) -> None:
    assert server.request("POST", "/predict", BODY, Content_Encoding="identity").status == 200


@pytest.mark.parametrize("coding", ["br", "deflate", "zstd", "gzip, gzip", "nonsense"])
def test_another_encoding_is_415_and_named(server: Server, coding: str) -> None:
    reply = server.request("POST", "/predict", BODY, Content_Encoding=coding)
    assert refusal(reply) == (415, "content-encoding", "gzip, or none")
    error = reply.json()["error"]
    assert (error["code"], reply.headers["accept-encoding"]) == ("unsupported_encoding", "gzip")
    assert coding in error["received"]


def test_two_fields_that_name_encodings_are_one_list(wire: Wire) -> None:
    wire.send(post(gzip.compress(gzip.compress(BODY)), b"Content-Encoding: gzip", b"Content-Encoding: gzip"))
    assert wire.reply().json()["error"]["received"] == "'gzip, gzip'"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (BODY, "gzip, as Content-Encoding says"),
        (gzip.compress(BODY) + b"x" * 20, "gzip, as Content-Encoding says"),
        (gzip.compress(BODY)[:-1], "gzip up to its end"),
        (zlib.compress(BODY), "gzip, as Content-Encoding says"),
    ],
    ids=["JSON", "something behind it", "cut off", "zlib"],
)
def test_what_is_no_gzip_is_400(server: Server, body: bytes, expected: str) -> None:
    reply = server.request("POST", "/predict", body, Content_Encoding="gzip")
    assert refusal(reply) == (400, "body", expected)


@pytest.mark.parametrize("start", [b"", b'{"instances":['], ids=["one", "many"])
def test_the_limits_are_those_of_what_is_decoded(server: Server, start: bytes) -> None:
    limit = Limits().batch_bytes if start else Limits().body_bytes
    packed = gzip.compress(start + b" " * (limit + 1 - len(start)))
    assert len(packed) < limit // 100
    reply = server.request("POST", "/predict", packed, Content_Encoding="gzip")
    assert refusal(reply) == (413, "body", f"at most {limit} bytes")


def test_a_bomb_is_not_unpacked() -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(1_000_000)) for _ in range(200)) + packer.flush()
    assert len(Gzip().decode(bomb, 1000)) == 1001


def test_a_bomb_of_many_members_is_refused(server: Server) -> None:
    packed = gzip.compress(b"") * (MEMBERS + 1)
    reply = server.request("POST", "/predict", packed, Content_Encoding="gzip")
    assert refusal(reply) == (413, "body", f"gzip of at most {MEMBERS} members")


LINE = "a method, a target and HTTP/1.1"
POST = b"POST /predict HTTP/1.1"
CODED = b"POST /predict HTTP/1.%d\r\nHost: x\r\nTransfer-Encoding: %b\r\n\r\n"
REFUSED = {
    "no Host": (b"GET /livez HTTP/1.1\r\n\r\n", 400, "host", "one Host field"),
    "two Hosts": (head(b"GET /livez HTTP/1.1", b"Host: x"), 400, "host", "one Host field"),
    "two in HTTP/1.0": (head(b"GET /livez HTTP/1.0", b"Host: x"), 400, "host", "one Host field"),
    "a bad Host": (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "host", "a host, with a port or without"),
    "HTTP/2.0": (head(b"GET /livez HTTP/2.0"), 400, "request line", LINE),
    "HTTP/2 itself": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "request line", LINE),
    "HTTP/0.9": (b"GET /livez\r\n", 400, "request line", LINE),
    "two spaces": (head(b"GET  /livez HTTP/1.1"), 400, "request line", LINE),
    "two more": (head(b"GET /livez  HTTP/1.1"), 400, "request line", LINE),
    "a space behind": (head(b"GET /livez HTTP/1.1 "), 400, "request line", LINE),
    "a tab": (head(b"GET\t/livez HTTP/1.1"), 400, "request line", LINE),
    "empty lines without end": (b"\r\n" * 1000, 400, "request line", LINE),
    "a leading LF": (b"\n" + head(b"GET /livez HTTP/1.1"), 400, "request line", LINE),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "request line", LINE),
    "LF for CR LF": (b"GET /livez HTTP/1.1\r\nHost: x\n\r\n", 400, "head", "lines that end in CR LF"),
    "gzip": (CODED % (1, b"gzip"), 501, "transfer-encoding", "chunked"),
    "gzip, chunked": (CODED % (1, b"gzip, chunked"), 501, "transfer-encoding", "chunked"),
    "chunked in HTTP/1.0": (CODED % (0, b"chunked"), 400, "transfer-encoding", "HTTP/1.1"),
}


@pytest.mark.parametrize(("sent", "status", "name", "expected"), REFUSED.values(), ids=list(REFUSED))
def test_what_rfc_9112_forbids_is_refused_at_once_and_the_connection_closed(
    wire: Wire, sent: bytes, status: int, name: str, expected: str
) -> None:
    wire.send(sent)
    reply = wire.reply()
    assert refusal(reply) == (status, name, expected)
    assert reply.headers["connection"] == "close"
    assert wire.rest() == b""


@pytest.mark.parametrize(
    ("line", "fields", "fault"),
    [
        (POST, b"Transfer-Encoding: chunked\r\nContent-Length: 5", "Content-Length"),
        (POST, b"Transfer-Encoding: chunked, chunked", "Transfer-Encoding"),
        (POST, b"Content-Length: 5\r\nContent-Length: 5", "Duplicate Content-Length"),
        (POST, b"No colon", "Invalid header token"),
        (POST, b"X : y", "Invalid header token"),
        (b"NONSENSE / HTTP/1.1", b"X: y", "Invalid method"),
        (b"GET http:///livez HTTP/1.1", b"X: y", "a target that is no URL"),
    ],
)
def test_what_the_parser_refuses_is_400_and_its_fault_named(
    wire: Wire, line: bytes, fields: bytes, fault: str
) -> None:
    wire.send(head(line, fields) + b"0\r\n\r\n")
    reply = wire.reply()
    assert refusal(reply) == (400, "request", "HTTP/1.1 as RFC 9112 defines it")
    assert fault in reply.json()["error"]["received"]
    assert wire.rest() == b""


CHUNKS = {
    "no size": b"x\r\n",
    "a size with a sign": b"+5\r\n12345\r\n0\r\n\r\n",
    "a size too large to be true": b"123456789\r\n",
    "LF behind the size": b"5\n12345\r\n0\r\n\r\n",
    "more than the size": b"5\r\n123456\r\n0\r\n\r\n",
    "a line without end": b"5;" + b"x" * LINE_BYTES,
    "LF behind a trailer": b"0\r\nX: y\n\r\n",
    "many trailers": b"0\r\n" + b"X: y\r\n" * (TRAILER_FIELDS + 1) + b"\r\n",
}


@pytest.mark.parametrize("sent", CHUNKS.values(), ids=list(CHUNKS))
def test_what_is_no_chunk_is_400(wire: Wire, sent: bytes) -> None:
    wire.send(head(b"POST /predict HTTP/1.1", b"Transfer-Encoding: chunked") + sent)
    assert wire.reply().status == 400
    assert wire.rest() == b""


def test_fields_behind_a_chunked_body_are_no_fields_of_the_head(wire: Wire) -> None:
    start = head(b"POST /predict HTTP/1.1", b"Transfer-Encoding: chunked")
    for _ in range(2):
        wire.send(start + b"14\r\n" + BODY + b"\r\n0\r\nContent-Encoding: br\r\nX-Request-ID: late\r\n\r\n")
        reply = wire.reply()
        assert (reply.status, reply.headers["x-request-id"] == "late") == (200, False)


def test_many_small_chunks_and_what_follows_them_are_read(wire: Wire) -> None:
    body = BODY + b" " * 20_000
    wire.send(
        head(b"POST /predict HTTP/1.1", b"Transfer-Encoding: chunked") + to_chunks(body, 1) + post(BODY)
    )
    assert [wire.reply().status for _ in range(2)] == [200, 200]


def test_empty_lines_before_a_request_are_skipped(server: Server, wire: Wire) -> None:
    for _ in range(2):
        wire.send(b"\r\n\r")
        wait_until_read(server)
        wire.send(b"\n" + post(BODY) + b"\r\n")
        assert wire.reply().status == 200


def test_http_1_0_needs_no_host_and_gets_no_100_continue(wire: Wire) -> None:
    wire.send(b"POST /predict HTTP/1.0\r\nContent-Length: 20\r\nExpect: 100-continue\r\n\r\n" + BODY)
    assert wire.reply().status == 200


@pytest.mark.parametrize(
    "size", [0, Limits().body_bytes, Limits().batch_bytes - 100], ids=["short", "long", "very long"]
)
def test_a_byte_order_mark_is_named_whatever_the_size(server: Server, size: int) -> None:
    for body in (BODY, b'{"instances":[[1,2,3]]}'):
        reply = server.request("POST", "/predict", b"\xef\xbb\xbf" + body + b" " * size)
        assert refusal(reply) == (400, "body", "JSON in UTF-8 without a byte order mark")


def test_ipv4_and_ipv6_are_answered(server: Server) -> None:
    assert server.request("GET", "/livez").status == 200
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with Wire(socket.create_connection(("::1", server.port), timeout=TIMEOUT)) as wire:
        wire.send(post(BODY))
        assert wire.reply().json()["model_version"] == "v1.2.3"


def test_without_ipv6_the_service_listens_on_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with listener.listen(0) as found:
        assert found.family == socket.AF_INET
        assert listener.address(found) == f"0.0.0.0:{found.getsockname()[1]}"


@pytest.mark.parametrize("number", listener.WITHOUT_IPV6)
def test_ipv6_that_is_turned_off_is_done_without(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    create = socket.create_server

    def create_without(address: tuple[str, int], **options: object) -> socket.socket:
        if ":" in address[0]:
            raise OSError(number, "no IPv6")
        return create(address)

    monkeypatch.setattr(socket, "create_server", create_without)
    with listener.listen(0) as found:
        assert found.family == socket.AF_INET


def test_a_port_that_one_family_has_taken_is_refused() -> None:
    with (
        socket.create_server(("0.0.0.0", 0)) as taken,
        pytest.raises(ListenError, match="Address already in use"),
    ):
        listener.listen(taken.getsockname()[1])
