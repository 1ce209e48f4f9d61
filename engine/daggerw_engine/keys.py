"""Cache keys: hashes of all inputs of a step."""

from __future__ import annotations

import hashlib
import json

# Increase this when a step gives another result for the same inputs: older results then no longer count.
MEANING = 1


def key_of(*parts: object) -> str:
    """Return the cache key of JSON values and of dataclasses with a `key`."""
    text = json.dumps([MEANING, *parts], default=lambda value: value.key, sort_keys=True)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
