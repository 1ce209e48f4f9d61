"""Evaluation of calls, each once in a session, on the evaluated parent and arguments."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from keyword import iskeyword
from typing import Any

from daggerw_engine.api.queries.calls import ROOT, Call
from daggerw_engine.errors import EngineError, disk_errors


class Items:
    """A small object of a list, such as a label: its fields are the values themselves."""


class Evaluation:
    """Evaluator of a session's calls; `fields` maps each type to the object whose methods are its fields."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = fields
        self._values: dict[str, Any] = {ROOT.id: None}
        self._running: dict[str, asyncio.Task[Any]] = {}

    async def close(self) -> None:
        """Cancel running evaluations and wait for their end."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def evaluate(self, call: Call) -> Any:
        """Return the value behind a call; later queries get the same one."""
        if call.id in self._values:
            return self._values[call.id]
        if call.id not in self._running:
            task = asyncio.create_task(self.evaluate_field(call))
            self._running[call.id] = task
            task.add_done_callback(lambda done: self._keep_value(call.id, done))
        return await asyncio.shield(self._running[call.id])

    def _keep_value(self, id_: str, done: asyncio.Task[Any]) -> None:
        del self._running[id_]
        if not done.cancelled() and not done.exception():
            self._values[id_] = done.result()

    async def evaluate_field(self, call: Call, **extra: object) -> Any:
        """Return a field's value on its evaluated parent, without keeping it."""
        parent = call.parent or ROOT
        value = await self.evaluate(parent)
        if call.field == "item":
            return item_of(value, call)
        fields = self._fields[parent.type]
        if isinstance(fields, Items):
            return value[call.field] if isinstance(value, dict) else getattr(value, snake(call.field))
        arguments = {snake(name): await self._argument(given) for name, given in call.arguments.items()}
        with disk_errors():
            return await field_method(fields, call.field)(value, **arguments, **extra)

    async def _argument(self, given: object) -> object:
        """Return an argument with each call in it replaced by its value."""
        if isinstance(given, list):
            return [await self._argument(each) for each in given]
        return await self.evaluate(given) if isinstance(given, Call) else given


def item_of(found: Sequence[Any], call: Call) -> Any:
    """Return the element of a list that a call stands for."""
    return found[int(str(call.arguments["index"]))]


def snake(name: str) -> str:
    """Return the Python name of a field or an argument."""
    text = re.sub(r"(?<=[a-z0-9])([A-Z])", lambda m: "_" + m[1].lower(), name)
    return f"{text}_" if iskeyword(text) else text


def field_method(fields: object, name: str) -> Callable[..., Awaitable[Any]]:
    """Return the method of a field; EngineError when the engine lacks it, which is a defect."""
    found = getattr(fields, snake(name), None)
    if found is None:
        raise EngineError(f"no method for the field {name!r} in {type(fields).__name__}")
    method: Callable[..., Awaitable[Any]] = found
    return method
