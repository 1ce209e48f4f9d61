"""Alerts lead to the runbook, and the dashboard is the one that is described."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploying import alerts

MONITORING = Path(__file__).resolve().parents[3] / "deploy/monitoring"
RULES = [
    rule
    for name in ("rules.yml", "no-traffic.yml")
    for group in yaml.safe_load((MONITORING / name).read_text())["groups"]
    for rule in group["rules"]
]
ALERTS = [rule for rule in RULES if "alert" in rule]
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
RUNBOOK = alerts.RUNBOOK.partition("#")[0]


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_every_alert_says_how_grave_it_is_what_is_wrong_and_where_to_read_on(
    rule: dict[str, Any],
) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert "{{ $labels." in rule["annotations"]["summary"]
    assert rule["annotations"]["runbook_url"] == f"{RUNBOOK}#{rule['alert'].lower()}"


def test_an_alert_of_a_deployment_leads_to_its_entry() -> None:
    assert alerts.RUNBOOK.endswith(f"/docs/runbook.md#{alerts.NAME.lower()}")


def test_a_deployment_that_failed_holds_back_no_alert_of_another_environment() -> None:
    place = alerts.Place("production", "Swarm milestone2")
    alert = alerts.alert_failure("the deployment", place, ValueError(), datetime.now(UTC))
    (rule,) = yaml.safe_load((MONITORING / "alertmanager.yml").read_text())["inhibit_rules"]
    assert set(alert.labels) - {"severity"} <= set(rule["equal"])


def test_the_rule_without_traffic_is_shipped_switched_off() -> None:
    assert yaml.safe_load((MONITORING / "prometheus.yml").read_text())["rule_files"] == ["rules.yml"]


def test_both_examples_of_prometheus_differ_in_what_they_scrape_only() -> None:
    here, kubernetes = (
        yaml.safe_load((MONITORING / name).read_text())
        for name in ("prometheus.yml", "prometheus-kubernetes.yml")
    )
    assert here.pop("scrape_configs")[0]["job_name"] == kubernetes.pop("scrape_configs")[0]["job_name"]
    assert here == kubernetes


def test_the_dashboard_is_the_one_that_is_described() -> None:
    made = subprocess.run(
        [sys.executable, MONITORING / "dashboard.py"], capture_output=True, text=True, check=True, timeout=60
    )
    assert made.stdout == (MONITORING / "dashboard.json").read_text()


def test_every_panel_has_a_number_and_a_place_of_its_own() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in combinations((panel["gridPos"] for panel in panels), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert beside or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
    assert max(panel["gridPos"]["x"] + panel["gridPos"]["w"] for panel in panels) == 24


def test_the_dashboard_shows_recorded_series_that_there_are_and_variables_that_it_has() -> None:
    queries = " ".join(target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", []))
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    assert set(re.findall(r"\w+(?::\w+)+", queries)) <= recorded
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert set(re.findall(r"\$(\w+)", queries)) == variables - {"datasource"} | {"__rate_interval"}
