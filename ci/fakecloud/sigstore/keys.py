"""Keys of logs and certificate authorities, with their names and their entries in a trusted root."""

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_START = "2026-01-01T00:00:00Z"


def _generate() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Key:
    """An ECDSA key on P-256, which signs SHA-256 digests."""

    private: ec.EllipticCurvePrivateKey = field(default_factory=_generate)

    @property
    def public(self) -> bytes:
        """The public half as SubjectPublicKeyInfo in DER."""
        return self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def identifier(self) -> bytes:
        """The name of the key's log: the public half's SHA-256 (RFC 6962, section 3.2)."""
        return hashlib.sha256(self.public).digest()

    def sign(self, data: bytes) -> bytes:
        """Return the signature of data, in DER."""
        return self.private.sign(data, ec.ECDSA(hashes.SHA256()))


def log_instance(key: Key, url: str) -> dict[str, object]:
    """Return a log as a trusted root lists it."""
    public = {"rawBytes": encode_base64(key.public), "keyDetails": "PKIX_ECDSA_P256_SHA_256"}
    return {
        "baseUrl": url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": {**public, "validFor": {"start": _START}},
        "logId": {"keyId": encode_base64(key.identifier)},
    }


def authority(url: str, name: str, *certificates: bytes) -> dict[str, object]:
    """Return a certificate authority as a trusted root lists it: its certificates in DER, the root last."""
    return {
        "subject": {"organization": "fake cloud", "commonName": name},
        "uri": url,
        "certChain": {"certificates": [{"rawBytes": encode_base64(each)} for each in certificates]},
        "validFor": {"start": _START},
    }


def encode_base64(content: bytes) -> str:
    """Return bytes in base64, as JSON holds them."""
    return base64.b64encode(content).decode()


def moment(seconds: float) -> datetime:
    """Return a time in whole seconds, as certificates and timestamps have it."""
    return datetime.fromtimestamp(int(seconds), UTC)
