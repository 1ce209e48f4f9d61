"""Witness of all requests to the fake cloud and its responses, so that a test knows every token."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECRET = ("value", "token", "access_token", "accessToken", "subjectToken", "subject_token")
_ENDPOINTS = ("/github/", "/sts/", "/iamcredentials/", "/v2/token")


@dataclass
class Witness:
    """Passes everything on, and keeps the tokens."""

    tokens: set[str] = field(default_factory=set)

    def of(self, app: ASGIApp) -> ASGIApp:
        """Return an application with the witness in front of it."""

        async def watch(scope: Scope, receive: Receive, send: Send) -> None:
            await self._see(app, scope, receive, send)

        return watch

    async def _see(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        self._credential(dict(scope.get("headers", [])).get(b"authorization", b"").decode())
        if not str(scope.get("path")).startswith(_ENDPOINTS):
            return await app(scope, receive, send)
        said: dict[str, bytes] = {"http.request": b"", "http.response.body": b""}

        async def heard() -> Message:
            message = await receive()
            said["http.request"] += message.get("body", b"")
            return message

        async def send_seen(message: Message) -> None:
            said["http.response.body"] += message.get("body", b"")
            await send(message)

        await app(scope, heard, send_seen)
        for body in said.values():
            self._members(body)

    def _credential(self, header: str) -> None:
        scheme, _, credential = header.partition(" ")
        if scheme == "Basic":
            self.tokens.add(base64.b64decode(credential).decode().partition(":")[2])
        if credential:
            self.tokens.add(credential)

    def _members(self, body: bytes) -> None:
        try:
            content = json.loads(body)
        except ValueError:
            content = dict(parse_qsl(body.decode(errors="replace")))
        self.tokens |= {str(content[name]) for name in _SECRET if content.get(name)}


def shapes(token: str) -> set[bytes]:
    """Return how a token may look: whole, and in base64 wherever in the encoded text it begins."""
    plain = token.encode()
    found = {plain}
    for before in range(3):
        # What its neighbours have a part in is left out.
        encoded = base64.b64encode(b"-" * before + plain)[(before + 2) // 3 * 4 :]
        whole = encoded[: len(encoded) - 4]
        found |= {whole, whole.translate(bytes.maketrans(b"+/", b"-_"))}
    return found
