"""Transport of requests to one registry: authenticated, retried, with one kind of failure.

httpx's own errors become RegistryUnreachable here and nowhere else.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import httpx

from errors import NoAnswer, RegistryDenied, RegistryError, RegistryUnreachable, UnusableAnswer
from net.bounded_reading import MAX_ANSWER, pieces, seconds_for
from net.retry_policy import Retrying
from oci.authentication import Authenticator, reason, same_place

Content = Callable[[], AsyncIterator[bytes]]
PULL, PUSH = "pull", "pull,push"
# What passes when an upload is begun again.
_PASSING = ("BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID")


@dataclass(frozen=True)
class Wire:
    """The way to a repository at a registry's base address; `names` are what advice can name."""

    client: Retrying
    base: httpx.URL
    authenticator: Authenticator
    repository: str
    names: Mapping[str, str] = field(default_factory=dict)

    async def send(
        self,
        method: str,
        url: httpx.URL | str,
        *expected: int,
        scope: str = PULL,
        headers: Mapping[str, str] | None = None,
        content: Content | bytes | None = None,
        timeout: httpx.Timeout | None = None,
    ) -> httpx.Response:
        """Return the answer to a request when its status is an expected one.

        Raises RegistryUnreachable when there is none for now, RegistryDenied when we may not, else
        RegistryError.
        """
        build = partial(self._request, method, url, headers or {}, content, timeout)
        return await self._answer(build, expected, scope, stream=False)

    @asynccontextmanager
    async def stream(self, url: str, limit: int) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open what a registry has at a path, wherever it keeps that, to be read in pieces.

        Raises RegistryError once that is more than the limit in bytes.
        """
        answer = await self._answer(
            partial(self._request, "GET", url, {}, None, None), (200,), PULL, stream=True
        )
        try:
            yield self._pieces(answer, limit)
        finally:
            await answer.aclose()

    def within(self, answer: httpx.Response, location: str) -> httpx.URL:
        """Return the address that an answer points to; content only ever goes to the registry itself."""
        try:
            url = answer.url.join(location)
        except httpx.InvalidURL:
            url = httpx.URL()
        if not location or not same_place(url, self.base):
            raise RegistryError(
                f"registry {self.host}: {answer.url.path} points to {location!r}, which is not the "
                "registry's; check its configured host name"
            )
        return url

    @property
    def host(self) -> str:
        """The registry's host and port."""
        return self.base.netloc.decode("ascii")

    async def _answer(
        self, build: Callable[[], httpx.Request], expected: tuple[int, ...], scope: str, *, stream: bool
    ) -> httpx.Response:
        answer = await self._once(build(), stream)
        if answer.status_code == 401 and await self._admit(answer, scope):
            await answer.aclose()
            answer = await self._once(build(), stream)
        if answer.status_code in expected:
            return answer
        raise self._refusal(await self._read(answer) if stream else answer)

    async def _once(self, request: httpx.Request, stream: bool) -> httpx.Response:
        self.authenticator.show(request)
        failure: type[RegistryError]
        # Registries that keep blobs elsewhere redirect downloads, never uploads. httpx shows
        # what it was given for one host to no other.
        follow = request.method in ("GET", "HEAD")
        try:
            return await self.client.send(request, follow_redirects=follow, stream=stream)
        except UnusableAnswer as error:
            why, failure = error.message, RegistryError
        except (NoAnswer, httpx.RequestError) as error:
            why, failure = _describe(request, error), RegistryUnreachable
        raise failure(f"registry {why}")

    async def _admit(self, answer: httpx.Response, scope: str) -> bool:
        try:
            return await self.authenticator.admit(answer, f"repository:{self.repository}:{scope}")
        except NoAnswer as error:
            why = error.message
        except RegistryError as error:
            raise type(error)(f"registry {self.host}: {error.problem}", **self._names) from None
        raise RegistryUnreachable(f"registry {why}")

    async def _read(self, answer: httpx.Response) -> httpx.Response:
        content = b"".join([piece async for piece in self._pieces(answer, MAX_ANSWER)])
        return httpx.Response(
            answer.status_code, headers=answer.headers, content=content, request=answer.request
        )

    async def _pieces(self, answer: httpx.Response, limit: int) -> AsyncIterator[bytes]:
        failure: type[RegistryError] = RegistryUnreachable
        try:
            async for piece in pieces(answer, limit, seconds_for(limit)):
                yield piece
        except UnusableAnswer as error:
            why, failure = error.message, RegistryError
        except httpx.RequestError as error:
            why = _describe(answer.request, error)
        else:
            return
        raise failure(f"registry {why}")

    def _request(
        self,
        method: str,
        url: httpx.URL | str,
        headers: Mapping[str, str],
        content: Content | bytes | None,
        timeout: httpx.Timeout | None,
    ) -> httpx.Request:
        body = content() if callable(content) else content
        own: httpx.Timeout = timeout or self.client.http.timeout
        return self.client.http.build_request(
            method, self.base.join(url), headers=headers, content=body, timeout=own
        )

    def _refusal(self, answer: httpx.Response) -> RegistryError:
        message, status = reason(answer), answer.status_code
        request = f"{answer.request.method} {answer.request.url.path}"
        summary = f"registry {self.host}: {request} answered {status}{message}"
        if status in (401, 403) and not self.authenticator.has_tokens:
            return RegistryDenied(
                f"{summary}\n  cause: it requires credentials, and none are given\n"
                "  fix: give --workload-identity-provider, or leave --registry out for the local registry"
            )
        if status in (401, 403):
            return RegistryDenied(summary, **self._names)
        passing = status == 429 or status >= 500 or any(code in message for code in _PASSING)
        return (RegistryUnreachable if passing else RegistryError)(summary, **self._names)

    @property
    def _names(self) -> dict[str, str]:
        return {"host": self.host, **self.names}


def _describe(request: httpx.Request, error: Exception) -> str:
    if isinstance(error, NoAnswer):
        return error.message
    return f"{request.url.host}: no answer to {request.method} {request.url.path}: {error!r}"
