"""Prompt for a call's changeset: it is shown, and applied when the user agrees."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from daggerw_engine.errors import EngineError

if TYPE_CHECKING:
    from daggerw_engine.api.session import Session

TERMINAL = "/dev/tty"
FOUND = "query ($id: ID!) { node(id: $id) { ... on Changeset { addedPaths modifiedPaths removedPaths } } }"
APPLY = 'query ($id: ID!) { node(id: $id) { ... on Changeset { export(path: ".") } } }'
SIGNS = {"addedPaths": "+", "modifiedPaths": "~", "removedPaths": "-"}


async def offer(session: Session, id_: str, *, apply: bool, show: Callable[[str], None]) -> None:
    """Show the changes and apply them to the current folder, without a prompt if `apply`.

    Raises EngineError when there is no terminal for the prompt.
    """
    found = (await session.query(FOUND, {"id": id_}))["node"]
    lines = [f"{sign} {path}\n" for name, sign in SIGNS.items() for path in found[name] if path[-1] != "/"]
    if not lines:
        show("no changes to apply\n")
        return
    show("".join(lines))
    if apply or await _prompt(f"Apply changes to {len(lines)} files? [y/N] "):
        await session.query(APPLY, {"id": id_})


async def _prompt(question: str) -> bool:
    try:
        terminal = os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY)
    except OSError as error:
        raise EngineError(
            "the changes are not applied, as there is no terminal for the prompt: add --auto-apply, or "
            "`export --path FOLDER`"
        ) from error
    try:
        os.write(terminal, question.encode())
        return (await _line(terminal)).strip().lower() in ("y", "yes")
    finally:
        os.close(terminal)


async def _line(terminal: int) -> str:
    """Return the typed line; no thread reads it, which an interrupt would leave waiting."""
    loop = asyncio.get_running_loop()
    typed: asyncio.Future[bytes] = loop.create_future()
    loop.add_reader(terminal, lambda: _read(terminal, typed))
    try:
        return (await typed).decode(errors="replace")
    finally:
        loop.remove_reader(terminal)


def _read(terminal: int, typed: asyncio.Future[bytes]) -> None:
    if not typed.done():
        typed.set_result(os.read(terminal, 1024))
