"""Functions of the engine's own objects, read from its GraphQL schema."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from daggerw_engine.command.modules.typedefs import (
    Argument,
    Function,
    ObjectType,
    TypeRef,
    Types,
    command_name,
    kept_types,
)

if TYPE_CHECKING:
    from graphql import GraphQLArgument, GraphQLField, GraphQLObjectType
    from graphql.language import FieldDefinitionNode, InputValueDefinitionNode

SCHEMA = Path(__file__).parents[2] / "api/queries/schema.graphqls"


def types(cache: Path) -> Types:
    """Return the engine's types; cached, as importing the GraphQL library takes a quarter of a second."""
    content = SCHEMA.read_bytes()
    code = Path(__file__).read_bytes()
    return kept_types(
        cache / "types" / "engine.json",
        key=hashlib.sha256(content + code).hexdigest(),
        make=lambda: asdict(parse(content.decode())),
    )


def parse(schema: str) -> Types:
    """Return the types of a schema in GraphQL's schema language."""
    from graphql import GraphQLEnumType, GraphQLObjectType, build_schema

    named = build_schema(schema, assume_valid=True).type_map
    return Types(
        main="Query",
        objects={name: _object(kind) for name, kind in named.items() if isinstance(kind, GraphQLObjectType)},
        enums={name: tuple(kind.values) for name, kind in named.items() if isinstance(kind, GraphQLEnumType)},
    )


def _object(kind: GraphQLObjectType) -> ObjectType:
    functions = {command_name(name): _function(name, entry) for name, entry in kind.fields.items()}
    return ObjectType(kind.name, functions)


def _function(name: str, entry: GraphQLField) -> Function:
    arguments = tuple(_argument(name, argument) for name, argument in entry.args.items())
    return Function(name, _type(entry), entry.description or "", arguments, wire=str(entry.type))


def _argument(name: str, entry: GraphQLArgument) -> Argument:
    from graphql import print_ast

    node = entry.ast_node
    default = print_ast(node.default_value) if node and node.default_value else None
    return Argument(name, _type(entry), entry.description or "", default, wire=str(entry.type))


def _type(entry: GraphQLField | GraphQLArgument) -> TypeRef:
    """Return the type; for an ID, the type of its object (`@expectedType`)."""
    from graphql import get_named_type, is_non_null_type

    text = str(entry.type)
    name = _expected_type(entry.ast_node) or get_named_type(entry.type).name
    return TypeRef(name, many="[" in text, optional=not is_non_null_type(entry.type))


def _expected_type(node: FieldDefinitionNode | InputValueDefinitionNode | None) -> str | None:
    from graphql import StringValueNode

    for directive in (node and node.directives) or ():
        for argument in directive.arguments or ():
            if directive.name.value == "expectedType" and isinstance(argument.value, StringValueNode):
                return argument.value.value
    return None
