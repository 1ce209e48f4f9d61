"""Resolver of Dagger's GraphQL API: it records chains, and evaluates them when a query selects a value."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import graphql

from daggerw_engine.api.clients.client import Client
from daggerw_engine.api.clients.secret_providers import Secrets
from daggerw_engine.api.queries.calls import ROOT, Call
from daggerw_engine.api.queries.evaluation import Evaluation, snake
from daggerw_engine.api.queries.object_ids import ObjectIds
from daggerw_engine.api.queries.offer import DAGGER, Offer, dagger_schema
from daggerw_engine.errors import ApiError, EngineError
from daggerw_engine.keys import key_of

if TYPE_CHECKING:
    ResolveInfo = graphql.GraphQLResolveInfo[Any]

RELATIVE_TO_CALLER = frozenset({"Host.directory", "Host.file", "Host.unixSocket", "CurrentModule.workdir"})
ACTS_FOR_CALLER = frozenset({"export"})


class Api:
    """GraphQL endpoint for Dagger's whole schema; unoffered fields give an error."""

    def __init__(self, evaluation: Evaluation, secrets: Secrets, ids: ObjectIds, folder: Path) -> None:
        self._evaluation, self._secrets, self._ids, self._folder = evaluation, secrets, ids, folder
        self._schema, self._offer = dagger_schema(), Offer()
        self._own_folders: set[str] = set()  # the user's, by the IDs of their calls

    async def execute(
        self,
        client: Client,
        document: str,
        variables: Mapping[str, Any] | None = None,
        operation: str | None = None,
    ) -> dict[str, Any]:
        """Return a GraphQL response: `data`, and `errors` when something failed."""
        try:
            parsed = graphql.parse(document)
        except graphql.GraphQLError as error:
            return {"errors": [error.formatted]}
        if invalid := graphql.validate(self._schema, parsed):
            return {"errors": [error.formatted for error in invalid]}
        if not variables and _is_introspection(parsed):
            return self._introspect(document)
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

    def _introspect(self, document: str) -> dict[str, Any]:
        """Return the response to an SDK's introspection query; cached, as it takes a tenth of a second."""
        key = key_of("introspection", DAGGER.read_text(), document)
        path = self._folder / f"schema-{key[:16]}.json"
        if not path.exists():
            result = graphql.graphql_sync(self._schema, document).formatted
            self._folder.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(f".{os.getpid()}")
            part.write_text(json.dumps(result))
            part.replace(path)
        answer: dict[str, Any] = json.loads(path.read_bytes())
        return answer

    def _resolve(self, source: Any, info: ResolveInfo, /, **arguments: Any) -> Any:
        if not isinstance(source, Call):
            return _plain(source, info.field_name)
        arguments = self._offer.accept(info.parent_type, info.field_name, arguments)
        if info.field_name == "id":
            return self._ids.give(info.context, source)
        if info.field_name == "node":
            return self._ids.resolve(info.context, arguments["id"])
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
        given = {name: self._load(client, value, field.args[name]) for name, value in arguments.items()}
        if f"{info.parent_type.name}.{info.field_name}" in RELATIVE_TO_CALLER:
            given["path"] = str(client.path(given["path"]))
        if info.field_name == "secret":
            given["uri"] = client.secret(given["uri"])
        if info.field_name == "asGit" and source.id in self._own_folders:
            given["origin"] = source.arguments["path"]  # outside of it lies what a linked work tree shares
        if given.get("noCache"):
            given["noCache"] = str(uuid.uuid4())
        if info.field_name == "setSecret":
            given["plaintext"] = self._secrets.hide(given["plaintext"])
        if info.field_name == "cacheVolume":
            given["key"] = client.volume(given["key"])
        if info.parent_type.name == "Host" and info.field_name == "service":
            client.refuse_host_services()
        if info.field_name == "currentModule" and not client.confined:
            raise EngineError("no current module")
        named = graphql.get_named_type(info.return_type).name
        called = Call.to(named, info.field_name, given, source)
        if (info.parent_type.name, info.field_name) == ("Host", "directory") and not client.confined:
            self._own_folders.add(called.id)
        return called

    def _load(self, client: Client, value: Any, argument: graphql.GraphQLArgument) -> Any:
        if graphql.get_named_type(argument.type).name != "ID" or value is None:
            return value
        if isinstance(value, list):
            return [self._ids.resolve(client, each) for each in value]
        return self._ids.resolve(client, value)

    async def _value(self, called: Call, source: Call, info: ResolveInfo) -> Any:
        extra = {"client": info.context} if info.field_name in ACTS_FOR_CALLER else {}
        value = await self._evaluation.evaluate_field(called, **extra)
        is_id = graphql.get_named_type(info.return_type).name == "ID"
        return self._ids.give(info.context, source) if is_id else value

    async def _elements(self, called: Call) -> list[Call]:
        found = await self._evaluation.evaluate(called)
        return [Call.to(called.type, "item", {"index": index}, called) for index in range(len(found))]


def _is_introspection(document: graphql.DocumentNode) -> bool:
    return all(
        isinstance(field, graphql.FieldNode) and field.name.value == "__schema" and not field.directives
        for definition in document.definitions
        if isinstance(definition, graphql.OperationDefinitionNode)
        for field in definition.selection_set.selections
    )


def _plain(source: Any, field: str) -> Any:
    return source[field] if isinstance(source, dict) else getattr(source, snake(field))


def data_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a response's data; ApiError with the first error when it has any."""
    if errors := answer.get("errors"):
        raise ApiError(errors[0]["message"], errors[0].get("extensions"))
    data: dict[str, Any] = answer["data"]
    return data
