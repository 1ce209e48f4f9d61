"""Mixed tables from training to the real server: portable models that predict their golden rows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import joblib
import pytest
from pandas import DataFrame
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline

from tests.service.client import client_of
from tests.service.server import Server, run_service
from tests.training.project import Project, make
from tests.training.tables.mixed_table import MIXED, prepare

CLASSES = ("high", "low", "middle")
COLUMNS = ["town", "size", "rooms", "garden"]


def one_hot() -> Any:
    return make_pipeline(prepare(handle_unknown="ignore"), LogisticRegression())


def boosting() -> Any:
    return HistGradientBoostingClassifier(categorical_features="from_dtype", max_iter=20, random_state=0)


def forest() -> Any:
    return RandomForestClassifier(10, random_state=0)


def bayes() -> Any:
    """Return an estimator that scikit-learn serves."""
    return make_pipeline(SimpleImputer(), GaussianNB())


def send(server: Server, path: str, body: Any) -> Any:
    """Return the service's response to a body."""
    reply = server.request("POST", path, json.dumps(body).encode())
    assert reply.status == 200, reply.body
    return reply.json()


@pytest.mark.parametrize("estimator", [one_hot, boosting])
def test_a_mixed_table_is_trained_and_predicted_over_http(
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
    with run_service(project.folder / "model") as server:
        named = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        assert [send(server, "/predict", {"features": row})["prediction"] for row in rows] == expected
        assert [send(server, "/predict", {"features": row})["prediction"] for row in named] == expected
        assert send(server, "/predict", {"instances": rows})["predictions"] == expected
        assert send(server, "/invocations", {"dataframe_records": named})["predictions"] == expected
        detailed = send(server, "/predict?details=true", {"features": rows[0]})
        assert detailed["probabilities"]["yes"] == expected[0]
        assert not server.maps("sklearn")


@pytest.mark.parametrize("estimator", [one_hot, boosting, forest, bayes])
def test_three_classes_have_probabilities_by_name(
    estimator: Callable[[], Any], project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(monkeypatch, estimator())
    rows = [(i % 3 + i % 7 / 10, "" if i % 9 == 4 else i % 5 + 0.5, CLASSES[i % 3]) for i in range(120)]
    project.file("data.csv", "a,b,y\n" + "".join(f"{a},{b},{y}\n" for a, b, y in rows))
    predictor = project.settings(minimum_score=None, minimum={"accuracy": 0}).predictor()
    assert bool(predictor.card.portable) == (estimator is not bayes)
    fitted = joblib.load(project.folder / "model/model.joblib")
    samples = [[1, 2.5], [6, None], [0.5, 4]]
    frame = DataFrame({"a": [1, 6, 0.5], "b": [2.5, math.nan, 4]})
    client = client_of(project.folder / "model")
    batch = client.post("/predict?details=true", json={"instances": samples}).json()
    singles = [client.post("/predict?details=true", json={"features": row}).json() for row in samples]
    for row, single, shares in zip(batch["probabilities"], singles, fitted.predict_proba(frame), strict=True):
        assert row == single["probabilities"]
        assert row == pytest.approx(dict(zip(predictor.card.classes, shares, strict=True)), rel=1e-12)
        assert single["label"] == max(row, key=lambda name: row[name])
    assert batch["labels"] == [single["label"] for single in singles]
