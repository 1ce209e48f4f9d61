"""Bounded reading of responses: no more bytes and no more time than given, and nothing compressed.

Every response of the pipeline is read here, so that no server can fill memory or disk, or keep a job busy.
"""

import time
from collections.abc import AsyncIterator, Callable

import httpx

from errors import UnusableAnswer

MAX_ANSWER = 4 * 1024 * 1024  # bytes of a response that is read whole
MAX_SECONDS = 60.0  # for a response that is read whole
_SLOWEST = 64 * 1024  # bytes a second of a longer one

Clock = Callable[[], float]


def seconds_for(size: int) -> float:
    """Return how long a content of so many bytes may take."""
    return MAX_SECONDS + size / _SLOWEST


async def pieces(
    answer: httpx.Response, limit: int, seconds: float, clock: Clock = time.monotonic
) -> AsyncIterator[bytes]:
    """Yield a response's body; raises UnusableAnswer once it is larger, or takes longer, than given.

    httpx itself ends after too long a pause; the seconds end a body that comes in drops.
    """
    where, ends = f"{answer.request.url.host}{answer.request.url.path}", clock() + seconds
    encoding = answer.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise UnusableAnswer(f"{where}: the response is encoded as {encoding!r:.40}, which was not requested")
    announced = answer.headers.get("Content-Length", "")
    if announced.isdecimal() and (len(announced) > len(str(limit)) or int(announced) > limit):
        raise UnusableAnswer(f"{where}: the response has {announced:.40} bytes; {limit} are the most")
    left = limit
    async for piece in answer.aiter_bytes():
        left -= len(piece)
        if left < 0:
            raise UnusableAnswer(f"{where}: the response has more than {limit} bytes")
        if clock() > ends:
            raise UnusableAnswer(f"{where}: the response takes longer than {seconds:.0f} s")
        yield piece


async def whole(
    answer: httpx.Response, limit: int = MAX_ANSWER, seconds: float = MAX_SECONDS
) -> httpx.Response:
    """Return a response that is read and closed; raises UnusableAnswer, or httpx's errors."""
    content = b""
    try:
        if answer.request.method != "HEAD":
            content = b"".join([piece async for piece in pieces(answer, limit, seconds)])
    finally:
        await answer.aclose()
    return httpx.Response(
        answer.status_code,
        headers=answer.headers,
        content=content,
        request=answer.request,
        extensions=answer.extensions,
        history=answer.history,
    )
