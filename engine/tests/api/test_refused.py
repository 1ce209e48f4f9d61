"""Refusal by name of unoffered fields, at every position in a query."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daggerw_engine.api.clients.secret_providers import Secrets
from daggerw_engine.api.queries.evaluation import Evaluation
from daggerw_engine.api.queries.object_ids import ObjectIds
from daggerw_engine.api.queries.resolver import Api

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
        ('{git(url: "https://example.test/repository") {head {commit}}}', "Query.git"),
        (
            '{container {asTarball(platformVariants: ["Container:0"]) {id}}}',
            "the argument 'platformVariants' of Container.asTarball",
        ),
    ],
)
def test_a_query_for_more_than_is_offered_is_refused_by_name(query: str, what: str) -> None:
    api = Api(Evaluation({}), Secrets(Path()), ObjectIds(), Path())
    answer = asyncio.run(api.execute(None, query))  # type: ignore[arg-type]
    assert answer["errors"][0]["message"] == f"{what} {SENTENCE}"


def test_an_argument_that_says_what_is_so_anyway_is_no_reason_to_refuse() -> None:
    api = Api(Evaluation({}), Secrets(Path()), ObjectIds(), Path())
    query = "{container {withExec(args: [], noInit: false, insecureRootCapabilities: false) {id}}}"
    answer = asyncio.run(api.execute(None, query))  # type: ignore[arg-type]
    assert "errors" not in answer


def test_the_schema_is_returned_whole_and_kept(tmp_path: Path) -> None:
    api = Api(Evaluation({}), Secrets(Path()), ObjectIds(), tmp_path)
    first, again = (asyncio.run(api.execute(None, "{__schema {types {name}}}")) for _ in range(2))  # type: ignore[arg-type]
    assert {"name": "LLM"} in first["data"]["__schema"]["types"]
    assert again == first
    assert len(list(tmp_path.iterdir())) == 1


def test_a_module_that_uses_an_unoffered_part_gets_an_error(run: Run) -> None:
    called = run("call", "beyond")
    assert called.returncode == 1
    assert f"Container.publish {SENTENCE}" in called.stderr
