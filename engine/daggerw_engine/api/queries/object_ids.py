"""IDs of a session's objects, resolved only for the clients that received them.

An ID is keyed per session: only a client that received it can use it, and only in that session.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import defaultdict

from daggerw_engine.api.clients.client import Client
from daggerw_engine.api.queries.calls import Call
from daggerw_engine.errors import EngineError


class ObjectIds:
    """Registry of IDs: issues them to clients and resolves them to calls."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._held: dict[Client, dict[str, Call]] = defaultdict(dict)

    def give(self, client: Client, call: Call) -> str:
        """Return the ID of a call's object and register the client as its holder."""
        keyed = hmac.new(self._key, call.id.encode(), hashlib.sha256).hexdigest()
        id_ = f"{call.type}:{keyed[:32]}"
        self._held[client][id_] = call
        return id_

    def resolve(self, client: Client, id_: str) -> Call:
        """Return the call with an ID; EngineError when the client doesn't hold it."""
        if id_ not in self._held[client]:
            raise EngineError(f"no object has the ID {id_!r} in this session")
        return self._held[client][id_]

    def share(self, value: object, holder: Client, receiver: Client) -> None:
        """Register the receiver for each ID in a JSON value that the holder has."""
        if isinstance(value, str) and value in self._held[holder]:
            self._held[receiver][value] = self._held[holder][value]
        elif isinstance(value, list | dict):
            for each in value.values() if isinstance(value, dict) else value:
                self.share(each, holder, receiver)
