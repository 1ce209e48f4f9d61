"""Authentication at a registry: the token challenge of the distribution protocol.

An access token goes to the registry's own token endpoint and to nowhere else. Without one, whoever asks is
nobody, as which some registries let anyone read.
"""

import base64
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

import anyio
import httpx

from errors import IdentityError, RegistryDenied, RegistryError
from net.http_responses import document
from net.retry_policy import Retrying
from net.tokens import Token, is_lifetime

Mint = Callable[[], Awaitable[Token]]
_USER = "oauth2accesstoken"
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_SHOWN = 500  # characters of what a registry says
_LIFETIME = 60  # seconds, which the protocol means where a registry says nothing


@dataclass(frozen=True)
class Challenge:
    """Where a registry wants a token to come from."""

    realm: httpx.URL
    service: str
    scope: str

    @classmethod
    def of(cls, answer: httpx.Response) -> Self | None:
        """Return what an answer asks for, None when it asks for nothing that could be got."""
        scheme, _, rest = answer.headers.get("WWW-Authenticate", "").partition(" ")
        given = dict(_PARAMETER.findall(rest))
        if scheme.lower() != "bearer" or "realm" not in given:
            return None
        try:
            realm = answer.url.join(given["realm"])
        except httpx.InvalidURL:
            return None
        return cls(realm, given.get("service", ""), given.get("scope", ""))


class Door:
    """What is shown to one registry; its tokens are got when it first asks, and anew when they run out."""

    def __init__(self, client: Retrying, base: httpx.URL, mint: Mint | None) -> None:
        """Stand before the registry at a base address, with access tokens or as nobody."""
        self._client, self._base, self._mint = client, base, mint
        self._challenge: Challenge | None = None
        self._token: Token | None = None
        self._scopes: dict[str, None] = {}
        self._lock = anyio.Lock()

    @property
    def known(self) -> bool:
        """Whether there is somebody to be known as."""
        return self._mint is not None

    def show(self, request: httpx.Request) -> None:
        """Add what the registry last gave us to a request."""
        if self._token is not None:
            request.headers["Authorization"] = self._token.authorization()

    async def admit(self, answer: httpx.Response, scope: str) -> bool:
        """Return whether there is something better to show now than what an answer refused."""
        if not same_place(answer.request.url, self._base):
            return False
        async with self._lock:
            if self._shows_otherwise(answer.request):
                return True
            challenge = Challenge.of(answer) or self._challenge
            if challenge is None:
                return False
            self._challenge = challenge
            self._scopes[challenge.scope or scope] = None
            self._token = await self._exchange(challenge)
            return True

    def _shows_otherwise(self, request: httpx.Request) -> bool:
        """Return whether a token came since a request was sent, which others may have asked for."""
        sent = request.headers.get("Authorization")
        return self._token is not None and sent != self._token.authorization()

    async def _exchange(self, challenge: Challenge) -> Token:
        request = self._client.http.build_request("GET", _asking(challenge, self._scopes))
        access = await self._mint() if self._mint else None
        if access:
            self._check_realm(challenge)
            request.headers["Authorization"] = _basic(access)
        answer = await self._client.send(request)
        if answer.status_code != 200:
            hidden = access.hide(reason(answer)) if access else reason(answer)
            refused = RegistryDenied if answer.status_code in (401, 403) else RegistryError
            raise refused(f"token endpoint {challenge.realm} answered {answer.status_code}{hidden}")
        return _given(challenge, answer)

    def _check_realm(self, challenge: Challenge) -> None:
        if not same_place(challenge.realm, self._base):
            raise RegistryDenied(
                f"it wants our access token sent to {str(challenge.realm)!r}, which is not the registry's; "
                "check the registry's name"
            )


def same_place(one: httpx.URL, other: httpx.URL) -> bool:
    """Return whether two addresses are of the same scheme, host and port."""
    return (one.scheme, one.netloc) == (other.scheme, other.netloc)


def reason(answer: httpx.Response) -> str:
    """Return the first error that the protocol's error document names, as `: CODE: message`, or nothing."""
    try:
        first = answer.json()["errors"][0]
        return f": {first['code']}: {first['message']}"[:_SHOWN]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""


def _asking(challenge: Challenge, scopes: dict[str, None]) -> httpx.URL:
    named = {"service": challenge.service} if challenge.service else {}
    return challenge.realm.copy_merge_params({**named, "scope": list(scopes)})


def _basic(access: Token) -> str:
    return f"Basic {base64.b64encode(f'{_USER}:{access.reveal()}'.encode()).decode()}"


def _given(challenge: Challenge, answer: httpx.Response) -> Token:
    """Return an answer's token, of which a traceback shall list no variable."""
    content = document(answer)
    seconds = content.get("expires_in")
    expires = time.monotonic() + (seconds if is_lifetime(seconds) else _LIFETIME)
    for name in ("token", "access_token"):
        if isinstance(content.get(name), str):
            try:
                return Token(content[name], expires)
            except IdentityError as error:
                raise RegistryError(f"token endpoint {challenge.realm}: {error.problem}") from None
    raise RegistryError(f"token endpoint {challenge.realm}: answered 200 without a token")
