"""Chains of calls: unevaluated objects of the API.

A call's ID is a hash of its field, its arguments and its parent's ID. Equal chains are therefore one object,
which a session evaluates once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Call:
    """One step of a chain: the object of type `type` that `field` gives on `parent`."""

    type: str
    field: str
    arguments: Mapping[str, object]
    parent: Call | None
    id: str

    @classmethod
    def to(cls, type_: str, field_: str, arguments: Mapping[str, object], parent: Call | None) -> Call:
        """Return the call with its ID; arguments are JSON values, calls, or lists of them."""
        said = [type_, field_, arguments, parent.id if parent else ""]
        text = json.dumps(said, default=lambda call: call.id, sort_keys=True)
        return cls(
            type_, field_, arguments, parent, f"{type_}:{hashlib.sha256(text.encode()).hexdigest()[:32]}"
        )


ROOT = Call("Query", "", {}, None, "Query:")
