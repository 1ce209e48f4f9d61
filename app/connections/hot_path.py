"""Hot path: responses to POST /predict from the received bytes, before parser and framework are entered.

It responds only if it is certain: a head that `head_pattern` matches, the whole body at once or in the next
segments, features that `quick_features` or `quick_row` reads, and a model that predicts on the event loop.
All else (chunked bodies, Expect, HTTP/1.0, other paths, a wrong value) goes to uvicorn's parser from
its first byte, and so to FastAPI, whose response would have been the same. HOT_PATH=0 turns it off, and
tests/service/connections/test_differential.py compares the two.
"""

from __future__ import annotations

import re
from time import monotonic
from typing import ClassVar

from app.connections.http_response import Headers, as_json
from app.connections.protocol import LimitedProtocol
from app.connections.request_body import quick_features, quick_row
from app.connections.request_head import HOST
from app.connections.row_reader import RowReader
from app.errors import AppError, ArtifactError
from app.logs import Exchange
from app.modelling.columns import Row
from app.modelling.predictor import Predictor
from app.service import PREDICT, REQUEST_ID, Service

# A head in a subset of RFC 9112's form: one Host, mostly as the first field, one Content-Length, at most one
# X-Request-ID, and fields whose names do not change how a message is read, in up to three runs. The
# parser reads all other heads.
HOST_FIELD = rb"(?i:host): " + HOST + rb"\r\n"
OTHERS = rb"(?:(?!(?i:host):)[^\r\n]++\r\n)*"  # "*+" finds the wrong end in Python 3.11.2
ONE_HOST = rb"(?:(?P<first>" + HOST_FIELD + rb")|(?=" + OTHERS + HOST_FIELD + OTHERS + rb"\r\n))"
FIELDS = (
    rb"(?:(?!(?i:content-length|content-encoding|transfer-encoding|connection|proxy-connection|upgrade|expect"
    rb"|x-request-id|host):)[A-Za-z0-9_-]++: [ -~]*+\r\n|(?i:connection): (?i:keep-alive)\r\n"
    rb"|(?(first)(?!)|(?i:host): [^\r\n]*+\r\n)){0,%d}+"
)
LENGTH = rb"(?i:content-length): (?P<length>[0-9]{1,7})\r\n"
ID = rb"(?i:x-request-id): (?P<%b>" + REQUEST_ID + rb")\r\n"
ANSWER = (
    b"HTTP/1.1 200 OK\r\n"
    b"%scontent-length: %%d\r\ncontent-type: application/json\r\nx-request-id: %%b\r\n%%b\r\n%%b"
)
CLOSING = b"connection: close\r\n"
ENOUGH_BYTES = 64 * 1024  # of responses to one connection, before others have their turn
Request = tuple[int, int, bytes | None]  # where its body begins and ends, and its id


def head_pattern(max_fields: int) -> re.Pattern[bytes]:
    """Return what matches a head of at most so many fields: its `length`, its id `early` or `late`."""
    run = FIELDS % max(0, (max_fields - 3) // 3)
    early = b"(?:" + ID % b"early" + run + b")?"
    late = b"(?:(?(early)(?!))" + ID % b"late" + run + b")?"
    return re.compile(
        rb"POST /predict HTTP/1\.1\r\n" + ONE_HOST + run + early + LENGTH + run + late + rb"\r\n"
    )


class Responder:
    """Writer of the responses of the hot path; one for all connections of a service."""

    def __init__(self, service: Service, predictor: Predictor) -> None:
        self.predict = predictor.predict
        self.reader = RowReader(predictor.columns)
        self.limits = service.settings.limits
        self._head_at = head_pattern(self.limits.head_fields).match
        self.service, self.metrics, self.access_log = service, service.metrics, service.access_log
        self.route = service.metrics.routes[PREDICT]
        self.end = as_json({"model_version": service.settings.model_version}).replace(b"{", b",", 1).decode()
        self.answered = 0.0  # when the last response was made
        self._unsent: list[HotPathProtocol] = []
        self._fields: Headers = []
        self._form = b""

    def recognise(self, data: bytes, position: int) -> Request | None:
        """Return the request there if its head is one of the hot path's and within the limits."""
        head = self._head_at(data, position)
        if head is None:
            return None
        early, digits, late = head.group("early", "length", "late")
        start, length = head.end(), int(digits)
        if length > self.limits.body_bytes or start - position > self.limits.head_bytes:
            return None
        return start, start + length, early or late

    def answer(
        self, data: bytes, position: int, request: Request, fields: Headers, last: bytes
    ) -> bytes | None:
        """Return the response, its head beginning and ending with these fields; None if FastAPI responds."""
        began = monotonic()
        start, end, request_id = request
        body = data[start:end]
        features: Row | None = quick_features(body, self.reader.count) if self.reader.is_numeric else None
        if features is None:
            features = quick_row(body, self.reader)
        if features is None:
            return None
        try:
            prediction = self.predict(features)
        except AppError:
            return None
        content = f'{{"prediction":{prediction!r}{self.end}'.encode()
        request_id = request_id or self.service.new_request_id()
        self.metrics.count_prediction(features)
        self.answered = now = monotonic()
        self.route.count_response(200, now - began)
        if now >= self.access_log.due:
            self._log(data[position:start], len(content), now - began, request_id)
        if fields is not self._fields:
            self._renew(fields)
        return self._form % (len(content), request_id, last, content)

    def send_soon(self, connection: HotPathProtocol) -> None:
        """Send what a connection has to say at the end of this turn of the event loop, together with others.

        A client that waits for several responses is woken once then and not for each: that halves their cost.
        """
        if not self._unsent:
            connection.loop.call_soon(self._send)
        self._unsent.append(connection)

    def _send(self) -> None:
        connections, self._unsent = self._unsent, []
        for connection in connections:
            connection.flush()

    def _renew(self, fields: Headers) -> None:
        """Prepare the head with the fields that are the same for a second: the date."""
        self._fields = fields
        lines = b"".join(b"%s: %s\r\n" % field for field in fields)
        self._form = ANSWER % lines.replace(b"%", b"%%")

    def _log(self, head: bytes, size: int, seconds: float, request_id: bytes) -> None:
        lines = (line.split(b": ", 1) for line in reversed(head.split(b"\r\n")[1:-2]))
        headers = {name.lower(): value.strip() for name, value in lines}
        self.access_log.write(Exchange("POST", PREDICT, headers, 200, size, seconds, request_id))


class HotPathProtocol(LimitedProtocol):
    """One connection with the hot path. A subclass names the responder as well."""

    responder: ClassVar[Responder]
    request: Request | None = None  # recognised at the start of `unread`; not all there, or waiting
    unsent = b""

    def data_received(self, data: bytes) -> None:
        """Respond to recognised requests; the parser gets the first other one and all behind it."""
        if self.request is not None:
            self._resume(data)
        elif self.unread or self.owed or self.leaving or self.receiving != "nothing":
            super().data_received(data)
        else:
            self._answer(data, self.responder.recognise(data, 0))

    def parse(self) -> None:
        """Go on with what has come."""
        if self.request is None and (self.owed or self.receiving != "nothing"):
            super().parse()
        elif self.unread and not (self.leaving or self.flow.write_paused):
            self._resume(b"")

    def _resume(self, data: bytes) -> None:
        """Go on with a request that was held, or had to wait for its turn, and with what is behind it."""
        if self.request is not None and len(self.unread) + len(data) < self.request[1]:
            self.unread += data  # the time for its body goes on
            return
        request, self.request, self.receiving = self.request, None, "nothing"
        data = b"".join((self.unread, data))
        self.unread.clear()
        self._answer(data, request or self.responder.recognise(data, 0))
        if not self.unread:
            self._stall(False)

    def _answer(self, data: bytes, request: Request | None) -> None:
        """Respond to the request at the start of what came, and those behind it while they are recognised."""
        responder, fields = self.responder, self.server_state.default_headers
        done, unsent = 0, self.unsent
        while request is not None and request[1] <= len(data):
            last = CLOSING if self.stopping and request[1] == len(data) else b""
            answer = responder.answer(data, done, request, fields, last)
            if answer is None:
                request = None
                break
            unsent += answer
            done = request[1]
            if done == len(data):
                break
            request = responder.recognise(data, done)
            if len(unsent) > ENOUGH_BYTES:
                break
        if done:
            if not self.unsent:
                responder.send_soon(self)
            self.unsent = unsent
            self.deadline = responder.answered + self.limits.idle_seconds
        if done < len(data):
            self._keep(data, done, request)
        elif self.stopping:
            self._close()

    def _keep(self, data: bytes, position: int, request: Request | None) -> None:
        """Leave to the parser what is not recognised, and hold a request that is until its turn comes."""
        self.unread += data[position:]
        if request is None:
            super().parse()
            return
        start, end, request_id = request
        self.request = start - position, end - position, request_id
        if end <= len(data):
            self._stall(True)
        else:
            self._stall(False)
            self.receiving = "held"
            self._expect(self.limits.body_seconds)

    def flush(self) -> None:
        """Send the responses that were made, and go on."""
        unsent, self.unsent = self.unsent, b""
        if unsent and not self.transport.is_closing():
            self.transport.write(unsent)
            if self.flow.stalled:
                self.parse()

    def _hand_over(self) -> None:
        """Leave a held request to the parser."""
        if self.request is not None:
            self.request, self.receiving = None, "nothing"
            super().parse()

    def _say(self, error: AppError) -> None:
        self.flush()
        super()._say(error)

    def _close(self) -> None:
        self.flush()
        super()._close()

    def expire(self) -> None:
        """Refuse a held request like any other that does not come in time."""
        if self.receiving == "held" and not (self.transport.is_closing() or self.flow.write_paused):
            self._hand_over()
            self._refuse_slow()
        else:
            super().expire()

    def shutdown(self) -> None:
        """Let a held request be answered like any other that is in flight."""
        self._hand_over()
        super().shutdown()


def protocol_of(service: Service) -> type[LimitedProtocol]:
    """Return the class for a service's connections: with the hot path if it is on and the model allows it."""
    model = service.model
    if isinstance(model, ArtifactError) or not (model.on_loop and service.settings.hot_path):
        return type("Protocol", (LimitedProtocol,), {"service": service})
    bound = {"service": service, "responder": Responder(service, model)}
    return type("Protocol", (HotPathProtocol,), bound)
