"""Framing of request bodies: how many of the received bytes still belong to a request.

The parser gets only these, so that the next head is checked before the parser sees it.
"""

from __future__ import annotations

import re
from typing import Protocol

from app.connections.http_response import Headers
from app.errors import InvalidInput

LINE_BYTES = 1024  # of a chunk's size with its extensions, and of a field behind the last chunk
TRAILER_FIELDS = 32
CHUNKS = 100  # that are passed on before others have their turn

_chunk_size = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r\n").fullmatch


class Framing(Protocol):
    """One body's."""

    def count_body_bytes(self, unread: bytearray) -> int:
        """Return how many of the bytes are the body's and can be passed on; count these as passed on."""


class Sized:
    """A body whose Content-Length is known."""

    def __init__(self, length: int) -> None:
        self.left = length

    def count_body_bytes(self, unread: bytearray) -> int:
        """Return how many of the bytes are the body's."""
        size = min(self.left, len(unread))
        self.left -= size
        return size


class Chunked:
    """A body in chunks (RFC 9112, 7.1)."""

    def __init__(self) -> None:
        self.left = 0  # of a chunk, with the line's end behind it
        self.trailers: int | None = None  # fields behind the last chunk, once that has come

    def count_body_bytes(self, unread: bytearray) -> int:
        """Return how many of the bytes are the body's. Raises InvalidInput for what is no chunk."""
        at = min(self.left, len(unread))
        self.left -= at
        for _ in range(CHUNKS):
            end = unread.find(b"\n", at, at + LINE_BYTES) + 1
            if self.left or not end:
                break
            line, at = unread[at:end], end
            if self._read_line(line):
                return at
            step = min(self.left, len(unread) - at)
            self.left -= step
            at += step
        else:
            return at
        if not self.left and len(unread) - at >= LINE_BYTES:
            raise InvalidInput("body", "chunks", "a line that is too long")
        return at

    def _read_line(self, line: bytearray) -> bool:
        """Read the line that is no chunk's content; return whether it is the last."""
        if self.trailers is None:
            size = _chunk_size(line)
            if size is None:
                raise InvalidInput("body", "chunks, each with its size", repr(bytes(line[:80]))[1:])
            length = int(size[1], 16)
            self.left, self.trailers = (length + 2, None) if length else (0, 0)
            return False
        self.trailers += 1
        if not line.endswith(b"\r\n"):
            raise InvalidInput("body", "lines that end in CR LF", "a line that ends in LF alone")
        if self.trailers > TRAILER_FIELDS:
            raise InvalidInput("body", f"at most {TRAILER_FIELDS} fields behind it", "more")
        return line == b"\r\n"


def framing_of(headers: Headers) -> Framing:
    """Return the framing that a head's fields say; `app.connections.request_head` has checked them."""
    fields = dict(headers)
    if b"transfer-encoding" in fields:
        return Chunked()
    return Sized(int(fields.get(b"content-length", 0)))
