"""Schemas: dagger-io was generated from the whole one, and the offered one is a part of it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, Self, get_args, get_type_hints

import dagger
import graphql
import pytest
from dagger.client import gen

from daggerw_engine.api.queries.offer import dagger_schema, offered_schema

SCHEMA, OFFERED = dagger_schema(), offered_schema()
SCALARS = {"String": str, "Int": int, "Boolean": bool, "ID": str}
SELECTED = re.compile(r'(?:_select\(|execute_sync\(self, )"(\w+)", _args\)')
FORWARD = re.compile(r"<forwardref (\w+)\(.*?\)>|<class '(?:[\w.]+\.)?(\w+)'>")
ARGUMENT = re.compile(r'Arg\(\s*"(\w+)",\s+(?:\[\] if (?P<list>\w+) is None else )?(\w+)')


def types(kind: type[graphql.GraphQLNamedType]) -> dict[str, Any]:
    """Return our types of a kind by name, without GraphQL's own."""
    found = SCHEMA.type_map.items()
    return {name: type_ for name, type_ in found if isinstance(type_, kind) and not name.startswith("__")}


def in_client(name: str) -> Any:
    """Return dagger-io's class for a type."""
    return getattr(gen, name)


@cache
def methods(type_name: str) -> dict[str, Any]:
    """Return the methods of dagger-io's class for a type, by the fields that they query."""
    found = {}
    for method in filter(inspect.isfunction, map(inspect.unwrap, vars(in_client(type_name)).values())):
        if selected := SELECTED.search(inspect.getsource(method)):
            found[selected[1]] = method
    return found


def python_type(type_: Any, expected: str = "") -> Any:
    """Return dagger-io's notation of a GraphQL type; `expected` is the object type of an ID."""
    if not isinstance(type_, graphql.GraphQLNonNull):
        return python_type(graphql.GraphQLNonNull(type_), expected) | None
    inner = type_.of_type
    if isinstance(inner, graphql.GraphQLList):
        return list[python_type(inner.of_type, expected)]  # type: ignore[misc]
    if inner.name == "ID" and expected:
        return in_client(expected)
    return SCALARS.get(inner.name) or in_client(inner.name)


def format_hint(hint: Any) -> str:
    """Return a type hint as text, with each class, also a forward reference, as its name."""
    text = f"<class '{hint.__name__}'>" if isinstance(hint, type) and not get_args(hint) else str(hint)
    return re.sub(r"(?:dagger\.(?:client\.\w+\.)?)", "", FORWARD.sub(lambda m: m[1] or m[2], text))


def expected_type(node: Any) -> str:
    """Return the name in a definition's @expectedType, if it has one."""
    found = [each for each in node.directives or () if each.name.value == "expectedType"]
    return found[0].arguments[0].value.value if found else ""


def default(argument: Any) -> Any:
    """Return an argument's default value in dagger-io."""
    if argument.ast_node.default_value is None:
        return inspect.Parameter.empty if isinstance(argument.type, graphql.GraphQLNonNull) else None
    value = graphql.value_from_ast(argument.ast_node.default_value, argument.type)
    named = graphql.get_named_type(argument.type)
    if isinstance(named, graphql.GraphQLEnumType):
        return in_client(named.name)(value)
    return None if value == [] else value


def fields() -> Iterator[Any]:
    """Yield each of our fields, with its type's name."""
    for type_name, type_ in types(graphql.GraphQLObjectType).items():
        for name, field in type_.fields.items():
            if (type_name, name) != ("Query", "node"):  # the client has it as a query of its own
                yield pytest.param(type_name, name, field, id=f"{type_name}.{name}")


@pytest.mark.parametrize(("type_name", "name", "field"), [*fields()])
def test_a_field_is_as_dagger_has_it(type_name: str, name: str, field: graphql.GraphQLField) -> None:
    method = methods(type_name)[name]
    own = in_client(type_name)
    hints = {name: own if hint is Self else hint for name, hint in get_type_hints(method, vars(gen)).items()}
    returned = field.type
    if isinstance(returned, graphql.GraphQLObjectType):  # of which the client only finds out later
        returned = graphql.GraphQLNonNull(returned)
    assert format_hint(hints["return"]) == format_hint(python_type(returned, expected_type(field.ast_node)))
    inspected = inspect.signature(method).parameters
    theirs = {words[0]: words[2] for words in ARGUMENT.findall(inspect.getsource(method))}
    for argument_name, argument in field.args.items():
        parameter = inspected[theirs[argument_name]]
        wanted = python_type(argument.type, expected_type(argument.ast_node))
        if default(argument) is not inspect.Parameter.empty:
            wanted |= None
        assert format_hint(hints[parameter.name]) == format_hint(wanted), argument_name
        assert parameter.default == default(argument), argument_name
    required = {
        name for name, python in theirs.items() if inspected[python].default is inspect.Parameter.empty
    }
    assert required <= set(field.args)


@pytest.mark.parametrize("name", types(graphql.GraphQLEnumType))
def test_an_enum_has_every_value_of_daggers(name: str) -> None:
    # The engine itself knows older names besides.
    assert set(SCHEMA.type_map[name].values) >= {each.value for each in in_client(name)}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", types(graphql.GraphQLInputObjectType))
def test_an_input_is_as_dagger_has_it(name: str) -> None:
    hints = get_type_hints(in_client(name), vars(gen))
    defaults = {
        each: parameter.default for each, parameter in inspect.signature(in_client(name)).parameters.items()
    }
    ours = SCHEMA.type_map[name].fields  # type: ignore[attr-defined]
    assert {each: python_type(field.type) for each, field in ours.items()} == hints
    assert {each: default(field) for each, field in ours.items()} == defaults


@pytest.mark.parametrize("name", types(graphql.GraphQLInterfaceType))
def test_an_interface_is_one_of_daggers(name: str) -> None:
    assert hasattr(dagger, name)


def test_an_object_promises_what_its_interfaces_do() -> None:
    for name, type_ in types(graphql.GraphQLObjectType).items():
        promised = {field for each in type_.interfaces for field in each.fields}
        assert promised <= set(type_.fields), name


def offered_names(attribute: str) -> list[str]:
    """Return the names of the offered types that have fields, or values."""
    return [
        name
        for name, type_ in OFFERED.type_map.items()
        if hasattr(type_, attribute) and not name.startswith("__")
    ]


@pytest.mark.parametrize("name", offered_names("fields"))
def test_what_is_offered_is_part_of_the_whole(name: str) -> None:
    ours: Any = OFFERED.type_map[name]
    whole: Any = SCHEMA.type_map[name]
    for field_name, field in ours.fields.items():
        known = whole.fields[field_name]
        assert str(field.type) == str(known.type), field_name
        for argument_name, argument in getattr(field, "args", {}).items():
            theirs = known.args[argument_name]
            assert (str(argument.type), default(argument)) == (str(theirs.type), default(theirs)), field_name


@pytest.mark.parametrize("name", offered_names("values"))
def test_an_offered_enum_has_no_other_values(name: str) -> None:
    assert set(OFFERED.type_map[name].values) <= set(SCHEMA.type_map[name].values)  # type: ignore[attr-defined]
