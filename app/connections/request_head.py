"""Checks of request heads by RFC 9112, where uvicorn's parser is lenient."""

from __future__ import annotations

import re

from app.connections.http_response import Headers
from app.errors import HeadTooLarge, InvalidInput, UnknownTransferEncoding
from app.settings import Limits

SHOWN = 80  # bytes of a refused line or value that are sent back
EMPTY_LINES = 8  # that are skipped at once; thousands of them would keep other clients waiting
TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]"
HOST = rb"[A-Za-z0-9._~!$&'()*+,;=:%\[\]-]*+"  # RFC 3986's host and port, without a look at their form

_is_request_line = re.compile(TOKEN + rb"+ [!-~]+ HTTP/1\.[01]\r\n").fullmatch
_may_become_one = re.compile(
    rb"%(token)b*|%(token)b+ [!-~]*|%(token)b+ [!-~]+ [HTP/1.0]*\r?" % {b"token": TOKEN}
).fullmatch
_bare_line_feed = re.compile(rb"(?<!\r)\n").search
_is_host = re.compile(HOST).fullmatch
_upgrade_field = re.compile(rb"(?i)\r\nupgrade:")


def skip_empty_lines(unread: bytearray) -> None:
    """Remove the few empty lines that a client may send before a request (RFC 9112, 2.2)."""
    for _ in range(EMPTY_LINES):
        if unread.startswith(b"\r\n"):
            del unread[:2]


def head_end(unread: bytearray, limits: Limits) -> int:
    """Return where the head ends that begins here, or 0 while it isn't all there.

    Raises InvalidInput as soon as it can't become a head, and HeadTooLarge.
    """
    end = unread.find(b"\r\n\r\n", 0, limits.head_bytes) + 4
    end = end if end > 3 else 0
    if not end and len(unread) > limits.head_bytes:
        raise HeadTooLarge("head", f"at most {limits.head_bytes} bytes", "more")
    _check_lines(unread[: end or len(unread)], limits.head_fields)
    return end


def _check_lines(head: bytearray, max_fields: int) -> None:
    """Check the request line, what has come of it at least, and how lines end."""
    first_end = head.find(b"\n") + 1
    first = head[:first_end] if first_end else head
    if not (_is_request_line(first) if first_end else _may_become_one(first)):
        raise InvalidInput("request line", "a method, a target and HTTP/1.1", _shorten(bytes(first)))
    if _bare_line_feed(head):
        raise InvalidInput("head", "lines that end in CR LF", "a line that ends in LF alone")
    if head.count(b"\n") - 1 - head.endswith(b"\r\n\r\n") > max_fields:
        raise HeadTooLarge("head", f"at most {max_fields} header fields", "more")


def decline_upgrade(head: bytes) -> bytes:
    """Return a head that offers no other protocol: the parser would not read the body behind an offer."""
    return _upgrade_field.sub(b"\r\ndeclined-upgrade:", head)


def check_fields(version: str, headers: Headers) -> None:
    """Check the fields for a message's host and length (RFC 9112, 3.2 and 6.1).

    `headers` have names in small letters. Raises InvalidInput and UnknownTransferEncoding.
    """
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) != 1 and (hosts or version != "1.0"):
        raise InvalidInput("host", "one Host field", str(len(hosts)))
    if hosts and not _is_host(hosts[0]):
        raise InvalidInput("host", "a host, with a port or without", _shorten(hosts[0]))
    codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if codings and version == "1.0":
        raise InvalidInput("transfer-encoding", "HTTP/1.1", "HTTP/1.0")
    if codings and codings != [b"chunked"]:
        raise UnknownTransferEncoding("transfer-encoding", "chunked", _shorten(b", ".join(codings)))


def _shorten(line: bytes) -> str:
    return repr(line[:SHOWN].decode("latin-1"))
