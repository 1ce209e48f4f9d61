"""Signing keys that change, and the key sets that others verify by."""

import json
import secrets
import threading
from dataclasses import dataclass, field, replace
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

_BITS = 2048


@dataclass(frozen=True)
class _Key:
    name: str
    private: rsa.RSAPrivateKey
    expires: float


@dataclass
class KeyRing:
    """An issuer's keys: every few tokens a new one; each is published until its tokens have expired."""

    tokens_per_key: int = 3
    keys: list[_Key] = field(default_factory=list)
    signed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def sign(self, claims: dict[str, Any], *, now: float, until: float) -> str:
        """Return the claims, which end at some time, as a JWT."""
        with self.lock:
            *older, key = [*self.keys, _new_key()] if self.signed % self.tokens_per_key == 0 else self.keys
            self.signed += 1
            # At once, as the set may be read meanwhile: no key of a token in use is ever missing.
            self.keys = [*(old for old in older if old.expires > now), replace(key, expires=until)]
        return jwt.encode(claims, key.private, "RS256", headers={"kid": key.name})

    def jwks(self) -> dict[str, list[dict[str, Any]]]:
        """Return the published keys as a JSON Web Key Set (RFC 7517)."""
        return {"keys": [_as_jwk(key) for key in self.keys]}


def _new_key() -> _Key:
    private = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    return _Key(secrets.token_hex(8), private, expires=0)


def _as_jwk(key: _Key) -> dict[str, Any]:
    numbers: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(key.private.public_key()))
    return {name: numbers[name] for name in ("kty", "n", "e")} | {
        "use": "sig",
        "alg": "RS256",
        "kid": key.name,
    }
