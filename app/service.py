"""State of one serving process: model, settings, counters and log, shared by all request paths."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Mapping
from itertools import count
from time import monotonic

from app.errors import ArtifactError
from app.logs import AccessLog, Exchange
from app.metrics import Metrics, Snapshot, together
from app.modelling import model_loader
from app.modelling.artifact import Card
from app.modelling.predictor import Predictor
from app.settings import Settings
from app.turns import Turns
from app.workers.channel import Channel

PREDICT = "/predict"
REQUEST_ID = rb"[A-Za-z0-9._:/=@+-]{1,128}"
_is_request_id = re.compile(REQUEST_ID).fullmatch


def load_model(settings: Settings) -> Predictor | ArtifactError:
    """Return the model, or the error that prevents loading it."""
    try:
        return model_loader.load(settings.model_dir)
    except ArtifactError as error:
        return error


class Service:
    """A model, or the reason why there is none, with settings, counters and log."""

    def __init__(self, settings: Settings, model: Predictor | ArtifactError) -> None:
        self.settings = settings
        self.model = model
        self.metrics = Metrics(self.card())
        self.access_log = AccessLog(settings.access_log, settings.project)
        self.connections: Collection[object] = ()
        self.turns = Turns()
        self.channel: Channel | None = None  # to the other workers, if there are any
        self._ids = count()
        self._prefix = secrets.token_hex(8).encode()

    @classmethod
    def load(cls, settings: Settings) -> Service:
        """Load the model. If that fails, the responses give the reason."""
        return cls(settings, load_model(settings))

    def predictor(self) -> Predictor:
        """Return the model, or raise the ArtifactError that says why there is none."""
        if isinstance(self.model, ArtifactError):
            raise self.model
        return self.model

    def card(self) -> Card | None:
        """Return what the model is, if there is one."""
        return None if isinstance(self.model, ArtifactError) else self.model.card

    def release(self) -> dict[str, str | None]:
        """Return which release this is: the version, the image's digest if known, and what scores rows.

        Raises the ArtifactError that says why there is no model.
        """
        return {
            "version": self.settings.model_version,
            "digest": self.settings.image_digest,
            "scorer": self.predictor().scorer,
        }

    def model_info(self) -> dict[str, str] | None:
        """Return what metrics say about the model, if there is one."""
        card = self.card()
        if card is None:
            return None
        return {
            "name": card.name,
            "version": self.settings.model_version,
            "digest": self.settings.image_digest or "",
            "sha256": card.portable.sha256 if card.portable else card.artifact_sha256,
            "portable": "true" if card.portable else "false",
        }

    def own_snapshot(self) -> Snapshot:
        """Return what this process has counted."""
        return self.metrics.snapshot(len(self.connections))

    async def snapshot(self) -> Snapshot:
        """Return what all workers have counted. Raises NotReady when they don't say."""
        own = self.own_snapshot()
        return together([own, *await self.channel.others()]) if self.channel else own

    def record_response(self, route: str, exchange: Exchange) -> None:
        """Count a response, and log it if it is due."""
        self.metrics.routes[route].count_response(exchange.status, exchange.seconds)
        if exchange.status >= 400 or monotonic() >= self.access_log.due:
            self.access_log.write(exchange)

    def new_request_id(self) -> bytes:
        """Return an id that no other request has, here or in another process."""
        return b"%s%012x" % (self._prefix, next(self._ids))

    def request_id(self, headers: Mapping[bytes, bytes]) -> bytes:
        """Return the request's X-Request-ID if it is fit to be sent back and logged, else a new one."""
        given = headers.get(b"x-request-id", b"")
        return given if _is_request_id(given) else self.new_request_id()
