"""The log: one JSON object a line on standard output, in the field names that Cloud Logging reads.

https://cloud.google.com/logging/docs/structured-logging has the names; `traceparent` is W3C's Trace Context.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any, TextIO

log = logging.getLogger("app")

TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?", re.ASCII)
SHOWN = 200  # characters of what a client chose


def configure(stream: TextIO = sys.stdout) -> None:
    """Log to the stream from now on. From uvicorn only errors are logged: requests are logged here."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Json())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    log.setLevel(logging.INFO)
    logging.getLogger("uvicorn").setLevel(logging.ERROR)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.exc_info:
            message += "\n" + self.formatException(record.exc_info)
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry = {"severity": record.levelname, "time": moment, "message": message}
        return json.dumps(entry | getattr(record, "fields", {}))


@dataclass(frozen=True)
class Exchange:
    """A request and its response; header names are in small letters."""

    method: str
    target: str
    headers: Mapping[bytes, bytes]
    status: int
    size: int
    seconds: float
    request_id: bytes


class AccessLog:
    """Says which exchanges are logged (all that failed, and so many a second of the others) and logs them."""

    def __init__(self, each_second: int, project: str | None) -> None:
        self.pause = 1 / each_second if each_second else math.inf
        self.due = -math.inf if each_second else math.inf  # when the next one that didn't fail is logged
        self.project = project

    def write(self, exchange: Exchange) -> None:
        """Log an exchange."""
        if exchange.status < 400:
            self.due = monotonic() + self.pause
        level = logging.INFO if exchange.status < 400 else logging.WARNING
        level = level if exchange.status < 500 else logging.ERROR
        fields = _http_request(exchange) | self._trace(exchange.headers)
        log.log(level, "%s %s", exchange.method, exchange.target[:SHOWN], extra={"fields": fields})

    def _trace(self, headers: Mapping[bytes, bytes]) -> dict[str, Any]:
        """Return a request's place in its trace; without a project Cloud Logging couldn't find it."""
        text = _text(headers.get(b"traceparent", b""))
        match = TRACEPARENT.fullmatch(text)
        if not match:
            return {}
        trace, span, flags = match.groups()
        if self.project is None:
            return {"traceparent": text}
        return {
            "traceparent": text,
            "logging.googleapis.com/trace": f"projects/{self.project}/traces/{trace}",
            "logging.googleapis.com/spanId": span,
            "logging.googleapis.com/trace_sampled": bool(int(flags, 16) & 1),
        }


def _http_request(exchange: Exchange) -> dict[str, Any]:
    return {
        "httpRequest": {
            "requestMethod": exchange.method,
            "requestUrl": exchange.target[:SHOWN],
            "status": exchange.status,
            "responseSize": str(exchange.size),
            "userAgent": _text(exchange.headers.get(b"user-agent", b"")),
            "latency": f"{exchange.seconds:.6f}s",
        },
        "requestId": exchange.request_id.decode(),
    }


def _text(value: bytes) -> str:
    return value.decode("latin-1")[:SHOWN]
