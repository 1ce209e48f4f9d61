"""What the engine doesn't have is refused by name, wherever it is asked for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daggerw_engine.api.evaluation import Evaluation
from daggerw_engine.api.object_ids import ObjectIds
from daggerw_engine.api.resolver import Api, load_schema
from daggerw_engine.api.secret_providers import Secrets

if TYPE_CHECKING:
    from engine_fixtures import Run

SENTENCE = "isn't offered by the embedded engine; the Dagger engine has it (DAGGERW_ENGINE=dagger)"


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("{llm {id}}", "Query.llm"),
        ('{container {publish(address: "x")}}', "Container.publish"),
        (
            "{container {withExec(args: [], noInit: true) {id}}}",
            "the argument 'noInit' of Container.withExec",
        ),
        ("{container {asTarball(forcedCompression: Zstd) {id}}}", "ImageLayerCompression.Zstd"),
        ('{node(id: "x") {... on Module {id}}}', "Module"),
    ],
)
def test_a_query_for_more_than_the_schema_is_refused_by_name(query: str, what: str) -> None:
    api = Api(Evaluation({}), Secrets(Path()), ObjectIds(), load_schema())
    answer = asyncio.run(api.execute(None, query))  # type: ignore[arg-type]
    assert answer["errors"][0]["message"] == f"{what} {SENTENCE}"


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ("field", "Container.publish"),
        ("argument", "the argument 'insecureRootCapabilities'"),
        ("value", "ImageLayerCompression.Zstd"),
    ],
)
def test_a_module_that_asks_for_more_than_the_schema_is_told_so(run: Run, part: str, what: str) -> None:
    called = run("call", "beyond", "--part", part)
    assert called.returncode == 1
    assert f"{what} {SENTENCE}" in called.stderr
