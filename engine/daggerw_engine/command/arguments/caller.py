"""Caller of the command line: arguments, folder, environment, and the settings in them."""

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
    """Arguments, folder and environment of a call, read once, in `main`.

    `default` is the folder of the fallback module: the wrapper's own project. The wrapper locks the file
    `packages_lock` while it installs Debian's packages.
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
        """Upper limit of the cache, in bytes."""
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
        """Return the display mode of progress, from the options and TERM."""
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
