"""JSON documents that are known by their digest: one content, one text."""

import hashlib
import json


def canonical(document: object) -> bytes:
    """Return a document as JSON in UTF-8: keys sorted, no white space."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(content: bytes) -> str:
    """Return a content's SHA-256 as registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
