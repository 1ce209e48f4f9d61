"""Mixed tables from training to the real server: portable models that answer their golden rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tests.service.server import Server, running
from tests.training.mixed_table import MIXED
from tests.training.project import Project, make

COLUMNS = ["town", "size", "rooms", "garden"]


def one_hot() -> Any:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    return make_pipeline(
        make_column_transformer(
            (numbers, make_column_selector(dtype_include="number")),
            (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_include="category")),
            ("passthrough", make_column_selector(dtype_include="bool")),
        ),
        LogisticRegression(),
    )


def boosting() -> Any:
    return HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=20, random_state=0)


def ask(server: Server, path: str, body: Any) -> Any:
    """Return what the service answers to a body."""
    reply = server.ask("POST", path, json.dumps(body).encode())
    assert reply.status == 200, reply.body
    return reply.json()


@pytest.mark.parametrize("estimator", [one_hot, boosting])
def test_a_mixed_table_is_trained_and_asked_over_http(
    estimator: Callable[[], Any], project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(monkeypatch, estimator())
    project.file("data.csv", MIXED).settings(
        features=COLUMNS, minimum_score=-1e9, minimum={"accuracy": 0.5}, positive="yes"
    )
    assert project.predictor().card.portable
    golden = json.loads((project.folder / "model/golden.json").read_text())["rows"]
    rows = [each["features"] for each in golden]
    expected = [each["prediction"] for each in golden]
    with running(project.folder / "model") as server:
        named = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        assert [ask(server, "/predict", {"features": row})["prediction"] for row in rows] == expected
        assert [ask(server, "/predict", {"features": row})["prediction"] for row in named] == expected
        assert ask(server, "/predict", {"instances": rows})["predictions"] == expected
        assert ask(server, "/invocations", {"dataframe_records": named})["predictions"] == expected
        detailed = ask(server, "/predict?details=true", {"features": rows[0]})
        assert detailed["probabilities"]["yes"] == expected[0]
        assert not server.maps("sklearn")
