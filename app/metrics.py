"""What GET /metrics tells: plain lists and integers that requests count up, rendered only when asked for.

A prediction is counted in the bins of the training rows: input_bin_total beside input_bin_share shows
whether the service is asked about other things than the model has learned from.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path

from app.modelling.artifact import Card

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
OTHER = "other"  # the route of all paths that aren't known
MEDIA_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Route:
    """How often and how fast one route answered."""

    def __init__(self) -> None:
        self.statuses: defaultdict[int, int] = defaultdict(int)
        self.buckets = [0] * (len(SECONDS) + 1)
        self.seconds = 0.0

    def answered(self, status: int, seconds: float) -> None:
        """Count an answer."""
        self.statuses[status] += 1
        self.buckets[bisect_left(SECONDS, seconds)] += 1
        self.seconds += seconds


class Metrics:
    """The counters of one process."""

    def __init__(self, card: Card | None) -> None:
        self.started = _started()
        self.routes: defaultdict[str, Route] = defaultdict(Route)
        self.in_flight = 0
        self.predictions = 0
        self.features = card.features if card else ()
        self.bins = [[0] * len(feature.bins.shares) for feature in self.features]
        self._columns = [
            (column, feature.bins.edges, self.bins[column]) for column, feature in enumerate(self.features)
        ]

    def predicted(self, row: Sequence[float]) -> None:
        """Count a prediction, and its features in their bins."""
        self.predictions += 1
        for column, edges, counts in self._columns:
            counts[bisect_left(edges, row[column])] += 1

    def predicted_all(self, rows: Sequence[Sequence[float]]) -> None:
        """Count the predictions for rows, one feature after the other."""
        self.predictions += len(rows)
        for (_, edges, counts), values in zip(self._columns, zip(*rows, strict=True), strict=True):
            for index, count in Counter(map(bisect_left, repeat(edges), values)).items():
                counts[index] += count


def render(metrics: Metrics, info: dict[str, str] | None, connections: int) -> bytes:
    """Return everything in Prometheus's text format; `info` describes the model, if there is one."""
    families = [*_requests(metrics), *_drift(metrics), *_process(metrics.started)]
    families += [
        _family("http_requests_in_flight", "gauge", "Requests without an answer.", [({}, metrics.in_flight)]),
        _family("http_connections", "gauge", "Open connections.", [({}, connections)]),
        _family("model_info", "gauge", "What is served.", [(info, 1)] if info else []),
        _family("model_ready", "gauge", "Whether the model can be asked.", [({}, int(info is not None))]),
    ]
    return "".join(families).encode()


Sample = tuple[dict[str, str], float]


def _family(name: str, kind: str, help_text: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]
    return "\n".join([*lines, *(_line(name, labels, value) for labels, value in samples)]) + "\n"


def _line(name: str, labels: dict[str, str], value: float) -> str:
    inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{inside}}} {value}" if inside else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _requests(metrics: Metrics) -> Iterator[str]:
    routes = sorted(metrics.routes.items())
    yield _family(
        "http_requests_total",
        "counter",
        "Requests answered.",
        (
            ({"route": name, "status": str(status)}, count)
            for name, route in routes
            for status, count in sorted(route.statuses.items())
        ),
    )
    name, head = "http_request_seconds", "Time from a whole request to its answer."
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


def _drift(metrics: Metrics) -> Iterator[str]:
    yield _family("predictions_total", "counter", "Rows predicted.", [({}, metrics.predictions)])
    names = [feature.name for feature in metrics.features]
    shares = [feature.bins.shares for feature in metrics.features]
    yield _family(
        "input_bin_total", "counter", "Inputs in a bin of the training rows.", _bins(names, metrics.bins)
    )
    yield _family("input_bin_share", "gauge", "Share of the training rows in a bin.", _bins(names, shares))


def _bins(names: Sequence[str], values: Iterable[Sequence[float]]) -> Iterator[Sample]:
    for name, row in zip(names, values, strict=True):
        for index, value in enumerate(row):
            yield {"feature": name, "bin": str(index)}, value


def _process(started: float) -> Iterator[str]:
    user, system, pages = (int(_own_stat()[index]) for index in (11, 12, 21))
    resident, cpu = pages * os.sysconf("SC_PAGESIZE"), (user + system) / os.sysconf("SC_CLK_TCK")
    yield _family("process_start_time_seconds", "gauge", "When the process began.", [({}, started)])
    yield _family("process_resident_memory_bytes", "gauge", "Memory in use.", [({}, resident)])
    yield _family("process_cpu_seconds_total", "counter", "Processor time used.", [({}, cpu)])


def _started() -> float:
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return round(booted + int(_own_stat()[19]) / os.sysconf("SC_CLK_TCK"), 2)


def _own_stat() -> list[str]:
    """Return the fields of proc_pid_stat(5) behind the command's name, which may hold anything."""
    return Path("/proc/self/stat").read_text().rpartition(")")[2].split()
