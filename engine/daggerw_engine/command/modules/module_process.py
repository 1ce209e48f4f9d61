"""Process of a module: imports the user's module, describes it, runs its functions.

Started by path, as `module_process.py describe|serve SOURCE MODULE:OBJECT`, so that a module can't import the
engine by accident. Requests and replies are lines of JSON on the original stdin and stdout; the module's own
output goes to stderr. The first line has the engine's address. It is read after the import of dagger-io:
meanwhile the engine starts.
"""

from __future__ import annotations

import asyncio
import enum
import functools
import gc
import importlib
import json
import logging
import os
import sys
import traceback
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import beartype

if TYPE_CHECKING:
    from dagger.mod._module import Module
    from dagger.mod._resolver import Function, ObjectType

SCALARS = {str: "String", int: "Int", float: "Float", bool: "Boolean", None: "Void", type(None): "Void"}


def main(command: str, source: str, entry: str) -> int:
    """Serve until stdin closes; return status 1 when the module can't be imported."""
    requests, replies = _take_over_standard_streams()
    if not os.environ.get("DAGGERW_VERBOSE"):
        logging.getLogger("dagger").setLevel(logging.CRITICAL)
    try:
        _import_sdk()
        if command == "describe":
            _send(replies, {"result": describe(load(source, entry))})
            return 0
        if first := requests.readline():
            _apply_settings(**json.loads(first))
            asyncio.run(serve(load(source, entry), requests, replies))
    except Exception as error:
        _send(replies, {"error": {"message": _load_error(error, source), "extensions": {}}})
        return 1
    return 0


def _import_sdk() -> None:
    """Import dagger-io; its 800 argument checkers, half of its import time, are made at first use."""
    made = beartype.beartype
    gc.disable()  # it creates no garbage
    beartype.beartype = lambda *, conf: _decorate_late(made(conf=conf))  # type: ignore[assignment]
    try:
        importlib.import_module("dagger")
    finally:
        beartype.beartype = made
        gc.freeze()
        gc.enable()


def _decorate_late(check: Callable[[Any], Any]) -> Callable[[type], type]:
    """Return a class decorator that applies `check` to each method at its first call."""

    def decorate(kind: type) -> type:
        for name, method in list(vars(kind).items()):
            if isinstance(method, types.FunctionType):
                setattr(kind, name, decorate_later(kind, name, method))
        return kind

    def decorate_later(kind: type, name: str, method: types.FunctionType) -> Callable[..., Any]:
        @functools.wraps(method)
        def first(*args: Any, **kwargs: Any) -> Any:
            # Beartype only knows what Self is when it decorates the class.
            hints = method.__annotations__
            method.__annotations__ = {
                each: kind if hint is typing.Self else hint for each, hint in hints.items()
            }
            checked = check(method)
            setattr(kind, name, checked)
            return checked(*args, **kwargs)

        return first

    return decorate


def _apply_settings(env: dict[str, str], workdir: str) -> None:
    os.environ.update(env)
    os.chdir(workdir)


def load(source: str, entry: str) -> Module:
    """Import `entry` (`main:Ci`) from the folder `source` and return the SDK's registry."""
    from dagger.mod._module import Module

    sys.path[:0] = [str(Path(source, "src")), source]
    name, _, attribute = entry.partition(":")
    registry = getattr(getattr(importlib.import_module(name), attribute), "__dagger_module__", None)
    if not isinstance(registry, Module):
        raise TypeError(f"{entry} is not a class decorated with @dagger.object_type")
    return registry


async def serve(module: Module, requests: IO[str], replies: IO[str]) -> None:
    """Handle requests in order, over one connection to the engine."""
    import dagger

    async with await dagger.connect():
        while line := await asyncio.to_thread(requests.readline):
            _send(replies, await _answer(module, json.loads(line)))


async def _answer(module: Module, request: dict[str, Any]) -> dict[str, Any]:
    import dagger

    try:
        return {"result": await module.get_result(**request)}
    except dagger.QueryError as error:
        return {"error": {"message": str(error), "extensions": error.error.extensions}}
    except Exception as error:
        text = str(error) or repr(error.__cause__ or error)
        return {"error": {"message": f"{_kind(error)}: {text}", "extensions": {}}}


def _kind(error: Exception) -> str:
    """Return an error's name as Dagger shows it: without the module for errors of the SDK."""
    from dagger.mod._exceptions import ModuleError

    kind = type(error)
    plain = isinstance(error, ModuleError) or kind.__module__ == "builtins"
    return kind.__qualname__ if plain else f"{kind.__module__}.{kind.__qualname__}"


def _load_error(error: Exception, source: str) -> str:
    """Return the error and the module's own line that raised it."""
    if os.environ.get("DAGGERW_VERBOSE"):
        traceback.print_exception(error)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(source)]
    where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{where}"


def _take_over_standard_streams() -> tuple[IO[str], IO[str]]:
    requests, replies = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    # Flushed line by line: a parent that ends this process does not wait for buffers.
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    return requests, replies


def _send(replies: IO[str], message: dict[str, Any]) -> None:
    replies.write(json.dumps(message) + "\n")
    replies.flush()


def describe(module: Module) -> dict[str, Any]:
    """Return the module's types in the shape of `daggerw_engine.command.modules.typedefs.Types`."""
    enums: dict[str, list[str]] = {}
    objects = {name: _describe_object(module, entry, enums) for name, entry in module._objects.items()}
    return {"main": module.main_cls.__name__, "objects": objects, "enums": enums}


def _describe_object(module: Module, entry: ObjectType[Any], enums: dict[str, list[str]]) -> dict[str, Any]:
    hints = typing.get_type_hints(entry.cls)
    functions = {
        name: _describe_field(name, hints[field.original_name], enums) for name, field in entry.fields.items()
    }
    functions |= {
        name: _describe_function(name, function, enums) for name, function in entry.functions.items() if name
    }
    constructor = None
    if module.is_main(entry):
        constructor = _describe_function("", entry.get_constructor(module._converter), enums)
    return {"name": entry.cls.__name__, "functions": functions, "constructor": constructor}


def _describe_field(name: str, hint: object, enums: dict[str, list[str]]) -> dict[str, Any]:
    return {"name": name, "returns": _describe_type(hint, enums), "doc": "", "arguments": []}


def _describe_function(
    name: str, function: Function[Any, Any], enums: dict[str, list[str]]
) -> dict[str, Any]:
    arguments = [
        {
            "name": parameter.name,
            "type": _describe_type(parameter.resolved_type, enums),
            "doc": parameter.doc or "",
            "default": parameter.default_value,
            "default_path": parameter.default_path,
            "default_address": parameter.default_address,
            "ignore": parameter.ignore or [],
        }
        for parameter in function.parameters.values()
    ]
    return {
        "name": name,
        "returns": _describe_type(function.return_type, enums),
        "doc": function.doc or "",
        "arguments": arguments,
        "cache": function.cache_policy or "",
        "check": function.check,
    }


def _describe_type(annotation: object, enums: dict[str, list[str]]) -> dict[str, Any]:
    from beartype.door import TypeHint
    from dagger.mod import _utils as sdk

    hint = TypeHint(annotation)
    optional = sdk.is_nullable(hint)
    plain: Any = hint.hint if annotation in SCALARS else sdk.non_null(hint).hint
    if element := sdk.list_of(plain):
        return {**_describe_type(element, enums), "many": True, "optional": optional}
    if isinstance(plain, type) and issubclass(plain, enum.Enum):
        enums[plain.__name__] = [member.name for member in plain]
    return {"name": SCALARS.get(plain) or plain.__name__, "many": False, "optional": optional}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
