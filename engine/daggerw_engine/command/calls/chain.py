"""Execution of a chain of calls: the module's functions in its process, then the engine's over its API."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from daggerw_engine.command.arguments.parsing import FunctionCall
from daggerw_engine.command.arguments.values import LOADERS, Loaded
from daggerw_engine.command.modules.typedefs import Catalogue
from daggerw_engine.errors import ApiError, UsageError

if TYPE_CHECKING:
    from daggerw_engine.api.session import Session
    from daggerw_engine.command.modules.module import ModuleProcess


def complete_chain(
    calls: Sequence[FunctionCall], catalogue: Catalogue, output: str | None, command: str
) -> list[FunctionCall]:
    """Return the calls, plus Dagger's last call on an object: `export` for --output, else `sync`."""
    name = calls[-1].function.returns.name
    owner = catalogue.object(name)
    if owner is None:
        return list(calls)
    if output is None:
        sync = owner.functions.get("sync")
        return [*calls, FunctionCall(owner, sync)] if sync else list(calls)
    if (export := owner.functions.get("export")) is None:
        raise UsageError(f"--output: a {name} can't be saved", command)
    return [*calls, FunctionCall(owner, export, {"path": output})]


class Chain:
    """Calls of one command line, run in order."""

    def __init__(self, catalogue: Catalogue, session: Session, process: ModuleProcess) -> None:
        self._catalogue, self._session, self._process = catalogue, session, process

    async def run(self, calls: Sequence[FunctionCall]) -> object:
        """Return the last call's result: a value, an ID, a module object's state, or a list of them."""
        inputs = await asyncio.gather(*(self._inputs(call) for call in calls))
        result: object = {}
        for call, values in zip(calls, inputs, strict=True):
            result = await self._call(call, result, values)
        return result

    async def _inputs(self, call: FunctionCall) -> dict[str, object]:
        values = await asyncio.gather(*map(self._load, call.inputs.values()))
        return dict(zip(call.inputs, values, strict=True))

    async def _load(self, value: object) -> object:
        """Return the value, or the ID of the object that the engine loads for it."""
        if isinstance(value, list):
            return await asyncio.gather(*map(self._load, value))
        if not isinstance(value, Loaded):
            return value
        answer: object = await self._session.query(LOADERS[value.type], dict(value.variables))
        while isinstance(answer, dict):
            (answer,) = answer.values()
        return answer

    async def _call(self, call: FunctionCall, parent: object, inputs: Mapping[str, object]) -> object:
        if isinstance(parent, list):
            return [await self._call(call, entry, inputs) for entry in parent]
        if parent is None:
            raise ApiError(f"{call.function.name}: there is no {call.owner.name} to call it on")
        if call.owner.name in self._catalogue.module.objects:
            return await self._invoke(call, parent, inputs)
        return await self._query(call, parent, inputs)

    async def _invoke(self, call: FunctionCall, parent: object, inputs: Mapping[str, object]) -> object:
        """Call a module's function; grant it the objects in its arguments, and us those in its result."""
        self._session.hand_to_module([parent, dict(inputs)])
        result = await self._process.invoke(call.owner.name, parent, call.function.name, inputs)
        self._session.take_from_module(result)
        return result

    async def _query(self, call: FunctionCall, parent: object, inputs: Mapping[str, object]) -> object:
        """Call an engine function on the object with the ID `parent`."""
        function = call.function
        wires = {entry.name: entry.wire for entry in function.arguments if entry.name in inputs}
        declared = "".join(f", ${name}: {wire}" for name, wire in wires.items())
        given = ", ".join(f"{name}: ${name}" for name in wires)
        # A function that gives an ID itself (`sync`, `start`) has nothing below it to select.
        is_object = function.returns.name in self._catalogue.engine.objects and "ID" not in function.wire
        field = f"{function.name}{f'({given})' if given else ''}{' { id }' if is_object else ''}"
        on_parent = f"... on {call.owner.name} {{ {field} }}"
        document = f"query ($node: ID!{declared}) {{ node(id: $node) {{ {on_parent} }} }}"
        answer = await self._session.query(document, {"node": parent, **inputs})
        return _pick(answer, ["node", function.name, *(["id"] if is_object else [])])


def _pick(answer: object, path: Sequence[str]) -> object:
    """Return the value at `path` in a response, through lists, as deep as the path goes."""
    if isinstance(answer, list):
        return [_pick(entry, path) for entry in answer]
    return _pick(answer[path[0]], path[1:]) if path and isinstance(answer, dict) else answer
