"""Alerts of a running service: each fault raises its own, and nothing else does."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from app.modelling import artifact
from tests.monitoring.programs import eventually, needed
from tests.monitoring.psi import psi
from tests.monitoring.watched import MONITORING, as_learned, load, watch
from tests.service.model import NAMES, write_model
from tests.service.server import run_service

pytestmark = needed
ENOUGH = "model:input:psi1h and on (job) service:predictions:increase1h > 100"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return the folder of a model that works."""
    folder = tmp_path / "model"
    folder.mkdir()
    return write_model(folder)


def test_requests_like_the_training_rows_raise_no_alert(model: Path, tmp_path: Path) -> None:
    with run_service(model) as server, watch(tmp_path, server) as watched:
        with load(server) as traffic:
            watched.prometheus.wait_for(ENOUGH)
        assert set(traffic.statuses) == {200}
        assert watched.prometheus.active() == set()
        assert watched.receiver.names() == set()


def test_the_dashboard_s_queries_are_answered_for_a_service_under_load(model: Path, tmp_path: Path) -> None:
    chosen = {
        "$namespace": "production",
        "$job": "milestone2",
        "$feature": NAMES[0],
        "$__rate_interval": "10s",
    }
    panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
    with run_service(model) as server, watch(tmp_path, server) as watched:
        with load(server):
            watched.prometheus.wait_for(ENOUGH)
        for query in (target["expr"] for panel in panels for target in panel.get("targets", [])):
            if not query.startswith(("ALERTS", "service:predictions_failed")):  # nothing is wrong
                assert watched.prometheus.values(replace_variables(query, chosen)), query


def replace_variables(text: str, values: dict[str, str]) -> str:
    """Return a text with its variables replaced."""
    for name, value in values.items():
        text = text.replace(name, value)
    assert "$" not in text
    return text


def test_the_index_over_a_real_service_s_counters_is_that_of_the_reference(
    model: Path, tmp_path: Path
) -> None:
    with run_service(model) as server, watch(tmp_path, server) as watched:
        with load(server):
            watched.prometheus.wait_for(ENOUGH)
        counted = server.metrics()
        requested = {
            name: [counted[f'input_bin_total{{feature="{name}",bin="{each}"}}'] for each in range(10)]
            for name in NAMES
        }
        watched.prometheus.wait_for(f"sum(model:input:rows1h) == {sum(map(sum, requested.values()))}")
        watched.prometheus.wait_for(f"count(count_over_time(model:input:psi1h[500ms]) >= 1) == {len(NAMES)}")
        indexes = watched.prometheus.values("model:input:psi1h")
    expected = {name: psi(rows, [0.1] * 10) for name, rows in requested.items()}
    assert {dict(labels)["feature"]: value for labels, value in indexes.items()} == pytest.approx(expected)


def test_a_model_that_turns_wrong_raises_what_it_costs_and_where_it_is(model: Path, tmp_path: Path) -> None:
    with run_service(model) as server, watch(tmp_path, server) as watched:
        with load(server):
            watched.prometheus.wait_for(ENOUGH)
        server.stop()
        (model / artifact.PORTABLE_FILE).write_text("{}")
        with run_service(model) as broken, load(broken) as traffic:
            watched.set_instances(broken)
            burning = watched.receiver.wait_for(lambda alert: alert.name == "ErrorBudgetBurn")
            not_ready = watched.receiver.wait_for(lambda alert: alert.name == "NotReady")
            suppressed = eventually(
                lambda: watched.alertmanager.get("/api/v2/alerts", active="false", inhibited="true"),
                "a lesser alert is held back",
            )
            assert set(traffic.statuses) == {500}
            assert watched.prometheus.active() == {"ErrorBudgetBurn", "NotReady"}
            assert watched.receiver.names() == {"ErrorBudgetBurn", "NotReady"}
    assert (burning.receiver, burning.labels["severity"]) == ("pager", "critical")
    assert not_ready.labels["namespace"] == "production"
    assert {each["labels"]["severity"] for each in suppressed} == {"warning"}


def test_inputs_that_drift_raise_the_feature_that_does(model: Path, tmp_path: Path) -> None:
    def drifting_row(chance: random.Random) -> list[float]:
        return [*as_learned(chance)[:2], chance.uniform(14, 20)]

    with run_service(model) as server, watch(tmp_path, server) as watched:
        with load(server, drifting_row):
            alert = watched.receiver.wait_for(lambda alert: alert.name == "InputDrift")
        assert watched.prometheus.active() == {"InputDrift"}
        assert watched.receiver.names() == {"InputDrift"}
    assert alert.labels["feature"] == "radius error"
    assert alert.receiver == "team"
