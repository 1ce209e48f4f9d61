"""An HTTP response, made without a framework."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

NOT_MODIFIED = 304  # the client has the body already, of any length
Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class HttpResponse:
    """A status, a body and its type; `extra` are header fields that only some responses have."""

    status: int
    body: bytes
    media_type: bytes = b"application/json"
    extra: tuple[tuple[bytes, bytes], ...] = ()

    def headers(self) -> Headers:
        """Return the header fields, in the order in which Starlette sends them."""
        length = [(b"content-length", b"%d" % len(self.body))] if self.status != NOT_MODIFIED else []
        return [*self.extra, *length, (b"content-type", self.media_type)]

    def raw(self, fields: Iterable[tuple[bytes, bytes]]) -> bytes:
        """Return the response as HTTP/1.1 with these header fields."""
        lines = b"".join(b"%s: %s\r\n" % field for field in fields)
        phrase = HTTPStatus(self.status).phrase.encode()
        return b"HTTP/1.1 %d %s\r\n%s\r\n%s" % (self.status, phrase, lines, self.body)


def as_json(document: Any) -> bytes:
    """Return what FastAPI's JSONResponse makes of a document."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
