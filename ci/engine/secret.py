"""Secrets: where their plaintext comes from, and what stands for it where it must not be shown."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Secret:
    """A plaintext that no repr shows; `key` stands for it in cache keys and IDs."""

    name: str
    uri: str
    key: str
    text: str = field(repr=False, compare=False)
