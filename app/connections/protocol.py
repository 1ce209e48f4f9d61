"""uvicorn's HTTP protocol within limits: no client can hold up the service.

uvicorn's own class parses requests and runs the application. This one adds:

- a deadline for what each connection waits for, which app.server enforces;
- a check of each head before it is parsed, and refusals in the service's own shape of errors;
- room for new connections: when there are too many, those that wait for their clients are closed;
- bounded memory: a request is parsed when the one before has its response, and the socket is read when all
  that was read is parsed;
- responses to clients that have closed their sending side, and the end of idle connections at shutdown.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import sys
from time import monotonic
from typing import Any, ClassVar, Literal

from httptools import HttpParserCallbackError
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from app.connections import request_head
from app.connections.body_framing import Framing, framing_of
from app.connections.error_responses import problem
from app.connections.flow_control import Flow
from app.errors import AppError, InvalidInput, Overloaded, RequestError, TooSlow
from app.logs import Exchange
from app.metrics import OTHER
from app.service import Service

READ_BYTES = 32 * 1024  # of a body, which are much to come at once
FAREWELL_SECONDS = 0.5  # for a request that was on its way when the server got the signal to stop
CLOSE = (b"connection", b"close")
# "held": the hot path has a head that the parser hasn't seen, and waits for the rest of its body.
Receiving = Literal["nothing", "head", "body", "held"]


class LimitedProtocol(HttpToolsProtocol):
    """One connection. A subclass names the service (`protocol_of`)."""

    service: ClassVar[Service]
    flow: Flow

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.limits = self.service.settings.limits
        self.deadline = math.inf
        self.waiting_since = monotonic()
        self.receiving: Receiving = "nothing"
        self.framing: Framing
        self.unread = bytearray()  # has come, but waits for the response to what came before
        self.owed = 0  # responses to requests whose heads were parsed
        self.leaving = False  # no more is read, and the connection ends behind the responses that are owed
        self.refusal: AppError | None = None  # which is then the last response
        self.stopping = False
        self.waits_for_turn = False  # to read on

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget what has come."""
        self.leaving = True
        self.unread.clear()
        super().connection_lost(exc)

    # What waits for the client, and until when.

    def _expect(self, seconds: float) -> None:
        self.waiting_since = monotonic()
        self.deadline = self.waiting_since + seconds

    def _seconds_to_receive(self) -> int:
        """Return the time for what is being received: a head, or a body."""
        return self.limits.head_seconds if self.receiving == "head" else self.limits.body_seconds

    def _rest(self) -> None:
        """Wait for the next request, or not for long if the server stops."""
        self._expect(FAREWELL_SECONDS if self.stopping else self.limits.idle_seconds)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request, if there is room."""
        super().connection_made(transport)
        self.flow = Flow(transport)
        self._expect(self.limits.idle_seconds)
        if len(self.connections) > self.limits.connections and not self._make_room():
            self._leave(Overloaded(f"server: {len(self.connections)} connections are busy, try again later"))

    def _make_room(self) -> bool:
        """End the connections next to their deadlines, a few at once as it takes a search."""
        others = (each for each in self.connections if isinstance(each, LimitedProtocol) and each is not self)
        waiting = [each for each in others if each.deadline < math.inf and not each.leaving]
        few = max(1, self.limits.connections // 50)
        for each in heapq.nsmallest(few, waiting, key=lambda connection: connection.deadline):
            each.end("server: the connection was needed for others")
        return bool(waiting)

    def end(self, reason: str) -> None:
        """End a connection that waits for its client; within a request, send the reason first."""
        if self.transport.is_closing() or self.flow.write_paused:
            self.transport.abort()
        elif self.receiving == "nothing":
            self._close()
        else:
            self._leave(Overloaded(reason))

    def _close(self) -> None:
        self.transport.close()
        self._expect(self.limits.write_seconds)

    def expire(self) -> None:
        """Refuse the request, or close the connection, when its deadline has passed."""
        if self.transport.is_closing() or self.flow.write_paused:
            self.transport.abort()
        elif self.leaving or self.flow.read_paused:  # it is not up to the client
            self._expect(self.limits.body_seconds)
        elif self.receiving == "nothing":
            self._close()
        else:
            self._refuse_slow()

    def _refuse_slow(self) -> None:
        expected = f"all of it within {self._seconds_to_receive()} seconds"
        self._leave(TooSlow(self.receiving, expected, "less"))

    # What the parser finds.

    def on_message_begin(self) -> None:
        """Read a head."""
        super().on_message_begin()
        self.receiving = "head"

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head; those behind a body in chunks say nothing here."""
        if self.receiving == "head":
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to wait for the body."""
        version = self.parser.get_http_version()
        try:
            request_head.check_fields(version, self.headers)
        except RequestError as error:
            self.refusal = error  # the parser ends on any exception, and uvicorn then calls send_400_response
            raise
        if version == "1.0":
            self.expect_100_continue = False  # RFC 9110, 10.1.1
        super().on_headers_complete()
        self.owed += 1
        self.receiving = "body"
        self.framing = framing_of(self.headers)
        self._expect(self.limits.body_seconds)

    def on_message_complete(self) -> None:
        """Wait for nothing while the request is answered."""
        super().on_message_complete()
        self.receiving = "nothing"
        if self.owed:
            self.deadline = math.inf
            if self.stopping and not self.unread:
                self.cycle.keep_alive = False
        elif not self.transport.is_closing():
            self._rest()

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for it."""
        self.owed -= 1
        super().on_response_complete()
        if self.transport.is_closing():
            self._expect(self.limits.write_seconds)
        elif self.leaving and not self.owed:
            self._depart()
        elif self.unread:
            self.loop.call_soon(self.parse)
        elif self.receiving == "nothing" and not self.owed:
            self._rest()

    def timeout_keep_alive_handler(self) -> None:
        """Leave idle connections to `expire`, which also knows of requests that uvicorn never sees."""

    # What comes and goes.

    def data_received(self, data: bytes) -> None:
        """Parse what came, now or when there is time."""
        if not (self.leaving or self.transport.is_closing()):
            self.unread += data
            self.parse()
            if self.receiving == "body" and len(data) > READ_BYTES:
                self._pause_until_its_turn()

    def _pause_until_its_turn(self) -> None:
        """Read on after others: many long bodies at once would keep small requests waiting."""

        def read_on() -> None:
            self.waits_for_turn = False
            if not self.transport.is_closing():
                self.parse()

        if not self.waits_for_turn:
            self.waits_for_turn = True
            self._stall(True)
            self.service.turns.call(read_on)

    def parse(self) -> None:
        """Parse what has come up to the next request that has to wait."""
        waits = False
        while self.unread and not (waits or self._has_enough()):
            try:
                part = self._next_part()
            except RequestError as error:
                self._leave(error)
                return
            waits = not part
            if part:
                super().data_received(part)
            if part and self.unread and self.receiving == "body":
                self._pause_until_its_turn()
        self._stall(self.waits_for_turn or (bool(self.unread) and not waits))

    def _has_enough(self) -> bool:
        if self.leaving or self.waits_for_turn or self.flow.write_paused or self.pipeline:
            return True
        return self.owed > 0 and self.receiving == "nothing"

    def _next_part(self) -> bytes:
        """Return a whole head, or a body's next bytes; nothing if more has to come. Raises RequestError."""
        in_body = self.receiving == "body"
        size = self.framing.count_body_bytes(self.unread) if in_body else self._await_head()
        with memoryview(self.unread) as unread:  # a part of a bytearray would be one copy more
            part = bytes(unread[:size])
        del self.unread[:size]
        return part if in_body else request_head.decline_upgrade(part)

    def _await_head(self) -> int:
        """Return where the head ends, or 0 and wait for the rest of it."""
        request_head.skip_empty_lines(self.unread)
        if not self.unread or self.unread == b"\r":
            self._rest()
            return 0
        if self.receiving == "nothing":
            self.receiving = "head"
            self._expect(self.limits.head_seconds)
        return request_head.head_end(self.unread, self.limits)

    def _stall(self, stalled: bool) -> None:
        """Stop reading, or read on."""
        if stalled:
            self.flow.stalled = True
            self.flow.pause_reading()
        elif self.flow.stalled and not (self.stopping and self.owed and self.receiving == "nothing"):
            self.flow.stalled = False
            self.flow.resume_reading()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Respond to what has come whole from a client that sends no more; then end the connection."""
        self._leave(None)
        return not self.transport.is_closing()

    def pause_writing(self) -> None:
        """Stop reading from a client that doesn't read."""
        super().pause_writing()
        self.flow.pause_reading()
        self._expect(self.limits.write_seconds)

    def resume_writing(self) -> None:
        """Go on where pause_writing stopped."""
        super().resume_writing()
        if self.receiving != "nothing":
            self._expect(self._seconds_to_receive())
        elif self.owed:
            self.deadline = math.inf
        else:
            self._rest()
        self.flow.resume_reading()
        self.parse()

    def shutdown(self) -> None:
        """End the connection: behind the response that is being worked on, or very soon."""
        self.stopping = True
        if not self.owed:
            self.deadline = min(self.deadline, monotonic() + FAREWELL_SECONDS)
            return
        if not self.unread:
            super().shutdown()
        if self.receiving == "nothing":
            self._stall(True)

    # How a request is refused before any application sees it.

    def send_400_response(self, msg: str) -> None:
        """Refuse what the parser doesn't take; uvicorn calls this while it handles the parser's error."""
        error = sys.exception()
        fault = "a target that is no URL" if isinstance(error, HttpParserCallbackError) else str(error)
        self._leave(self.refusal or InvalidInput("request", "HTTP/1.1 as RFC 9112 defines it", fault))

    def _leave(self, error: AppError | None) -> None:
        """End the connection behind the responses that are owed, with this error as the last one."""
        if self.leaving:
            return
        self.leaving, self.refusal = True, error
        self.unread.clear()
        self._stall(True)
        if self.receiving == "body" and not self.owed:
            self.refusal = None  # the request has its response; only the rest of its body is missing
        elif self.receiving == "body":
            self._take_back()
        if not self.owed:
            self._depart()

    def _take_back(self) -> None:
        """Owe no response to the request whose body isn't all there."""
        self.owed -= 1
        if self.pipeline:
            self.pipeline.popleft()  # the application has not seen it yet
        else:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _depart(self) -> None:
        if self.refusal:
            self._say(self.refusal)
        self._close()

    def _say(self, error: AppError) -> None:
        seconds = monotonic() - self.waiting_since
        known = self.receiving == "body"
        method, path = (self.scope["method"], self.scope["path"]) if known else ("-", "-")
        headers = dict(reversed(self.headers)) if known else {}
        request_id = self.service.request_id(headers)
        answer = problem(error, path)
        closing = () if CLOSE in answer.extra else (CLOSE,)
        fields = (*answer.headers(), (b"x-request-id", request_id), *closing)
        raw = answer.raw((*self.server_state.default_headers, *fields))
        self.transport.write(raw[: -len(answer.body)] if method == "HEAD" else raw)
        exchange = Exchange(method, path, headers, answer.status, len(answer.body), seconds, request_id)
        self.service.record_response(OTHER, exchange)
