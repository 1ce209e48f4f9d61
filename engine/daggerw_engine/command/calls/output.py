"""Output of a call: results on stdout or in the file of --output, errors on stderr."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from daggerw_engine.command.modules.typedefs import TypeRef
from daggerw_engine.errors import EngineError

FAILED = 1


def identities(result: object, returns: TypeRef, head: str = "") -> str:
    """Return a line for each object without a text, as Dagger prints it: its type and a digest."""
    if isinstance(result, list):
        return "".join(identities(entry, returns, "- ") for entry in result)
    digest = hashlib.sha256(json.dumps(result, sort_keys=True).encode()).hexdigest()
    return f"{head}{returns.name}@sha256:{digest}\n"


def text_of(result: object, *, as_json: bool) -> str:
    """Return a value as Dagger prints it: one line for each list entry, nothing for null."""
    if as_json:
        return json.dumps(result, indent=4, ensure_ascii=False) + "\n"
    if isinstance(result, list):
        return "".join(text_of(entry, as_json=False) for entry in result)
    if result is None:
        return ""
    if not isinstance(result, str):
        result = re.sub(r"\.0$", "", json.dumps(result))
    return result if result.endswith("\n") else f"{result}\n"


def save(path: Path, text: str) -> None:
    """Write a text to a file, creating missing folders; EngineError when that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_bytes(text))
    except OSError as error:
        raise EngineError(f"--output: {error}") from error
    print(f"Saved output to {json.dumps(str(path))}.", file=sys.stderr)


def write(text: str) -> int:
    """Write a text to stdout and return 0; EngineError when that fails, BrokenPipeError without a reader."""
    try:
        sys.stdout.buffer.write(_bytes(text))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as refused:
        raise EngineError(f"standard output: {refused.strerror}") from refused
    return 0


def say(text: str, status: int) -> int:
    """Print a line to stderr and return `status`."""
    print(text, file=sys.stderr)
    return status


def report(error: EngineError, scrub: Callable[[str], str] = str) -> int:
    """Print an error and its code; of a failed command also the output, and return its status."""
    say(scrub(f"Error: {error}"), FAILED)
    extensions = error.extensions
    if code := extensions.get("code"):  # an error of the module's has its own line of this kind
        say(f"runbook: {code}", FAILED)
    if extensions.get("_type") != "EXEC_ERROR":
        return FAILED
    for title, key in (("Stdout:", "stdout"), ("Stderr:", "stderr")):
        if text := str(extensions.get(key) or ""):
            say(scrub(f"{title}\n{text}"), FAILED)
    status = extensions.get("exitCode")
    return status if isinstance(status, int) and status > 0 else FAILED


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")  # surrogates stand for bytes of a file that are not UTF-8
