"""JSON client for a target's API: authenticated, retried, with one kind of failure."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from errors import NoAnswer, TargetChanged, TargetError
from net.http_responses import describe_response, document
from net.retry_policy import Retrying
from net.tokens import Token

Mint = Callable[[], Awaitable[Token]]


def is_conflict(answer: httpx.Response) -> bool:
    """Return whether a response refuses a write because the object has changed."""
    return answer.status_code == httpx.codes.CONFLICT


@dataclass(frozen=True)
class Api:
    """One API at a base address; `means_conflict` detects responses to a write of an old version."""

    name: str
    base: str
    client: Retrying
    mint: Mint | None = None
    means_conflict: Callable[[httpx.Response], bool] = is_conflict

    async def call(self, method: str, path: str, **sent: Any) -> dict[str, Any]:
        """Return the object that answers a request, given as httpx takes it.

        Raises TargetChanged, or TargetError for any other refusal.
        """
        return document(await self.send(method, path, **sent))

    async def find(self, path: str, **sent: Any) -> dict[str, Any] | None:
        """Return what is at a path, None when nothing is."""
        answer = await self.send("GET", path, httpx.codes.NOT_FOUND, **sent)
        return document(answer) if answer.is_success else None

    async def remove(self, path: str, **sent: Any) -> dict[str, Any] | None:
        """Delete what is at a path and return the answer, None when nothing was there."""
        answer = await self.send("DELETE", path, httpx.codes.NOT_FOUND, **sent)
        return document(answer) if answer.is_success else None

    async def send(self, method: str, path: str, *allowed: int, **sent: Any) -> httpx.Response:
        """Return an answer that is a success, or has an allowed status."""
        token = await self.mint() if self.mint else None
        request = self.client.http.build_request(method, f"{self.base}{path}", **sent)
        if token:
            request.headers["Authorization"] = token.authorization()
        try:
            answer = await self.client.send(request)
        except NoAnswer as error:
            raise TargetError(f"{self.name}: {error.message}") from None
        if answer.is_success or answer.status_code in allowed:
            return answer
        problem = f"{self.name}: {method} {path} answered {describe_response(answer, token)}"
        raise (TargetChanged if self.means_conflict(answer) else TargetError)(problem)
