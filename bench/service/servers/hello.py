"""Bare uvicorn with a constant response: the upper limit of any Python service on it."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

BODY = b'{"prediction":0.14673748808650075,"model_version":"v1.0.0"}'
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())],
}
Message = MutableMapping[str, Any]


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answer every request alike."""
    if scope["type"] == "http":
        await send(dict(START))
        await send({"type": "http.response.body", "body": BODY})
