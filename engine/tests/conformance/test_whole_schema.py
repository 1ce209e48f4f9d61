"""Coverage of the schema by the queries of this folder's tests, which run before this module's."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import graphql
import pytest

from engine_fixtures import DISTRIBUTION

FOLDER = Path(__file__).parent


class UsedSchema(graphql.TypeInfoVisitor):
    """Recorder of the schema's fields and arguments in a document."""

    def __init__(self, schema: graphql.GraphQLSchema) -> None:
        self._info = graphql.TypeInfo(schema)
        self.names: set[str] = set()
        super().__init__(self._info, _Noting(self._info, self.names))


class _Noting(graphql.Visitor):
    def __init__(self, info: graphql.TypeInfo, names: set[str]) -> None:
        super().__init__()
        self._info, self._names = info, names

    def enter_field(self, node: graphql.FieldNode, *_: Any) -> None:
        self._names.add(f"{self._info.get_parent_type()}.{node.name.value}")

    def enter_argument(self, node: graphql.ArgumentNode, *_: Any) -> None:
        field = self._info.get_field_def()
        owner = self._info.get_parent_type()
        name = next((name for name, each in owner.fields.items() if each is field), "") if owner else ""  # type: ignore[union-attr]
        self._names.add(f"{owner}.{name}({node.name.value})")


def find_tests(path: Path) -> list[object]:
    """Return the test functions of a module in this folder."""
    module = importlib.import_module(f"conformance.{path.stem}")
    return [each for name, each in inspect.getmembers(module, inspect.isfunction) if name.startswith("test_")]


def test_every_field_and_argument_of_the_schema_was_queried(
    request: pytest.FixtureRequest, documents: list[graphql.DocumentNode]
) -> None:
    selected = {item.function for item in request.session.items if isinstance(item, pytest.Function)}
    if not all(each in selected for path in FOLDER.glob("test_*.py") for each in find_tests(path)):
        pytest.skip("only part of the folder was selected")
    schema = graphql.build_schema((DISTRIBUTION / "daggerw_engine/api/queries/schema.graphqls").read_text())
    used = UsedSchema(schema)
    for document in documents:
        graphql.visit(document, used)
    offered = set()
    for type_ in schema.type_map.values():
        if isinstance(type_, graphql.GraphQLObjectType) and not type_.name.startswith("__"):
            for name, field in type_.fields.items():
                offered |= {f"{type_}.{name}", *(f"{type_}.{name}({argument})" for argument in field.args)}
    assert not sorted(offered - used.names)
