"""Signing keys that change, and the key sets that others verify by."""

import json
import secrets
from dataclasses import dataclass, field
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
    """An issuer's keys: a new one for every token, each published until its token has expired."""

    keys: list[_Key] = field(default_factory=list)

    def sign(self, claims: dict[str, Any], *, now: float, until: float) -> str:
        """Return the claims, which end at some time, as a JWT under a new key."""
        private = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
        key = _Key(secrets.token_hex(8), private, until)
        self.keys = [old for old in self.keys if old.expires > now] + [key]
        return jwt.encode(claims, private, "RS256", headers={"kid": key.name})

    def jwks(self) -> dict[str, list[dict[str, Any]]]:
        """Return the published keys as a JSON Web Key Set (RFC 7517)."""
        return {"keys": [_published(key) for key in self.keys]}


def _published(key: _Key) -> dict[str, Any]:
    numbers: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(key.private.public_key()))
    return {name: numbers[name] for name in ("kty", "n", "e")} | {
        "use": "sig",
        "alg": "RS256",
        "kid": key.name,
    }
