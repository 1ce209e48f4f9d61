"""Secret of a step."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Secret:
    """Plaintext that no repr shows; `key` represents it in cache keys and IDs.

    As in Dagger, only setSecret gives a name, and only secret() a URI.
    """

    name: str
    uri: str
    key: str
    text: str = field(repr=False, compare=False)
