"""Print the Grafana dashboard: `python deploy/monitoring/dashboard.py > deploy/monitoring/dashboard.json`.

DASHBOARD below is all that it shows. The rest writes that down in Grafana's classic JSON model, which every
version since 10 imports: https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

OURS = 'namespace="$namespace",job="$job"'
PREDICTION_ROUTES = f'{{{OURS},route=~"/predict|/invocations|/v2/models/NAME/infer"}}'
FAILED = "service:predictions_failed"
COLUMNS, ROW = 24, 1  # of the grid; a row's title is so high
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

Kind = Literal["timeseries", "stat", "bargauge", "state-timeline"]
Json = dict[str, Any]


@dataclass(frozen=True)
class Panel:
    """A picture of queries, by what their answers are called; above a limit it turns that colour.

    In names {{label}} stands for a label's value, and nothing for all labels.
    """

    title: str
    about: str
    queries: Mapping[str, str]
    unit: str = "short"
    kind: Kind = "timeseries"
    width: int = 8
    height: int = 8
    limits: tuple[tuple[float, str], ...] = ()


def _rate(selected: str, by: str) -> str:
    return f"sum by ({by}) (rate({selected}[$__rate_interval]))"


def _quantile(part: float) -> str:
    buckets = _rate(f"http_request_seconds_bucket{PREDICTION_ROUTES}", "le")
    return f"histogram_quantile({part}, {buckets})"


DASHBOARD: Mapping[str, list[Panel]] = {
    "What is wrong": [
        Panel(
            "Alerts",
            "What fires. The runbook, docs/runbook.md, has an entry of each name.",
            {"{{alertname}} {{severity}} {{instance}} {{feature}}": f'ALERTS{{alertstate="firing",{OURS}}}'},
            kind="state-timeline",
            width=16,
            limits=((1, "red"),),
        ),
        Panel(
            "Instances that are ready",
            "Instances that are ready to predict.",
            {"": f"sum(instance:ready{{{OURS}}})"},
            kind="stat",
            width=4,
            limits=((0, "red"), (1, "green")),
        ),
        Panel(
            "Predictions that failed",
            "Share of the last hour's that were answered with 5xx; 0.5 % are allowed over 30 days.",
            {"": f"{FAILED}:ratio1h{{{OURS}}} or 0 * service:predictions:increase1h{{{OURS}}}"},
            unit="percentunit",
            kind="stat",
            width=4,
            limits=((0.005, "orange"), (0.072, "red")),
        ),
    ],
    "Predictions": [
        Panel(
            "Requests",
            "Requests for predictions in a second, by status.",
            {"{{status}}": _rate(f"http_requests_total{PREDICTION_ROUTES}", "status")},
            unit="reqps",
        ),
        Panel(
            "Failures",
            "Share that was answered with 5xx. ErrorBudgetBurn looks at an hour and at six.",
            {each: f"{FAILED}:ratio{each}{{{OURS}}}" for each in ("5m", "1h", "6h")},
            unit="percentunit",
            limits=((0.03, "orange"), (0.072, "red")),
        ),
        Panel(
            "Latency",
            "Time from a whole request to its response. SlowPredictions is about more than 5 % above 250 ms.",
            {f"{part:.0%}": _quantile(part) for part in (0.5, 0.95, 0.99)},
            unit="s",
            limits=((0.25, "red"),),
        ),
    ],
    "Instances": [
        Panel(
            "Versions",
            "Instances by the version that they serve. More than one is a deployment under way.",
            {"{{version}}": f"count by (version) (model_info{{{OURS}}})"},
        ),
        Panel(
            "Starts within the hour",
            "How often an instance has begun anew. Restarts is about more than two.",
            {"{{instance}}": f"changes(process_start_time_seconds{{{OURS}}}[1h])"},
            limits=((3, "red"),),
        ),
        Panel(
            "Requests under way",
            "Requests without a response, and open connections.",
            {each: f"sum(http_{each}{{{OURS}}})" for each in ("requests_in_flight", "connections")},
        ),
        Panel(
            "Memory",
            "Resident memory of each instance.",
            {"{{instance}}": f"process_resident_memory_bytes{{{OURS}}}"},
            unit="bytes",
            width=12,
        ),
        Panel(
            "Processors",
            "Processors' time in a second, of each instance.",
            {"{{instance}}": _rate(f"process_cpu_seconds_total{{{OURS}}}", "instance")},
            unit="percentunit",
            width=12,
        ),
    ],
    "Inputs": [
        Panel(
            "Drift",
            "Population stability index of each feature over an hour. InputDrift is above 0.25.",
            {"{{feature}} {{version}}": f"model:input:psi1h{{{OURS}}}"},
            limits=((0.1, "orange"), (0.25, "red")),
        ),
        Panel(
            "$feature, in requests",
            "Share of the last hour's rows in each bin of the training rows.",
            {"{{bin}} {{version}}": f'model:input_bin:asked1h{{{OURS},feature="$feature"}}'},
            unit="percentunit",
            kind="bargauge",
        ),
        Panel(
            "$feature, learned from",
            "Share of the training rows in each bin: a tenth, where values are not tied.",
            {"{{bin}} {{version}}": f'model:input_bin:learned{{{OURS},feature="$feature"}}'},
            unit="percentunit",
            kind="bargauge",
        ),
    ],
}


def dashboard() -> Json:
    """Return the dashboard as Grafana imports it."""
    return {
        "uid": "milestone2",
        "title": "milestone2",
        "tags": ["milestone2"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": [_versions()]},
        "templating": {"list": list(_variables())},
        "panels": list(_place_panels()),
    }


def _versions() -> Json:
    """Mark when a version came."""
    now, before = (f"count by (version) (model_info{{{OURS}}}{when})" for when in ("", " offset 1m"))
    return {
        "name": "New versions",
        "datasource": SOURCE,
        "enable": True,
        "iconColor": "blue",
        "expr": f"{now} unless {before}",
        "titleFormat": "{{version}}",
        "step": "1m",
    }


def _variables() -> Iterator[Json]:
    yield {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    for name, query in (
        ("namespace", "label_values(model_ready, namespace)"),
        ("job", 'label_values(model_ready{namespace="$namespace"}, job)'),
        ("feature", f"label_values(input_bin_share{{{OURS}}}, feature)"),
    ):
        source = {"query": query, "refId": name}
        yield {"name": name, "type": "query", "datasource": SOURCE, "query": source, "refresh": 2, "sort": 1}


def _place_panels() -> Iterator[Json]:
    """Yield all panels, each with a number and a place of its own."""
    number, top = 0, 0
    for title, panels in DASHBOARD.items():
        number += 1
        place = {"x": 0, "y": top, "w": COLUMNS, "h": ROW}
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": place,
        }
        left, top = 0, top + ROW
        for panel in panels:
            if left + panel.width > COLUMNS:
                left, top = 0, top + panel.height
            number += 1
            place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            yield {"id": number, "gridPos": place, **_panel(panel)}
            left += panel.width
        top += panels[-1].height


def _panel(panel: Panel) -> Json:
    steps = [
        {"color": "green", "value": None},
        *({"color": colour, "value": at} for at, colour in panel.limits),
    ]
    defaults: Json = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}, "min": 0}
    if panel.kind == "timeseries" and panel.limits:
        defaults["custom"] = {"thresholdsStyle": {"mode": "dashed"}}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": OPTIONS[panel.kind],
        "targets": [_target(panel.kind, number, *each) for number, each in enumerate(panel.queries.items())],
    }


LAST = {"calcs": ["lastNotNull"], "fields": "", "values": False}
OPTIONS: dict[Kind, Json] = {
    "timeseries": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
    "stat": {"reduceOptions": LAST, "colorMode": "background", "graphMode": "none"},
    "bargauge": {"reduceOptions": LAST, "orientation": "horizontal", "displayMode": "basic"},
    "state-timeline": {"showValue": "never", "mergeValues": True},
}


def _target(kind: Kind, number: int, name: str, query: str) -> Json:
    instant = kind in ("stat", "bargauge")
    return {
        "refId": chr(ord("A") + number),
        "datasource": SOURCE,
        "expr": query,
        "legendFormat": name or "__auto",
        "instant": instant,
        "range": not instant,
    }


if __name__ == "__main__":
    json.dump(dashboard(), sys.stdout, indent=2)
    print()
