"""Type definitions of modules and of the engine: objects, functions, arguments."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from daggerw_engine.errors import disk_errors

_WORD_ENDS = re.compile(
    r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[a-z])"
)


def command_name(name: str) -> str:
    """Return `name` as Dagger's command line spells it: `withExec` is `with-exec`, `e2e` is `e-2-e`."""
    return _WORD_ENDS.sub("-", re.sub(r"[ _.]", "-", name)).lower()


@dataclass(frozen=True)
class TypeRef:
    """Type of an argument or a result: `name`, or a list of it; `optional` if it can be null."""

    name: str
    many: bool = False
    optional: bool = False


@dataclass(frozen=True)
class Argument:
    """One argument. `default` is JSON, `wire` the GraphQL type (of the engine's own functions only)."""

    name: str
    type: TypeRef
    doc: str = ""
    default: str | None = None
    default_path: str | None = None
    default_address: str | None = None
    ignore: tuple[str, ...] = ()
    wire: str = ""

    @property
    def flag(self) -> str:
        return command_name(self.name)

    @property
    def is_required(self) -> bool:
        defaults = (self.default, self.default_path, self.default_address)
        return not self.type.optional and defaults == (None, None, None)


@dataclass(frozen=True)
class Function:
    """One function; a constructor has no name. `wire` as an argument's.

    `cache` is the lifetime of its results as the module sets it: "" for Dagger's seven days.
    """

    name: str
    returns: TypeRef
    doc: str = ""
    arguments: tuple[Argument, ...] = ()
    wire: str = ""
    cache: str = ""
    check: bool = False

    @property
    def needs_nothing(self) -> bool:
        """Return whether the function can be called without arguments."""
        return not any(argument.is_required for argument in self.arguments)


@dataclass(frozen=True)
class ObjectType:
    """Object type with its functions, by their command-line names."""

    name: str
    functions: Mapping[str, Function]
    constructor: Function | None = None


@dataclass(frozen=True)
class Types:
    """All types of either the module or the engine; `main` is the module's main object."""

    main: str
    objects: Mapping[str, ObjectType]
    enums: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Types:
        """Build from the JSON of `dataclasses.asdict` or of the module's process."""
        return cls(
            main=raw["main"],
            objects={name: _object(entry) for name, entry in raw["objects"].items()},
            enums={name: tuple(members) for name, members in raw["enums"].items()},
        )


@dataclass
class Catalogue:
    """Types of the module and, loaded on demand, of the engine."""

    module: Types
    load_engine: Callable[[], Types]

    @cached_property
    def engine(self) -> Types:
        return self.load_engine()

    @property
    def main(self) -> ObjectType:
        return self.module.objects[self.module.main]

    @property
    def constructor(self) -> Function:
        """Constructor of the main object: the first function of every chain."""
        assert self.main.constructor is not None
        return self.main.constructor

    def object(self, name: str) -> ObjectType | None:
        return self.module.objects.get(name) or self.engine.objects.get(name)

    def enum(self, name: str) -> tuple[str, ...] | None:
        return self.module.enums.get(name) or self.engine.enums.get(name)


def kept_types(path: Path, *, key: str, make: Callable[[], Mapping[str, Any]]) -> Types:
    """Return the types stored in the file `path` under `key`, else store and return those of `make`."""
    try:
        kept = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        kept = {}
    if kept.get("key") != key:
        kept = {"key": key, "types": make()}
        with disk_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(f".{os.getpid()}")
            part.write_text(json.dumps(kept))
            part.replace(path)
    return Types.from_json(kept["types"])


def _object(raw: Mapping[str, Any]) -> ObjectType:
    functions = [_function(entry) for entry in raw["functions"].values()]
    constructor = raw["constructor"]
    return ObjectType(
        name=raw["name"],
        functions={command_name(function.name): function for function in functions},
        constructor=_function(constructor) if constructor else None,
    )


def _function(raw: Mapping[str, Any]) -> Function:
    arguments = tuple(_argument(entry) for entry in raw["arguments"])
    return Function(**{**raw, "returns": TypeRef(**raw["returns"]), "arguments": arguments})


def _argument(raw: Mapping[str, Any]) -> Argument:
    return Argument(**{**raw, "type": TypeRef(**raw["type"]), "ignore": tuple(raw["ignore"])})
