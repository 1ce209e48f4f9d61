"""Counters in Prometheus's text format, as GET /metrics returns them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from app.metrics import SECONDS, Route, Snapshot, shares
from app.modelling.artifact import Feature

MEDIA_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


def render(snapshot: Snapshot, features: Sequence[Feature], info: dict[str, str] | None) -> bytes:
    """Return everything in Prometheus's text format; `info` describes the model, if there is one."""
    families = [*_requests(snapshot), *_drift(snapshot, features), *_process(snapshot)]
    in_flight, connections = snapshot.in_flight, snapshot.connections
    families += [
        _family("http_requests_in_flight", "gauge", "Requests without a response.", [({}, in_flight)]),
        _family("http_connections", "gauge", "Open connections.", [({}, connections)]),
        _family("model_info", "gauge", "The model and release that are served.", [(info, 1)] if info else []),
        _family("model_ready", "gauge", "Whether the model is ready.", [({}, int(info is not None))]),
    ]
    return "".join(families).encode()


Sample = tuple[dict[str, str], float]


def _family(name: str, kind: str, help_text: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]
    return "\n".join([*lines, *(_line(name, labels, value) for labels, value in samples)]) + "\n"


def _line(name: str, labels: dict[str, str], value: float) -> str:
    inside = ",".join(f'{label}="{_escape(text)}"' for label, text in labels.items())
    return f"{name}{{{inside}}} {value}" if inside else f"{name} {value}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _requests(snapshot: Snapshot) -> Iterator[str]:
    routes = sorted(snapshot.routes.items())
    yield _family(
        "http_requests_total",
        "counter",
        "Responses sent.",
        (
            ({"route": name, "status": str(status)}, count)
            for name, route in routes
            for status, count in sorted(route.statuses.items())
        ),
    )
    name, head = "http_request_seconds", "Time from a whole request to its response."
    lines = [f"# HELP {name} {head}", f"# TYPE {name} histogram"]
    lines += [line for path, route in routes for line in _histogram(name, path, route)]
    yield "\n".join(lines) + "\n"


def _histogram(name: str, path: str, route: Route) -> Iterator[str]:
    below = 0
    for bound, count in zip((*map(str, SECONDS), "+Inf"), route.buckets, strict=True):
        below += count
        yield _line(f"{name}_bucket", {"route": path, "le": bound}, below)
    yield _line(f"{name}_sum", {"route": path}, route.seconds)
    yield _line(f"{name}_count", {"route": path}, below)


def _drift(snapshot: Snapshot, features: Sequence[Feature]) -> Iterator[str]:
    yield _family("predictions_total", "counter", "Rows predicted.", [({}, snapshot.predictions)])
    learned = map(shares, features)
    yield _family(
        "input_bin_total", "counter", "Inputs in a bin of the training rows.", _bins(features, snapshot.bins)
    )
    yield _family(
        "input_bin_share", "gauge", "Share of the training rows in a bin.", _bins(features, learned)
    )


def _bins(features: Sequence[Feature], values: Iterable[Sequence[float]]) -> Iterator[Sample]:
    for feature, row in zip(features, values, strict=True):
        for index, value in enumerate(row):
            is_missing = index == len(feature.bins.shares)
            yield {"feature": feature.name, "bin": "missing" if is_missing else str(index)}, value


def _process(snapshot: Snapshot) -> Iterator[str]:
    started, memory, cpu = snapshot.started, snapshot.memory_bytes, snapshot.cpu_seconds
    yield _family("process_start_time_seconds", "gauge", "When the last process began.", [({}, started)])
    yield _family("process_resident_memory_bytes", "gauge", "Memory in use.", [({}, memory)])
    yield _family("process_cpu_seconds_total", "counter", "Processor time used.", [({}, cpu)])
