"""Retry policy for HTTP requests: sent again after 429, 5xx, time-outs and lost connections.

The waits are random up to a bound that doubles ("full jitter"), at least as long as Retry-After says, and end
after a number of attempts and a number of seconds. Nothing else is ever sent again.
"""

import logging
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import anyio
import httpx

from errors import NoAnswer, UnusableAnswer
from net.bounded_reading import MAX_ANSWER, whole

_LOG = logging.getLogger(__name__)
_LOST = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError)
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 16.0
_NOTABLE_SKEW = 10.0
_REDIRECTS = 5


@dataclass(frozen=True)
class Retrying:
    """An HTTP client with patience. Times are in seconds."""

    http: httpx.AsyncClient
    attempts: int = 5
    seconds: float = 60
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    jitter: Callable[[float, float], float] = random.uniform
    monotonic: Callable[[], float] = time.monotonic

    async def send(
        self,
        request: httpx.Request,
        *,
        follow_redirects: bool = False,
        stream: bool = False,
        limit: int = MAX_ANSWER,
    ) -> httpx.Response:
        """Return the answer to a request, be it a refusal; a content that is streamed is sent once only.

        With `stream` the answer's body is left to be read by `bounded_reading`, and the answer to be closed.

        Raises NoAnswer, with nothing of the request in it or its traceback but method and address; it is an
        UnusableAnswer when the answer has more bytes than the limit, takes too long, or is compressed.
        """
        request.headers["Accept-Encoding"] = "identity"
        attempts = self.attempts if isinstance(request.stream, httpx.ByteStream) else 1
        started, attempt = self.monotonic(), 1
        while True:
            outcome = await self._attempt(request, follow_redirects, None if stream else limit)
            if attempt == attempts or not _worth_it(outcome):
                break
            wait = self._wait(outcome, attempt)
            if self.monotonic() - started + wait > self.seconds:
                break
            _LOG.warning("%s: %s; trying again in %.1f s", request.url.host, _describe(outcome), wait)
            if isinstance(outcome, httpx.Response):
                await outcome.aclose()
            await self.sleep(wait)
            attempt += 1
        if isinstance(outcome, httpx.Response):
            return outcome
        tried = f"{attempt} attempt{'s' * (attempt > 1)} and {self.monotonic() - started:.0f} s"
        problem = (
            f"{request.url.host}: no answer to {request.method} {request.url.path} in {tried}: {outcome}"
        )
        raise outcome.failure(problem, host=request.url.host)

    async def _attempt(
        self, request: httpx.Request, follow_redirects: bool, limit: int | None
    ) -> "httpx.Response | _Lost":
        """Return the answer, read whole when there is a limit; a redirection's own content is never read."""
        try:
            answer, left = await self.http.send(request, stream=True), _REDIRECTS
            while follow_redirects and answer.next_request is not None:
                await answer.aclose()
                if not left:
                    raise UnusableAnswer(f"more than {_REDIRECTS} redirections")
                left -= 1
                answer = await self.http.send(answer.next_request, stream=True)
            return answer if limit is None else await whole(answer, limit)
        except UnusableAnswer as error:
            return _Lost(error.problem, passing=False, failure=UnusableAnswer)
        except httpx.TransportError as error:
            # httpx's own error would bring its frames along, whose variables hold what was sent.
            return _Lost(f"{type(error).__name__}: {error}".rstrip(": "), _is_transient(error))

    async def pause(self, attempt: int) -> None:
        """Wait as after an attempt, the first being 1, for who sends something again by themselves."""
        await self.sleep(self._jitter(attempt))

    def _wait(self, outcome: "httpx.Response | _Lost", attempt: int) -> float:
        jitter = self._jitter(attempt)
        return max(jitter, _retry_after(outcome)) if isinstance(outcome, httpx.Response) else jitter

    def _jitter(self, attempt: int) -> float:
        return self.jitter(0, min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** (attempt - 1)))


@dataclass(frozen=True)
class _Lost:
    """An attempt without an answer."""

    why: str
    passing: bool
    failure: type[NoAnswer] = NoAnswer

    def __str__(self) -> str:
        return self.why


@asynccontextmanager
async def patient(
    timeout: float | httpx.Timeout = 10, authority: str | None = None
) -> AsyncIterator[Retrying]:
    """Open a client that verifies servers against this machine's own certificate store.

    Companies add their own authority to that one; httpx would take one of its own. An authority's
    certificates, in PEM, take the place of the store.
    """
    context = ssl.create_default_context(cadata=authority) if authority else ssl.create_default_context()
    async with httpx.AsyncClient(timeout=timeout, verify=context) as http:
        yield Retrying(http)


def server_time(answer: httpx.Response) -> datetime | None:
    """Return the time of a response by the server's clock, None without a Date header."""
    return _date(answer.headers.get("Date", ""))


def skew(answer: httpx.Response, now: Callable[[], float] = time.time) -> float | None:
    """Return by how many seconds the server's clock is ahead of this machine's, None when it does not say."""
    then = server_time(answer)
    return None if then is None else then.timestamp() - now()


def named_skew(answer: httpx.Response, now: Callable[[], float] = time.time) -> str:
    """Return a sentence on the clocks when they differ by what matters, else nothing."""
    seconds = skew(answer, now) or 0
    if abs(seconds) < _NOTABLE_SKEW:
        return ""
    way = "behind" if seconds > 0 else "ahead of"
    return f"this machine's clock is {abs(seconds):.0f} s {way} that of {answer.url.host}"


def _is_transient(error: httpx.TransportError) -> bool:
    return isinstance(error, _LOST) and "CERTIFICATE_VERIFY_FAILED" not in str(error)


def _worth_it(outcome: "httpx.Response | _Lost") -> bool:
    if isinstance(outcome, _Lost):
        return outcome.passing
    return outcome.status_code == 429 or outcome.status_code >= 500


def _retry_after(answer: httpx.Response) -> float:
    """Return the seconds in Retry-After; a date there is one of the server's clock."""
    after = answer.headers.get("Retry-After", "")
    if after.isdecimal():
        return float(after)
    until = _date(after)
    return (until - (server_time(answer) or datetime.now(UTC))).total_seconds() if until else 0


def _date(header: str) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(header)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _describe(outcome: "httpx.Response | _Lost") -> str:
    return str(outcome.status_code) if isinstance(outcome, httpx.Response) else outcome.why
