"""Verdicts on candidates, as a table."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest

from deploying.rollout.request_counts import Numbers
from deploying.rollout.verdict import GoldenResults, Limits, identity, verdict

DIGEST = f"sha256:{'a' * 64}"


def numbers(requests: int, errors: int = 0, milliseconds: float = 10) -> Numbers:
    """Return numbers of requests that nearly all took as long."""
    lower, upper = milliseconds / 1000 * 0.999999, milliseconds / 1000
    return Numbers(requests, errors, {lower: 0, upper: requests, math.inf: 0})


@pytest.mark.parametrize(
    ("candidate", "running", "answers", "fault"),
    [
        # no traffic: the golden rows decide
        (Numbers(), Numbers(), GoldenResults(200, (), [0.01] * 200), None),
        (Numbers(), Numbers(), GoldenResults(200, ["predicts 1"], [0.01] * 200), "predicts 1"),
        (
            Numbers(),
            Numbers(),
            GoldenResults(200, (), [0.01] * 180 + [0.9] * 20),
            "p95 900.0 ms, more than 500.0 ms",
        ),
        (Numbers(), Numbers(), GoldenResults(200, (), [0.01] * 195 + [0.9] * 5), None),
        # errors
        (numbers(200, 2), Numbers(), GoldenResults(), None),
        (numbers(200, 3), Numbers(), GoldenResults(), "1.50% errors, more than 1%"),
        (numbers(1000, 8), numbers(1000, 4), GoldenResults(), None),
        (
            numbers(1000, 10),
            numbers(1000, 4),
            GoldenResults(),
            "1.00% errors, 0.5% more than the running release's",
        ),
        (numbers(1000, 10), numbers(100, 0), GoldenResults(), None),  # too few to compare with
        # latencies: from 1,000 samples of both the 99th percentile against the running release's
        (numbers(1000, 0, 14), numbers(1000, 0, 10), GoldenResults(), None),
        (numbers(1000, 0, 20), numbers(1000, 0, 10), GoldenResults(), None),  # 10 ms of slack
        (numbers(1000, 0, 21), numbers(1000, 0, 10), GoldenResults(), "p99 21.0 ms, more than 20.0 ms"),
        (numbers(1000, 0, 151), numbers(1000, 0, 100), GoldenResults(), "p99 151.0 ms, more than 150.0 ms"),
        (numbers(1000, 0, 900), numbers(1000, 0, 800), GoldenResults(), None),  # no ceiling then
        # fewer: the ceiling
        (numbers(999, 0, 100), numbers(1000, 0, 10), GoldenResults(), None),
        (numbers(999, 0, 600), numbers(1000, 0, 10), GoldenResults(), "p95 600.0 ms, more than 500.0 ms"),
        (numbers(1000, 0, 600), numbers(999, 0, 600), GoldenResults(), "p95 600.0 ms, more than 500.0 ms"),
    ],
)
def test_a_candidate_s_numbers_decide(
    candidate: Numbers, running: Numbers, answers: GoldenResults, fault: str | None
) -> None:
    fallen = verdict(candidate, running, answers, Limits())
    assert (fallen.good, list(fallen.faults)) == (fault is None, [fault] if fault else [])


def test_a_verdict_says_its_figures() -> None:
    answers = GoldenResults(150, ["wrong"], [0.001] * 150)
    fallen = verdict(numbers(50, 0, 10), numbers(950, 2, 10), answers, Limits())
    assert str(fallen) == (
        "50 requests, 0 errors, p99 10.0 ms, running 950 requests, 2 errors, p99 10.0 ms, "
        "golden 149 of 150 right, p95 1.0 ms: wrong"
    )
    assert str(verdict(Numbers(), Numbers(), GoldenResults(), Limits())).endswith(
        "running 0 requests, 0 errors: fit"
    )


@pytest.mark.parametrize(
    ("model", "differences"),
    [
        ({"artifact_sha256": "x", "release": {"version": "v1.0.0", "digest": DIGEST}}, []),
        ({"artifact_sha256": "x", "release": {"version": "v1.0.0", "digest": None}}, []),
        ({"artifact_sha256": "x"}, []),
        ({"artifact_sha256": "x", "release": "v1"}, []),
        ({"artifact_sha256": "y"}, ["/model says artifact_sha256 'y', not 'x'"]),
        ({}, ["/model says artifact_sha256 None, not 'x'"]),
        (
            {"artifact_sha256": "x", "release": {"version": "v1.0.1", "digest": "sha256:b"}},
            ["/model says version 'v1.0.1', not 'v1.0.0'", f"/model says digest 'sha256:b', not '{DIGEST}'"],
        ),
    ],
)
def test_a_service_is_identified_by_version_digest_and_hashes(
    model: Mapping[str, object], differences: list[str]
) -> None:
    assert identity(model, {"artifact_sha256": "x"}, "v1.0.0", DIGEST) == differences


def test_golden_answers_are_added_up() -> None:
    both = GoldenResults(1, ["a"], [0.1]) + GoldenResults(2, (), [0.2, 0.3])
    assert both == GoldenResults(3, ["a"], [0.1, 0.2, 0.3])
    assert (both.quantile(0), both.quantile(1), GoldenResults().quantile(0.5)) == (0.1, 0.3, 0.0)
