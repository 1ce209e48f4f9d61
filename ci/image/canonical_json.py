"""JSON documents that are known by their digest: one content, one text."""

import hashlib
import json
from typing import Any


def canonical(document: object) -> bytes:
    """Return a document as JSON in UTF-8: keys sorted, no white space."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(content: bytes) -> str:
    """Return a content's SHA-256 as registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def parse(content: bytes | str) -> Any:
    """Return the JSON value of a text from outside; raises ValueError when it is malformed in any way."""
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
