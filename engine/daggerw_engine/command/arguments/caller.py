"""Caller of the command line: its words, folder and environment, and the settings read from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from daggerw_engine.command.arguments.parsing import Parsed
from daggerw_engine.errors import UsageError
from daggerw_engine.progress import Mode

NAME = "daggerw"
KEEP_PRIVILEGES = "DAGGERW_EXPORT_PRIVILEGES"


@dataclass(frozen=True)
class Caller:
    """Words, folder and environment of a call, read once, in `main`.

    `default` is the folder of the module that is called where there is none: the wrapper's own project.
    The wrapper holds the file `packages_lock` while it installs Debian's packages.
    """

    words: Sequence[str]
    folder: Path
    environment: Mapping[str, str]
    default: Path | None = None
    packages_lock: Path | None = None

    @property
    def cache(self) -> Path:
        base = self.environment.get("XDG_CACHE_HOME") or Path(self.environment.get("HOME", "/root"), ".cache")
        return Path(base, NAME)

    @property
    def max_cache_bytes(self) -> int:
        """Most bytes that the cache may hold."""
        from daggerw_engine.store.pruning import BOUND

        text = self.environment.get("DAGGERW_CACHE_BYTES") or str(BOUND)
        if not text.isdecimal():
            raise UsageError(f"DAGGERW_CACHE_BYTES is {text!r}; expected a number of bytes")
        return int(text)

    @property
    def privileges(self) -> bool:
        """Return whether exported files keep setuid bits and capabilities."""
        return self.environment.get(KEEP_PRIVILEGES) == "1"

    def progress_mode(self, parsed: Parsed) -> Mode:
        """Return how progress is shown, as options and TERM say."""
        if "silent" in parsed.options:
            return "silent"
        if "quiet" in parsed.options:
            return "quiet"
        match parsed.options.get("progress", ["auto"])[-1]:
            case "auto":
                return "plain" if self.environment.get("TERM") == "dumb" else "auto"
            case "plain":
                return "plain"
            case other:
                raise UsageError(f"--progress: expected auto or plain, not {other!r}", parsed.command)
