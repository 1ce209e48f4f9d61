"""Counters: plain lists and integers that requests increment, and snapshots of them.

A prediction is counted in the bins of the training rows: input_bin_total beside input_bin_share shows whether
requests differ from the rows that the model was trained on. app.exposition writes the counters as text.
"""

from __future__ import annotations

import os
import time
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from operator import add
from pathlib import Path
from typing import Any

from app.modelling.artifact import Card, Feature
from app.modelling.columns import Row

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
OTHER = "other"  # the route of all paths that aren't known


class Route:
    """Counts and durations of one route's responses."""

    def __init__(self) -> None:
        self.statuses: defaultdict[int, int] = defaultdict(int)
        self.buckets = [0] * (len(SECONDS) + 1)
        self.seconds = 0.0

    def count_response(self, status: int, seconds: float) -> None:
        """Count a response."""
        self.statuses[status] += 1
        self.buckets[bisect_left(SECONDS, seconds)] += 1
        self.seconds += seconds

    def add(self, other: Route) -> None:
        """Count the responses that another has counted."""
        for status, count in other.statuses.items():
            self.statuses[status] += count
        self.buckets = [*map(add, self.buckets, other.buckets)]
        self.seconds += _round(other.seconds)


def shares(feature: Feature) -> tuple[float, ...]:
    """Return the training rows' shares by bin; the last is that of missing values, if the model takes any."""
    return (*feature.bins.shares, feature.missing_share) if feature.missing else feature.bins.shares


class RowCounts:
    """Rows, and how many of their values are in each bin of each feature."""

    def __init__(self, features: Sequence[Feature]) -> None:
        self.rows = 0
        self.bins = [[0] * len(shares(feature)) for feature in features]
        self._columns = list(zip(features, self.bins, strict=True))

    def add(self, rows: int, bins: Sequence[Sequence[int]]) -> None:
        """Count rows whose values were counted elsewhere."""
        self.rows += rows
        for counts, more in zip(self.bins, bins, strict=True):
            counts[:] = map(add, counts, more)

    def count(self, rows: Sequence[Row]) -> None:
        """Count rows, one feature after the other."""
        self.rows += len(rows)
        for (feature, counts), values in zip(self._columns, zip(*rows, strict=True), strict=True):
            edges, present = feature.bins.edges, values
            if feature.missing:
                present = tuple(value for value in values if value == value)
                counts[-1] += len(values) - len(present)
            ordered, below = sorted(present), 0  # which costs less than to look for each value's bin
            for index, edge in enumerate(edges):
                counts[index] += (upto := bisect_right(ordered, edge)) - below
                below = upto
            counts[len(edges)] += len(ordered) - below


class Metrics:
    """The counters of one process."""

    def __init__(self, card: Card | None) -> None:
        self.started = _read_start_time()
        self.routes: defaultdict[str, Route] = defaultdict(Route)
        self.in_flight = 0
        self.predictions = 0
        self.features = card.features if card else ()
        self.bins = [[0] * len(shares(feature)) for feature in self.features]
        columns = [
            (column, feature.bins.edges, self.bins[column]) for column, feature in enumerate(self.features)
        ]
        self._columns = [each for each in columns if not self.features[each[0]].missing]
        self._with_holes = [each for each in columns if self.features[each[0]].missing]

    def count_prediction(self, row: Row) -> None:
        """Count a prediction, and its features in their bins."""
        self.predictions += 1
        for column, edges, counts in self._columns:
            counts[bisect_left(edges, row[column])] += 1
        for column, edges, counts in self._with_holes:
            value = row[column]
            counts[bisect_left(edges, value) if value == value else -1] += 1

    def count_predictions(self, counted: RowCounts) -> None:
        """Count the predictions for rows that were counted."""
        self.predictions += counted.rows
        for counts, more in zip(self.bins, counted.bins, strict=True):
            counts[:] = map(add, counts, more)

    def snapshot(self, connections: int) -> Snapshot:
        """Return what is counted now, and what the kernel says of this process."""
        user, system, pages = (int(_own_stat()[index]) for index in (11, 12, 21))
        return Snapshot(
            routes=self.routes,
            predictions=self.predictions,
            bins=self.bins,
            cpu_seconds=(user + system) / os.sysconf("SC_CLK_TCK"),
            started=self.started,
            in_flight=self.in_flight,
            connections=connections,
            memory_bytes=pages * os.sysconf("SC_PAGESIZE"),
        )


@dataclass(frozen=True)
class Snapshot:
    """The counters of one process, or of several together."""

    routes: Mapping[str, Route] = field(default_factory=dict)
    predictions: int = 0
    bins: list[list[int]] = field(default_factory=list)
    cpu_seconds: float = 0.0
    started: float = 0.0
    in_flight: int = 0
    connections: int = 0
    memory_bytes: int = 0

    def totals(self) -> Snapshot:
        """Return what remains of a process that has ended."""
        return replace(self, in_flight=0, connections=0, memory_bytes=0, started=0.0)

    def as_document(self) -> dict[str, Any]:
        """Return this as JSON knows it."""
        document = {each.name: getattr(self, each.name) for each in fields(self)}
        routes = {name: [route.statuses, route.buckets, route.seconds] for name, route in self.routes.items()}
        return document | {"routes": routes}

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> Snapshot:
        """Return what `as_document` was made of."""
        routes = defaultdict[str, Route](Route)
        for name, (statuses, buckets, seconds) in document["routes"].items():
            route = routes[name]
            route.statuses.update({int(status): count for status, count in statuses.items()})
            route.buckets, route.seconds = buckets, seconds
        return cls(**document | {"routes": routes})


def together(snapshots: Sequence[Snapshot]) -> Snapshot:
    """Return the counters of several processes, which count for the last start of one of them."""
    routes = defaultdict[str, Route](Route)
    for snapshot in snapshots:
        for name, route in snapshot.routes.items():
            routes[name].add(route)
    bins = [each.bins for each in snapshots if each.bins]
    return Snapshot(
        routes=routes,
        predictions=sum(each.predictions for each in snapshots),
        bins=[[sum(counts) for counts in zip(*rows, strict=True)] for rows in zip(*bins, strict=True)],
        cpu_seconds=sum(_round(each.cpu_seconds) for each in snapshots),
        started=max(each.started for each in snapshots),
        in_flight=sum(each.in_flight for each in snapshots),
        connections=sum(each.connections for each in snapshots),
        memory_bytes=sum(each.memory_bytes for each in snapshots),
    )


def _round(seconds: float) -> float:
    """Return about a microsecond's multiple that adds up exactly, in any order: no sum ever decreases."""
    return round(seconds * 2**20) / 2**20


def _read_start_time() -> float:
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return round(booted + int(_own_stat()[19]) / os.sysconf("SC_CLK_TCK"), 2)


def _own_stat() -> list[str]:
    """Return the fields of proc_pid_stat(5) behind the command's name, which may hold anything."""
    return Path("/proc/self/stat").read_text().rpartition(")")[2].split()
