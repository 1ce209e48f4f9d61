"""Dagger's GraphQL API over a session: chains are recorded, and evaluated when a value is asked for."""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING, Any

import graphql

from daggerw_engine.api.calls import ROOT, Call
from daggerw_engine.errors import ApiError, EngineError, NotOfferedError

if TYPE_CHECKING:
    from daggerw_engine.api.session import Client, Session

    ResolveInfo = graphql.GraphQLResolveInfo[Any]

SDL = Path(__file__).with_name("schema.graphqls")
UNKNOWN_FIELD = re.compile(r"Cannot query field '(?P<field>\w+)' on type '(?P<type>\w+)'")
UNKNOWN_VALUE = re.compile(r"Value '(?P<value>\w+)' does not exist in '(?P<type>\w+)' enum")
UNKNOWN_TYPE = re.compile(r"Unknown type '(?P<type>\w+)'")
UNKNOWN_ARGUMENT = re.compile(r"Unknown argument '(?P<argument>\w+)' on field '(?P<field>[\w.]+)'")
RELATIVE_TO_CALLER = frozenset({"Host.directory", "Host.file", "Host.unixSocket", "CurrentModule.workdir"})
ACTS_FOR_CALLER = frozenset({"export"})


def load_schema() -> graphql.GraphQLSchema:
    """Return the schema of what this engine offers."""
    return graphql.build_schema(SDL.read_text())


class Api:
    """Answers GraphQL requests."""

    def __init__(self, session: Session, schema: graphql.GraphQLSchema) -> None:
        self._session, self._schema = session, schema

    async def execute(
        self,
        client: Client,
        document: str,
        variables: Mapping[str, Any] | None = None,
        operation: str | None = None,
    ) -> dict[str, Any]:
        """Return a GraphQL answer: `data`, and `errors` when something went wrong."""
        try:
            parsed = graphql.parse(document)
        except graphql.GraphQLError as error:
            return {"errors": [error.formatted]}
        if invalid := graphql.validate(self._schema, parsed):
            return {"errors": [_named(error) for error in invalid]}
        result = graphql.execute(
            self._schema,
            parsed,
            root_value=ROOT,
            context_value=client,
            variable_values=dict(variables or {}),
            operation_name=operation,
            field_resolver=self._resolve,
            type_resolver=lambda value, *_: value.type,
        )
        done = result if isinstance(result, graphql.ExecutionResult) else await result
        return dict(done.formatted)

    def _resolve(self, source: Any, info: ResolveInfo, /, **arguments: Any) -> Any:
        if not isinstance(source, Call):
            return _plain(source, info.field_name)
        if info.field_name == "id":
            return self._session.given(source)
        if info.field_name == "node":
            return self._session.call(arguments["id"])
        called = self._call(source, info, arguments)
        named = graphql.get_named_type(info.return_type)
        if graphql.is_list_type(graphql.get_nullable_type(info.return_type)) and graphql.is_object_type(
            named
        ):
            return self._elements(called)
        if graphql.is_object_type(named):
            return called
        return self._value(called, source, info)

    def _call(self, source: Call, info: ResolveInfo, arguments: dict[str, Any]) -> Call:
        client: Client = info.context
        field = info.parent_type.fields[info.field_name]
        given = {name: self._loaded(value, field.args[name]) for name, value in arguments.items()}
        if f"{info.parent_type.name}.{info.field_name}" in RELATIVE_TO_CALLER:
            given["path"] = str(client.path(given["path"]))
        if info.field_name == "secret":
            given["uri"] = client.secret(given["uri"])
        if given.get("noCache"):
            given["noCache"] = str(uuid.uuid4())
        if info.field_name == "setSecret":
            given["plaintext"] = self._session.secrets.hidden(given["plaintext"])
        if info.field_name == "currentModule" and not client.confined:
            raise EngineError("no current module")
        named = graphql.get_named_type(info.return_type).name
        return Call.to(named, info.field_name, given, source)

    def _loaded(self, value: Any, argument: graphql.GraphQLArgument) -> Any:
        if graphql.get_named_type(argument.type).name != "ID" or value is None:
            return value
        if isinstance(value, list):
            return [self._session.call(each) for each in value]
        return self._session.call(value)

    async def _value(self, called: Call, source: Call, info: ResolveInfo) -> Any:
        extra = {"client": info.context} if info.field_name in ACTS_FOR_CALLER else {}
        value = await self._session.ask(called, **extra)
        return self._session.given(source) if graphql.get_named_type(info.return_type).name == "ID" else value

    async def _elements(self, called: Call) -> list[Call]:
        found = await self._session.evaluate(called)
        return [Call.to(called.type, "item", {"index": index}, called) for index in range(len(found))]


def _plain(source: Any, field: str) -> Any:
    return source[field] if isinstance(source, dict) else getattr(source, snake(field))


def _named(error: graphql.GraphQLError) -> dict[str, Any]:
    said = error.message
    if unknown := UNKNOWN_FIELD.search(said):
        what = f"{unknown['type']}.{unknown['field']}"
    elif unknown := UNKNOWN_ARGUMENT.search(said):
        what = f"the argument {unknown['argument']!r} of {unknown['field']}"
    elif unknown := UNKNOWN_VALUE.search(said):
        what = f"{unknown['type']}.{unknown['value']}"
    elif unknown := UNKNOWN_TYPE.search(said):
        what = unknown["type"]
    else:
        return dict(error.formatted)
    return {"message": str(NotOfferedError(what))}


def snake(name: str) -> str:
    """Return a field's or argument's name as Python has it."""
    text = re.sub(r"(?<=[a-z0-9])([A-Z])", lambda m: "_" + m[1].lower(), name)
    return f"{text}_" if iskeyword(text) else text


def field_method(fields: object, name: str) -> Callable[..., Awaitable[Any]]:
    """Return the method behind a field; EngineError tells of a hole in the engine."""
    found = getattr(fields, snake(name), None)
    if found is None:
        raise EngineError(f"no method for the field {name!r} in {type(fields).__name__}")
    method: Callable[..., Awaitable[Any]] = found
    return method


def data_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return an answer's data; ApiError with the first error when it has any."""
    if errors := answer.get("errors"):
        raise ApiError(errors[0]["message"], errors[0].get("extensions"))
    data: dict[str, Any] = answer["data"]
    return data
