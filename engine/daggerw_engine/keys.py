"""Cache keys: a hash over all that goes into a step."""

from __future__ import annotations

import hashlib
import json

# To be raised when a step with the same inputs comes to give something else: what was kept counts no more.
MEANING = 1


def key_of(*parts: object) -> str:
    """Return a cache key over JSON values and dataclasses with a `key`."""
    text = json.dumps([MEANING, *parts], default=lambda value: value.key, sort_keys=True)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
