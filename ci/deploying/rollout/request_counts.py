"""Counts of requests, errors and latencies, from any target."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from errors import TargetError

_SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)(?: \d+)?")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Numbers:
    """Requests, those answered with 5xx, and how many took at most so many seconds (and more than the last).

    `slowest` maps upper bounds to counts of their own, not added up.
    """

    requests: int = 0
    errors: int = 0
    took: Mapping[float, int] = field(default_factory=dict)

    def __add__(self, other: Self) -> "Numbers":
        return Numbers(
            self.requests + other.requests, self.errors + other.errors, _add(self.took, other.took)
        )

    def since(self, earlier: "Numbers") -> "Numbers":
        """Return what came after an earlier count of the same instance, which may have begun anew."""
        if self.requests < earlier.requests or self.errors < earlier.errors:
            return self
        took = {bound: count - earlier.took.get(bound, 0) for bound, count in self.took.items()}
        return Numbers(self.requests - earlier.requests, self.errors - earlier.errors, took)

    @property
    def error_share(self) -> float:
        """The errors' part of the requests."""
        return self.errors / self.requests if self.requests else 0.0

    def quantile(self, part: float) -> float | None:
        """Return how many seconds a part of the requests took at most, None when none was timed.

        Within a bucket the times are taken to be spread evenly, as Prometheus does; the last one is open.
        """
        left, lower = part * sum(self.took.values()), 0.0
        for bound, count in sorted(self.took.items()):
            if count and left <= count:
                return lower if math.isinf(bound) else lower + (bound - lower) * left / count
            left, lower = left - count, bound if not math.isinf(bound) else lower
        return None


def total(numbers: Iterable[Numbers]) -> Numbers:
    """Return all of them together."""
    return sum(numbers, Numbers())


def sum_increases(before: Mapping[str, Numbers], after: Mapping[str, Numbers]) -> Numbers:
    """Return the numbers counted between two looks at the same instances; new ones count from their start."""
    return total(now.since(before.get(instance, Numbers())) for instance, now in after.items())


def of_metrics(text: str) -> Numbers:
    """Return the numbers of one instance's /metrics, all routes together.

    Raises TargetError when it is not Prometheus' text format.
    https://prometheus.io/docs/instrumenting/exposition_formats/
    """
    requests, errors, reached = 0, 0, Counter[float]()
    for name, labels, value in _samples(text):
        if name == "http_requests_total":
            requests += int(value)
            errors += int(value) if labels.get("status", "").startswith("5") else 0
        elif name == "http_request_seconds_bucket":
            reached[float(labels["le"])] += int(value)
    return Numbers(requests, errors, _own_counts(reached))


def of_series(counts: Iterable[Mapping[str, Any]], latencies: Iterable[Mapping[str, Any]]) -> Numbers:
    """Return the numbers of Cloud Monitoring's series: requests by class of status, latencies in ms."""
    requests = errors = 0
    for series in counts:
        number = sum(int(point["value"].get("int64Value", 0)) for point in series["points"])
        requests += number
        errors += number if series["metric"]["labels"]["response_code_class"] == "5xx" else 0
    took: Counter[float] = Counter()
    for series in latencies:
        for point in series["points"]:
            took.update(_read_distribution(point["value"]["distributionValue"]))
    return Numbers(requests, errors, dict(took))


def _read_distribution(distribution: Mapping[str, Any]) -> dict[float, int]:
    """Return a distribution's counts by upper bound in seconds; its first bucket ends at the scale."""
    buckets = distribution.get("bucketOptions", {}).get("exponentialBuckets")
    counts = [int(count) for count in distribution.get("bucketCounts", ())]
    if buckets is None and any(counts):
        raise TargetError(
            f"monitoring: latencies come in {distribution['bucketOptions']!r:.100}, not understood"
        )
    bounds = (
        [
            buckets["scale"] * buckets["growthFactor"] ** number / 1000
            for number in range(buckets["numFiniteBuckets"] + 1)
        ]
        if buckets
        else []
    )
    return dict(zip([*bounds, math.inf], counts, strict=False))


def _samples(text: str) -> Iterable[tuple[str, dict[str, str], float]]:
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        found = _SAMPLE.fullmatch(line)
        if not found:
            raise TargetError(f"metrics: {line!r:.100} is no sample of Prometheus' text format")
        yield found["name"], dict(_LABEL.findall(found["labels"] or "")), float(found["value"])


def _own_counts(reached: Mapping[float, int]) -> dict[float, int]:
    """Return each bucket's own count, from counts that include the buckets below."""
    own, below = {}, 0
    for bound, count in sorted(reached.items()):
        own[bound], below = count - below, count
    return own


def _add(one: Mapping[float, int], other: Mapping[float, int]) -> dict[float, int]:
    sums: defaultdict[float, int] = defaultdict(int, one)
    for bound, count in other.items():
        sums[bound] += count
    return dict(sums)
