"""Tokens that stay out of sight: no printing, formatting, pickling or listing of variables shows them."""

import base64
import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeGuard

import anyio

from errors import IdentityError

_SENDABLE = re.compile(r"[\x21-\x7e]+")
_ALMOST_OVER = 60.0  # seconds
_LONGEST = 10 * 365 * 86400  # seconds

Clock = Callable[[], float]


class Token:
    """A secret. Its text comes out of `reveal()` and `authorization()` only, for the request that needs it.

    `expires` is in seconds of time.monotonic(), infinite when that is not known.
    """

    __slots__ = ("expires", "reveal")

    def __init__(self, text: str, expires: float = float("inf")) -> None:
        """Hide a text, less white space around it; raises IdentityError when no header could carry it."""
        text = text.strip()
        if not _SENDABLE.fullmatch(text):
            problem = "has white space or other than ASCII in it" if text else "is empty"
            del text  # a traceback may list variables, and httpx would say what it cannot send
            raise IdentityError(f"token: it {problem}; check where it comes from")
        self.expires = expires
        self.reveal: Callable[[], str] = lambda: text

    def authorization(self, scheme: str = "Bearer") -> str:
        """Return the value of an Authorization header."""
        return f"{scheme} {self.reveal()}"

    def claims(self) -> dict[str, object]:
        """Return what the token says when it is a JWT, unverified; raises IdentityError when it is none."""
        try:
            payload = self.reveal().split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        except (ValueError, LookupError, RecursionError):
            claims = None
        if not isinstance(claims, dict):
            raise IdentityError(
                "token: it is no JWT (three parts, the middle one JSON); check where it comes from"
            )
        return claims

    def hide(self, text: str) -> str:
        """Return a text from elsewhere without the token, should it repeat the token."""
        return text.replace(self.reveal(), repr(self))

    def __repr__(self) -> str:
        return "<token>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a token is neither copied nor pickled")


def is_lifetime(seconds: object) -> TypeGuard[int]:
    """Return whether a number of seconds can be a token's lifetime."""
    return isinstance(seconds, int) and 0 <= seconds <= _LONGEST


class Kept:
    """A token that is minted on first use, and anew when less than a minute of it is left."""

    def __init__(self, mint: Callable[[], Awaitable[Token]], clock: Clock = time.monotonic) -> None:
        """Keep what `mint` returns."""
        self._mint, self._clock = mint, clock
        self._token: Token | None = None
        self._lock = anyio.Lock()

    async def token(self) -> Token:
        """Return the token; calls while it is minted wait for that one."""
        async with self._lock:
            if self._token is None or self._token.expires - self._clock() < _ALMOST_OVER:
                self._token = await self._mint()
            return self._token
