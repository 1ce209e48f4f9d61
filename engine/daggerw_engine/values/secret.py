"""A secret, as it is passed to steps."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Secret:
    """A plaintext that no repr shows; `key` stands for it in cache keys and IDs.

    As Dagger has it, only setSecret gives a name, and only secret() a URI.
    """

    name: str
    uri: str
    key: str
    text: str = field(repr=False, compare=False)
