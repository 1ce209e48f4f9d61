"""Requests, errors and latencies, from Prometheus' text and from Cloud Monitoring's series."""

from __future__ import annotations

import math
from typing import Any

import pytest

from deploying.rollout.request_counts import Numbers, of_metrics, of_series, sum_increases, total
from errors import TargetError

METRICS = """
# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{route="/predict",status="200"} 90
http_requests_total{route="/predict",status="400"} 6
http_requests_total{route="/predict",status="503"} 3
http_requests_total{route="other",status="500"} 1 1795489200000
http_request_seconds_bucket{route="/predict",le="0.01"} 50
http_request_seconds_bucket{route="/predict",le="0.1"} 98
http_request_seconds_bucket{route="/predict",le="+Inf"} 99
http_request_seconds_bucket{route="other",le="0.01"} 1
http_request_seconds_bucket{route="other",le="0.1"} 1
http_request_seconds_bucket{route="other",le="+Inf"} 1
process_start_time_seconds 1.7e9
model_info{name="a \\"b\\" {c}",version="v1"} 1
"""


def test_metrics_of_all_routes_are_added_up_and_5xx_are_errors() -> None:
    assert of_metrics(METRICS) == Numbers(100, 4, {0.01: 51, 0.1: 48, math.inf: 1})


@pytest.mark.parametrize("line", ["<html>", "http_requests_total", "a{b} x y"])
def test_what_is_no_metric_is_refused(line: str) -> None:
    with pytest.raises(TargetError, match="is no sample of Prometheus' text format"):
        of_metrics(line)


@pytest.mark.parametrize(
    ("took", "part", "expected"),
    [
        ({}, 0.99, None),
        ({1.0: 100}, 0.5, 0.5),
        ({1.0: 50, 3.0: 50}, 0.75, 2.0),
        ({1.0: 99, math.inf: 1}, 0.995, 1.0),
        ({1.0: 99, math.inf: 1}, 0.99, 1.0),
        ({1.0: 0, 2.0: 10}, 1.0, 2.0),
        ({math.inf: 10}, 0.5, 0.0),
    ],
)
def test_a_quantile_lies_within_its_bucket(
    took: dict[float, int], part: float, expected: float | None
) -> None:
    assert Numbers(1, 0, took).quantile(part) == expected


def test_what_grew_is_counted_by_instance_and_new_or_restarted_ones_from_their_start() -> None:
    before = {"kept": Numbers(10, 1, {1.0: 10}), "restarted": Numbers(50, 0), "gone": Numbers(7, 7)}
    after = {"kept": Numbers(30, 2, {1.0: 25, 2.0: 5}), "restarted": Numbers(5, 1), "new": Numbers(1, 0)}
    assert sum_increases(before, after) == Numbers(26, 2, {1.0: 15, 2.0: 5})


def test_numbers_are_added_and_nothing_is_nothing() -> None:
    assert total([]) == Numbers()
    assert total([Numbers(1, 1, {1.0: 1}), Numbers(2, 0, {2.0: 2})]) == Numbers(3, 1, {1.0: 1, 2.0: 2})
    assert Numbers().error_share == 0.0
    assert Numbers(4, 1).error_share == 0.25


def count_series(kind: str, number: str) -> dict[str, Any]:
    """Return a series of request_count."""
    return {
        "metric": {"labels": {"response_code_class": kind}},
        "points": [{"value": {"int64Value": number}}, {"value": {}}],
    }


def time_series(**distribution: Any) -> dict[str, Any]:
    """Return a series of request_latencies."""
    return {"points": [{"value": {"distributionValue": distribution}}]}


def test_series_are_added_up_and_their_buckets_end_where_google_says() -> None:
    options = {"exponentialBuckets": {"numFiniteBuckets": 2, "growthFactor": 2, "scale": 100}}
    latencies = [
        time_series(bucketOptions=options, bucketCounts=["1", "2", "3", "4"]),
        time_series(bucketOptions=options),
    ]
    counts = [count_series("2xx", "9"), count_series("5xx", "1")]
    assert of_series(counts, latencies) == Numbers(10, 1, {0.1: 1, 0.2: 2, 0.4: 3, math.inf: 4})
    assert of_series([], [time_series()]) == Numbers()


def test_latencies_in_buckets_that_are_not_understood_are_refused() -> None:
    with pytest.raises(TargetError, match="not understood"):
        of_series([], [time_series(bucketOptions={"explicitBuckets": {"bounds": [1]}}, bucketCounts=["1"])])
