"""Content-Encoding of requests: gzip, or none."""

from __future__ import annotations

import zlib

from app.errors import InvalidInput, TooLarge, UnknownContentEncoding

PIECE = 64 * 1024  # bytes that are decoded at once
MEMBERS = 100  # of a gzip stream; each takes time, however small
GZIP = 31  # zlib's wbits for a stream with gzip's head and checksum


class Plain:
    """No encoding."""

    has_more = False

    def decode(self, data: bytes, most: int) -> bytes:
        """Return what came."""
        return data

    def check_end(self) -> None:
        """Have nothing to check."""


class Gzip:
    """A gzip stream (RFC 1952), of one member or several."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(GZIP)
        self._members = 1
        self._data = b""  # has come, but isn't decoded yet
        self.has_more = False

    def decode(self, data: bytes, most: int) -> bytes:
        """Return some of what has come, decoded: never more than `most` + 1 bytes.

        `has_more` says whether there is more to decode. Raises InvalidInput for what isn't gzip.
        """
        self._data += data
        if self._member.eof and self._data:
            self._begin_member()
        room = min(PIECE, most + 1)
        try:
            decoded = self._member.decompress(self._data, room)
        except zlib.error:
            raise InvalidInput("body", "gzip, as Content-Encoding says", "something else") from None
        self._data = self._member.unconsumed_tail or self._member.unused_data
        self.has_more = bool(self._data) or (len(decoded) == room and not self._member.eof)
        return decoded

    def _begin_member(self) -> None:
        self._members += 1
        if self._members > MEMBERS:
            raise TooLarge("body", f"gzip of at most {MEMBERS} members", "more")
        self._member = zlib.decompressobj(GZIP)

    def check_end(self) -> None:
        """Raise InvalidInput if the stream isn't all there."""
        if not self._member.eof:
            raise InvalidInput("body", "gzip up to its end", "a part of it")


def decoder_of(encoding: bytes) -> Plain | Gzip:
    """Return what decodes a body with such a Content-Encoding. Raises UnknownContentEncoding."""
    match encoding.strip().lower():
        case b"" | b"identity":
            return Plain()
        case b"gzip" | b"x-gzip":
            return Gzip()
    raise UnknownContentEncoding("content-encoding", "gzip, or none", repr(encoding.decode("latin-1")[:80]))
