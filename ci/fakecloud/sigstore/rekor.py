"""Rekor, version 1: a public log of signatures, which promises and proves that an entry is in it.

Paths and bodies are those of https://github.com/sigstore/rekor (`openapi.yaml`, `types/dsse/v0.0.1`). Like
the real one it takes an entry only if the signature is the certificate's.
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fakecloud.sigstore import merkle_tree
from fakecloud.sigstore.keys import Key, encode_base64
from fakecloud.sigstore.refusals import SigstoreRefusal

HOST, _TREE = "rekor.fake", 1193050959916656506
_OTHERS = 5  # entries of others, made before


def _others() -> list[bytes]:
    return [merkle_tree.leaf_hash(secrets.token_bytes(32)) for _ in range(_OTHERS)]


@dataclass(frozen=True)
class Rekor:
    """A log of signed envelopes."""

    now: Callable[[], float]
    key: Key = field(default_factory=Key)
    leaves: list[bytes] = field(default_factory=_others)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def routes(self) -> list[Route]:
        """Return what is served below the log's address."""
        return [Route("/api/v1/log/entries", self.add, methods=["POST"])]

    async def add(self, request: Request) -> Response:
        """Answer a proposed entry with the entry, or refuse it."""
        body = _entry(await _read_proposal(request))
        if body in self.bodies:
            raise SigstoreRefusal(409, 409, "an equivalent entry already exists in the transparency log")
        self.bodies.append(body)
        self.leaves.append(merkle_tree.leaf_hash(body))
        index = len(self.leaves) - 1
        name = f"{_TREE:016x}{self.leaves[index].hex()}"
        return JSONResponse({name: self._integrate(body, index)}, 201)

    def _integrate(self, body: bytes, index: int) -> dict[str, Any]:
        """Return an entry with the log's promise and proof."""
        entry: dict[str, Any] = {
            "body": encode_base64(body),
            "integratedTime": int(self.now()),
            "logID": self.key.identifier.hex(),
            "logIndex": index,
        }
        promise, root = self.key.sign(_canonical(entry)), merkle_tree.root(self.leaves)
        proof = {
            "checkpoint": self._checkpoint(root),
            "hashes": [each.hex() for each in merkle_tree.inclusion(self.leaves, index)],
            "logIndex": index,
            "rootHash": root.hex(),
            "treeSize": len(self.leaves),
        }
        return {
            **entry,
            "verification": {"inclusionProof": proof, "signedEntryTimestamp": encode_base64(promise)},
        }

    def _checkpoint(self, root: bytes) -> str:
        """Return the signed state of the log, as https://c2sp.org/tlog-checkpoint has it."""
        note = f"{HOST} - {_TREE}\n{len(self.leaves)}\n{encode_base64(root)}\n"
        signature = encode_base64(self.key.identifier[:4] + self.key.sign(note.encode()))
        return f"{note}\n\N{EM DASH} {HOST} {signature}\n"


async def _read_proposal(request: Request) -> dict[str, Any]:
    try:
        given = await request.json()
        content = given["spec"]["proposedContent"]
        if (given["kind"], given["apiVersion"]) != ("dsse", "0.0.1"):
            raise _invalid(f"entry kind '{given['kind']}' is not supported")
        return {"envelope": str(content["envelope"]), "verifiers": list(content["verifiers"])}
    except (ValueError, LookupError, TypeError) as error:
        raise _invalid("proposed content is malformed") from error


def _entry(content: dict[str, Any]) -> bytes:
    """Return what the log keeps of an envelope whose signatures are those of its verifiers."""
    try:
        envelope = json.loads(content["envelope"])
        payload = base64.b64decode(envelope["payload"], validate=True)
        message = pre_authentication_encoding(envelope["payloadType"], payload)
        pairs = list(zip(envelope["signatures"], content["verifiers"], strict=True))
        for signature, verifier in pairs:
            _verify(message, base64.b64decode(signature["sig"]), base64.b64decode(verifier))
    except (ValueError, LookupError, TypeError, InvalidSignature) as error:
        raise _invalid("could not verify envelope") from error
    signatures = [{"signature": each["sig"], "verifier": verifier} for each, verifier in pairs]
    spec = {
        "envelopeHash": _hash_entry(content["envelope"].encode()),
        "payloadHash": _hash_entry(payload),
        "signatures": signatures,
    }
    return _canonical({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})


def pre_authentication_encoding(kind: str, payload: bytes) -> bytes:
    """Return what a DSSE signature covers: https://github.com/secure-systems-lab/dsse (`protocol.md`)."""
    return f"DSSEv1 {len(kind.encode())} {kind} {len(payload)} ".encode() + payload


def _verify(message: bytes, signature: bytes, verifier: bytes) -> None:
    key = x509.load_pem_x509_certificate(verifier).public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise _invalid("unsupported key type")
    key.verify(signature, message, ec.ECDSA(hashes.SHA256()))


def _hash_entry(content: bytes) -> dict[str, str]:
    return {"algorithm": "sha256", "value": hashlib.sha256(content).hexdigest()}


def _canonical(document: object) -> bytes:
    """Return JSON as RFC 8785 has it, which for texts and whole numbers is this."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _invalid(message: str) -> SigstoreRefusal:
    return SigstoreRefusal(400, 400, f"error processing entry: {message}")
