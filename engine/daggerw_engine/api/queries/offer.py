"""Offered part of Dagger's API; the engine refuses the rest by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import graphql

from daggerw_engine.errors import NotOfferedError

DAGGER, OFFERED = (Path(__file__).with_name(name) for name in ("dagger.graphqls", "schema.graphqls"))


def dagger_schema() -> graphql.GraphQLSchema:
    """Return Dagger's whole schema, from which its SDKs build their queries."""
    return _schema(DAGGER)


def offered_schema() -> graphql.GraphQLSchema:
    """Return the schema of the part that this engine offers."""
    return _schema(OFFERED)


def _schema(path: Path) -> graphql.GraphQLSchema:
    return graphql.build_schema(path.read_text(), assume_valid=True, no_location=True)


class Offer:
    """Check of a field's arguments and values against the part that this engine offers."""

    def __init__(self) -> None:
        self._types = offered_schema().type_map

    def accept(
        self, owner: graphql.GraphQLObjectType, name: str, arguments: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return a field's arguments without those at their default; NotOfferedError for unoffered ones."""
        known = self._types.get(owner.name)
        if not isinstance(known, graphql.GraphQLObjectType) or name not in known.fields:
            raise NotOfferedError(f"{owner.name}.{name}")
        offered, accepted = known.fields[name].args, {}
        for each, value in arguments.items():
            if each in offered:
                for absent in _unoffered_parts(value, offered[each].type):
                    raise NotOfferedError(absent)
                accepted[each] = value
            elif value not in (None, _default(owner.fields[name].args[each])):
                raise NotOfferedError(f"the argument {each!r} of {owner.name}.{name}")
        return accepted


def _default(argument: graphql.GraphQLArgument) -> Any:
    """Return an argument's default value, as every version of graphql-core reports it."""
    node = argument.ast_node
    return node and node.default_value and graphql.value_from_ast(node.default_value, argument.type)


def _unoffered_parts(value: Any, type_: graphql.GraphQLType) -> Iterator[str]:
    """Yield the values and input fields in an argument that its offered type lacks."""
    named = graphql.get_named_type(type_)
    if isinstance(value, list):
        for each in value:
            yield from _unoffered_parts(each, named)
    elif isinstance(named, graphql.GraphQLEnumType) and value is not None:
        if value not in named.values:
            yield f"{named.name}.{value}"
    elif isinstance(named, graphql.GraphQLInputObjectType) and value is not None:
        for name, given in value.items():
            if name in named.fields:
                yield from _unoffered_parts(given, named.fields[name].type)
            elif given is not None:
                yield f"{named.name}.{name}"
