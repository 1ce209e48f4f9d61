"""Observability of a running service: counters, log lines, request ids and traces."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from app.metrics import SECONDS
from tests.service.model import EDGES
from tests.service.server import BODY, POST, Entry, Server, run_service

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
LINE = re.compile(
    r'[a-z_]+(\{[a-z0-9]+="[^"\n]*"(,[a-z0-9]+="[^"\n]*")*\})? [0-9.e+-]+'  # as in promtool's grammar
    r"|# HELP [a-z_]+ [^\n]+|# TYPE [a-z_]+ (counter|gauge|histogram)"
)


@pytest.fixture(scope="module")
def server(number_model: Path, switch: dict[str, str]) -> Iterator[Server]:
    settings = {"ACCESS_LOG": "10000", "GOOGLE_CLOUD_PROJECT": "my-project", "IMAGE_DIGEST": "sha256:abc"}
    with run_service(number_model, settings=settings | switch, measured=True) as server:
        yield server


def growth_since(server: Server, before: dict[str, float]) -> dict[str, float]:
    """Return the growth of the counters, without the requests for the counters themselves."""
    after = server.metrics()
    counters = {name for name in after if re.match(r"[a-z_]+(_total|_count|_bucket)", name)}
    changed = {name: after[name] - before.get(name, 0) for name in counters if 'route="/metrics"' not in name}
    return {name: by for name, by in changed.items() if by and not name.startswith("process_")}


def test_metrics_are_in_prometheus_s_text_format(server: Server) -> None:
    reply = server.request("GET", "/metrics")
    assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = reply.body.decode()
    assert text.endswith("\n")
    assert all(LINE.fullmatch(line) for line in text.splitlines())
    names = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    assert len(names) == len(set(names)) == 12


def test_metrics_describe_the_model_and_the_process(server: Server) -> None:
    metrics = server.metrics()
    info = next(name for name in metrics if name.startswith("model_info"))
    assert re.fullmatch(
        r'model_info\{name="known",version="v1\.2\.3",digest="sha256:abc",sha256="[0-9a-f]{64}",portable="true"\}',
        info,
    )
    assert metrics["model_ready"] == metrics["http_connections"] == metrics["http_requests_in_flight"] == 1
    assert metrics['input_bin_share{feature="mean radius",bin="9"}'] == 0.1
    assert metrics["process_resident_memory_bytes"] > 1e6
    assert server.metrics()["process_start_time_seconds"] == metrics["process_start_time_seconds"]


def test_a_prediction_is_counted(server: Server) -> None:
    before = server.metrics()
    server.predict([EDGES[0], EDGES[0] + 0.1, 1e9])
    changes = growth_since(server, before)
    buckets = {name for name in changes if "_bucket" in name}
    assert {name: by for name, by in changes.items() if name not in buckets} == {
        'http_requests_total{route="/predict",status="200"}': 1,
        'http_request_seconds_count{route="/predict"}': 1,
        "predictions_total": 1,
        'input_bin_total{feature="mean radius",bin="0"}': 1,
        'input_bin_total{feature="mean texture",bin="1"}': 1,
        'input_bin_total{feature="radius error",bin="9"}': 1,
    }
    assert f'http_request_seconds_bucket{{route="/predict",le="{SECONDS[-1]}"}}' in buckets
    assert 'http_request_seconds_bucket{route="/predict",le="+Inf"}' in buckets


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/livez", "/livez", 200),
        ("POST", "/predict", "/predict", 400),
        ("GET", "/predict", "/predict", 405),
        ("GET", "/v2/models/known/versions/v1.2.3", "/v2/models/NAME", 200),
        ("GET", "/v2/models/unheard-of/ready", "/v2/models/NAME/ready", 404),
        ("GET", '/"}', "other", 404),
        ("GET", "/docs", "/docs", 200),
        ("GET", "/static/page.css", "/static/page.css", 200),
        ("GET", "/static/other", "other", 404),
        ("GET", "/wp-login.php", "other", 404),
    ],
)
def test_requests_are_counted_by_routes_from_a_closed_list(
    server: Server, method: str, path: str, route: str, status: int
) -> None:
    before = server.metrics()
    assert server.request(method, path).status == status
    assert growth_since(server, before)[f'http_requests_total{{route="{route}",status="{status}"}}'] == 1


def find_entry(server: Server, request_id: str) -> Entry:
    """Return the log's entry about a request."""
    return server.log.entry(lambda entry: entry.get("requestId") == request_id)


def test_a_prediction_is_logged_in_cloud_logging_s_fields(server: Server) -> None:
    headers = {"X_Request_ID": "predicted-1", "User_Agent": 'a "browser"', "Traceparent": TRACEPARENT}
    reply = server.request("POST", "/predict", BODY, **headers)
    entry = find_entry(server, "predicted-1")
    assert entry.pop("time")
    assert re.fullmatch(r"0\.\d{6}s", entry["httpRequest"].pop("latency"))
    assert entry == {
        "severity": "INFO",
        "message": "POST /predict",
        "httpRequest": {
            "requestMethod": "POST",
            "requestUrl": "/predict",
            "status": 200,
            "responseSize": str(len(reply.body)),
            "userAgent": 'a "browser"',
        },
        "requestId": "predicted-1",
        "traceparent": TRACEPARENT,
        "logging.googleapis.com/trace": f"projects/my-project/traces/{TRACE}",
        "logging.googleapis.com/spanId": SPAN,
        "logging.googleapis.com/trace_sampled": True,
    }


def test_a_refusal_is_logged_as_a_warning(server: Server) -> None:
    server.request("POST", "/predict", b"{}", X_Request_ID="refused-1")
    entry = find_entry(server, "refused-1")
    assert (entry["severity"], entry["httpRequest"]["status"]) == ("WARNING", 400)


@pytest.mark.parametrize("traceparent", ["", "nonsense", f"00-{TRACE}", f"00-{TRACE.upper()}-{SPAN}-01"])
def test_what_is_no_trace_is_left_out(server: Server, traceparent: str) -> None:
    request_id = f"trace-{hash(traceparent):x}"
    server.request("POST", "/predict", BODY, X_Request_ID=request_id, Traceparent=traceparent)
    assert not any("trace" in name for name in find_entry(server, request_id))


@pytest.mark.parametrize(("method", "path"), [("POST", "/predict"), ("GET", "/livez"), ("GET", "/nowhere")])
def test_a_request_s_id_comes_back(server: Server, method: str, path: str) -> None:
    given = "Root=1-67891233-abcdef012345678912345678"
    assert server.request(method, path, BODY, X_Request_ID=given).headers["x-request-id"] == given


@pytest.mark.parametrize("given", [None, "", "a b", "a" * 129, "<script>"])
def test_a_request_without_a_fit_id_gets_one_of_its_own(server: Server, given: str | None) -> None:
    headers = {} if given is None else {"X_Request_ID": given}
    ids = {server.request("POST", "/predict", BODY, **headers).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
    assert all(re.fullmatch("[0-9a-f]{28}", each) for each in ids)


@pytest.fixture(scope="module")
def quiet(number_model: Path) -> Iterator[Server]:
    """Return a service that logs at most one success a second, and knows no project."""
    with run_service(number_model, settings={"ACCESS_LOG": "1"}) as server:
        yield server


def test_so_many_successes_a_second_are_logged_and_every_failure(quiet: Server) -> None:
    began, before, number = monotonic(), len(quiet.log.lines), 100
    bodies = [BODY, *[b"{}"] * number, *[BODY] * number]
    with quiet.connect() as wire:
        wire.send(b"".join(POST % len(body) + body for body in bodies))
        statuses = [wire.reply().status for _ in bodies]
    seconds = monotonic() - began
    assert (statuses.count(200), statuses.count(400)) == (1 + number, number)
    quiet.request("POST", "/predict", b"{}", X_Request_ID="last-1")
    find_entry(quiet, "last-1")
    logged = [entry["httpRequest"]["status"] for entry in quiet.log.entries()[before:]]
    assert logged.count(400) == number + 1
    assert 1 <= logged.count(200) <= 1 + seconds


def test_without_a_project_only_the_traceparent_is_logged(quiet: Server) -> None:
    quiet.request("POST", "/predict", b"{}", X_Request_ID="traced-1", Traceparent=TRACEPARENT)
    entry = find_entry(quiet, "traced-1")
    assert entry["traceparent"] == TRACEPARENT
    assert "logging.googleapis.com/trace" not in entry
