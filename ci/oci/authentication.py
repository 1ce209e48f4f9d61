"""Authentication at a registry: the token challenge of the distribution protocol.

An access token goes to the registry's own token endpoint and to nowhere else. Without one,
requests are anonymous; some registries let anyone read.
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
    """Challenge of a registry: the token endpoint, and its parameters."""

    realm: httpx.URL
    service: str
    scope: str

    @classmethod
    def of(cls, answer: httpx.Response) -> Self | None:
        """Return the challenge in a response, None without one that can be met."""
        scheme, _, rest = answer.headers.get("WWW-Authenticate", "").partition(" ")
        given = dict(_PARAMETER.findall(rest))
        if scheme.lower() != "bearer" or "realm" not in given:
            return None
        try:
            realm = answer.url.join(given["realm"])
        except httpx.InvalidURL:
            return None
        return cls(realm, given.get("service", ""), given.get("scope", ""))


class Authenticator:
    """Credentials for one registry; tokens are fetched at its first challenge, and when they expire."""

    def __init__(self, client: Retrying, base: httpx.URL, mint: Mint | None) -> None:
        """Authenticate at the registry at a base address with access tokens, or anonymously without."""
        self._client, self._base, self._mint = client, base, mint
        self._challenge: Challenge | None = None
        self._token: Token | None = None
        self._scopes: dict[str, None] = {}
        self._lock = anyio.Lock()

    @property
    def has_tokens(self) -> bool:
        """True if there are access tokens; without them, requests are anonymous."""
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
        """Return whether a token came since a request was sent; another request may have fetched it."""
        sent = request.headers.get("Authorization")
        return self._token is not None and sent != self._token.authorization()

    async def _exchange(self, challenge: Challenge) -> Token:
        request = self._client.http.build_request("GET", _token_url(challenge, self._scopes))
        access = await self._mint() if self._mint else None
        if access:
            self._check_realm(challenge)
            request.headers["Authorization"] = _basic(access)
        answer = await self._client.send(request)
        if answer.status_code != 200:
            hidden = access.hide(reason(answer)) if access else reason(answer)
            refused = RegistryDenied if answer.status_code in (401, 403) else RegistryError
            raise refused(f"token endpoint {challenge.realm} answered {answer.status_code}{hidden}")
        return _read_token(challenge, answer)

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


def _token_url(challenge: Challenge, scopes: dict[str, None]) -> httpx.URL:
    named = {"service": challenge.service} if challenge.service else {}
    return challenge.realm.copy_merge_params({**named, "scope": list(scopes)})


def _basic(access: Token) -> str:
    return f"Basic {base64.b64encode(f'{_USER}:{access.reveal()}'.encode()).decode()}"


def _read_token(challenge: Challenge, answer: httpx.Response) -> Token:
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
