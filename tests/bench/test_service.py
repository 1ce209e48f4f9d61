"""Reports of the benchmark: medians, ratios, tables and files."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from bench.service import image, load, report
from bench.service.process import Request, start_contestant

SCALES = {"this": 10.0, "naive": 1.0, "peer": 4.0, "uvicorn": 5.0, "nginx": 20.0}
OTHERS = {"this": 10.0, "two workers": 18.0, "naive": 1.0, "litserve": 5.0}
SIZES = {"this": {"image_mb": 60.0}, "naive": {"image_mb": 400.0}}


def figures(model: str, contestant: str, number: int, scale: float) -> dict[str, Any]:
    """Return a round's figures; those of the third round are far off."""
    seen = {"rate": 1000 * scale, "cpu_us": 10 / scale, "p99_us": 100 / scale}
    return {
        "round": number,
        "model": model,
        "contestant": contestant,
        "first_s": 3 / scale,
        "following_s": 2 / scale,
        "cold_start_s": 1 / scale,
        "memory_mb": 100 / scale,
        "memory_after_docs_mb": 200 / scale,
        "batch_cpu_us_per_row": 5 / scale,
        **dict.fromkeys(("wrk_1", "wrk_many", "httpx"), seen),
    }


@pytest.fixture
def raw() -> list[dict[str, Any]]:
    """Return three rounds in which this service is ten times the usual one and half of nginx."""
    found = []
    for number, model in product(range(3), report.MODELS):
        scales = OTHERS if model == "neighbors" else SCALES
        for name, scale in scales.items():
            if model == report.DEFAULT or name not in ("uvicorn", "nginx"):
                found.append(figures(model, name, number, scale * (100 if number == 2 else 1)))
    return found


def test_ratios_are_of_the_default_model_s_medians(raw: list[dict[str, Any]]) -> None:
    assert report.ratios(raw) == pytest.approx(
        {
            "requests_vs_naive": 10,
            "requests_vs_nginx": 0.5,
            "cpu_vs_naive": 0.1,
            "cpu_vs_nginx": 2,
            "cpu_vs_peer": 0.4,
            "cold_start_vs_naive": 0.1,
            "memory_vs_naive": 0.1,
            "memory_after_docs_vs_naive": 0.1,
        }
    )
    assert report.model_ratios(raw)["forest"]["cpu_vs_peer"] == pytest.approx(0.4)
    assert report.served_by_scikit_learn(raw) == pytest.approx(
        {
            "requests_of_two_workers_vs_one": 1.8,
            "requests_vs_litserve": 2,
            "requests_vs_naive": 10,
            "first_prediction_vs_median": 1.5,
        }
    )


def test_the_results_have_every_raw_figure_with_its_round(raw: list[dict[str, Any]], tmp_path: Path) -> None:
    found = report.results(raw, SIZES, {"python": "3.11"})
    report.write(tmp_path, found)
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["rounds"] == raw
    assert (written["cpu_us_per_request"], written["image_mb"]) == (1.0, 60.0)
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "table.md").read_text() == report.table(written)


def test_the_tables_have_a_row_for_each(raw: list[dict[str, Any]]) -> None:
    head, _, *rows = (
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in report.table(report.results(raw, SIZES, {})).splitlines()
    )
    assert head == ["model", "served by", *report.COLUMNS, "image"]
    assert [row[1] for row in rows] == [
        *(report.NAMES[name] for name in SCALES),
        *[report.NAMES[name] for name in ("this", "naive", "peer")] * 2,
    ]
    assert rows[0] == [
        "the model here",
        "this service",
        "10,000",
        "1.0 µs",
        "0.0 ms",
        "100 ms",
        "10 MB",
        "60 MB",
    ]
    assert rows[3][0] == rows[4][0] == "none"
    assert "| logistic regression, 30 features | 0.5 µs | 5.0 µs | 1.2 µs |" in report.table_of_batches(raw)
    assert report.table_of_scikit_learn(raw).count("| 1.5 |") == len(OTHERS)


def test_a_package_is_as_large_as_what_it_requires_together() -> None:
    alone = image.installed_megabytes(["h11"])
    assert 0 < alone < image.installed_megabytes(["uvicorn", "h11"])


def test_a_contestant_that_ends_before_it_answers_ends_the_benchmark() -> None:
    with (
        pytest.raises(SystemExit, match=r"'false'.* ended with 1"),
        start_contestant(["false"], {"PATH": "/usr/bin:/bin"}, 1, Request("/")),
    ):
        pytest.fail("it never answered")


def test_a_load_with_failures_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {"requests": 9, "seconds": 1.0, "errors": 2, "p50_us": 1, "p99_us": 1}
    monkeypatch.setattr(load, "CLIENT_CORE", "0")
    with pytest.raises(SystemExit, match="2 of 9 requests failed"):
        load._run(["echo", json.dumps(seen)])
