"""uvicorn with nothing behind it: what any Python service on it can reach at most."""

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
    """Answer whatever comes."""
    if scope["type"] == "http":
        await send(dict(START))
        await send({"type": "http.response.body", "body": BODY})
