"""Providers of secrets: sources of plaintexts, and the keys that replace plaintexts in IDs and caches.

A plaintext is text with surrogates for bytes that are not UTF-8, so that files and outputs keep their bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from subprocess import DEVNULL, PIPE

from daggerw_engine.errors import EngineError, NotOfferedError, PathError
from daggerw_engine.values.secret import Secret

SALT_BYTES = 32


@dataclass(frozen=True)
class Plaintext:
    """Plaintext given to setSecret, as an argument of a call: its ID shows nothing of it."""

    id: str
    text: str = field(repr=False)


class Secrets:
    """Factory of secrets. Only a reader of `folder` can check a guess against their keys."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def of(self, uri: str, cache_key: str | None = None) -> Secret:
        """Return the secret at env:NAME, file:PATH or cmd:COMMAND, also with // after the colon.

        Raises EngineError when there is none, NotOfferedError for the providers of the Dagger engine.
        """
        scheme, colon, rest = uri.partition(":")
        rest = rest.removeprefix("//")
        if not colon:  # perhaps the plaintext, given by mistake
            raise EngineError("a secret is given as env://NAME, file://PATH or cmd://COMMAND")
        match scheme:
            case "env":
                text = _variable(rest)
            case "file":
                text = await asyncio.to_thread(_file, rest)
            case "cmd":
                text = await _output(rest)
            case _:
                raise NotOfferedError(f"the secret provider {scheme!r}")
        return Secret("", uri, self._key(f"cache key {cache_key}") if cache_key else self._key(text), text)

    def hide(self, plaintext: str) -> Plaintext:
        """Return a plaintext as an argument that can be hashed into IDs."""
        return Plaintext(self._key(plaintext), plaintext)

    def set(self, name: str, plaintext: Plaintext) -> Secret:
        """Return a secret whose plaintext the caller has."""
        return Secret(name, "", plaintext.id, plaintext.text)

    def _key(self, text: str) -> str:
        found = hashlib.scrypt(_bytes(text), salt=self._salt, n=1 << 11, r=8, p=1, dklen=32)
        return f"secret:{found.hex()}"

    @cached_property
    def _salt(self) -> bytes:
        """Return the folder's salt, which the first session creates whole, by a hard link."""
        path = self._folder / "salt"
        if not path.exists():
            fresh = self._folder / f"salt-{secrets.token_hex(8)}"
            try:
                fresh.touch(0o600)
                fresh.write_bytes(secrets.token_bytes(SALT_BYTES))
                os.link(fresh, path)
            except FileExistsError:  # another session was first
                pass
            finally:
                fresh.unlink(missing_ok=True)
        return path.read_bytes()


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _text(found: bytes) -> str:
    return found.decode(errors="surrogateescape")


def _variable(name: str) -> str:
    if name not in os.environ:
        shown = f"{name[:3]}..." if len(name) > 3 else name  # it may be the plaintext, given by mistake
        raise EngineError(f"secret env var not found: {shown!r}")
    return os.environ[name]


def _file(path: str) -> str:
    try:
        return _text(Path(path).expanduser().read_bytes())
    except (OSError, RuntimeError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise PathError(f"failed to read secret file {path!r}: {reason}") from None


async def _output(command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
    )
    try:
        out, _ = await process.communicate()
    except BaseException:
        process.kill()
        raise
    if process.returncode:
        raise EngineError(f"failed to run secret command {command!r}: exit status {process.returncode}")
    return _text(out)
