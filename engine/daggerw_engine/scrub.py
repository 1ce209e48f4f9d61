"""Removal of secrets from all displayed text."""

from __future__ import annotations

import re
from collections.abc import Iterable

from daggerw_engine.process import Completed

SHOWN = "***"
SHORTEST_LINE = 8  # of a multi-line secret, such as a key file; a shorter line may be any word


class Scrubber:
    """Replacement of registered plaintexts, also trimmed, and of the lines of long ones."""

    def __init__(self) -> None:
        self._plaintexts: set[str] = set()
        self._pattern = re.compile(r"(?!)")

    def hide(self, plaintext: str) -> None:
        """Register a plaintext for replacement."""
        lines = {line.strip() for line in plaintext.splitlines()}
        found = {plaintext, plaintext.strip(), *(line for line in lines if len(line) >= SHORTEST_LINE)}
        if found - self._plaintexts - {""}:
            self._plaintexts |= found - {""}
            longest_first = sorted(self._plaintexts, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def __call__(self, text: str) -> str:
        """Return the text with *** for each plaintext in it."""
        return self._pattern.sub(SHOWN, text)


def scrub_output(done: Completed, plaintexts: Iterable[str]) -> Completed:
    """Return a process's result without its secrets."""
    scrub = Scrubber()
    for plaintext in plaintexts:
        scrub.hide(plaintext)
    return Completed(done.status, *map(scrub, (done.stdout, done.stderr, done.combined)))
