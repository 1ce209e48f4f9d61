"""Ledger of what has happened, and the clock: the only state that changes."""

import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate

from fakecloud.state.policy import CLOUD_PLATFORM, Principal
from fakecloud.state.refusals import credential_invalid, credential_missing


@dataclass
class Clock:
    """Google's clock. This machine's, which the fake GitHub uses, is ahead of it by some seconds."""

    ahead: float = 0

    def here(self) -> float:
        """Return this machine's time."""
        return time.time()

    def google(self) -> float:
        """Return Google's time."""
        return time.time() - self.ahead

    def date(self) -> str:
        """Return Google's time as a Date header."""
        return formatdate(self.google(), usegmt=True)


@dataclass(frozen=True)
class Grant:
    """Grant behind an access token."""

    principal: Principal
    expires: float
    scopes: frozenset[str]

    @property
    def unrestricted(self) -> bool:
        """Return whether its scope covers all calls of the fake cloud."""
        return CLOUD_PLATFORM in self.scopes


@dataclass
class Upload:
    """An upload that was begun: where the real registry takes it, and whether content has come already."""

    image: str
    url: str
    begun: bool = False


@dataclass
class Ledger:
    """Tokens given out, by digest so that the ledger itself gives none away; uploads and downloads."""

    clock: Clock = field(default_factory=Clock)
    grants: dict[str, Grant] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    downloads: dict[str, str] = field(default_factory=dict)

    def issue(self, principal: Principal, seconds: float, scopes: frozenset[str]) -> str:
        """Return a new access token that is good for some seconds."""
        # Real ones of the Security Token Service have about a thousand characters.
        token = f"ya29.d.{secrets.token_urlsafe(720)}"
        self.grants[_key(token)] = Grant(principal, self.clock.google() + seconds, scopes)
        return token

    def lookup(self, token: str) -> Grant | None:
        """Return what a token stands for, None when it was never given out."""
        return self.grants.get(_key(token))

    def live(self, token: str) -> Grant | None:
        """Return what a token stands for, None when it does no more or never did."""
        grant = self.lookup(token)
        return grant if grant and self.clock.google() < grant.expires else None

    def bearer(self, headers: Mapping[str, str]) -> Grant:
        """Return whom a Google API's request speaks for, or refuse it."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise credential_missing()
        grant = self.lookup(token)
        if grant is None:
            raise credential_invalid("ACCESS_TOKEN_TYPE_UNSUPPORTED")
        if self.live(token) is None:
            raise credential_invalid("ACCESS_TOKEN_EXPIRED")
        return grant


def handle() -> str:
    """Return a name for an upload or a download that cannot be guessed."""
    return secrets.token_urlsafe(48)


def _key(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
