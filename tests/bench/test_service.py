"""What the benchmark makes of its figures: medians, ratios, a table, and files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.service import load, report
from bench.service.process import Request, started


def figures(contestant: str, number: int, scale: float) -> dict[str, Any]:
    """Return a round's figures; those of the third round are far off."""
    seen = {"rate": 1000 * scale, "cpu_us": 10 / scale, "p99_us": 100 / scale}
    return {
        "round": number,
        "contestant": contestant,
        "cold_start_s": 1 / scale,
        "memory_mb": 100 / scale,
        "memory_after_docs_mb": 200 / scale,
        "batch_rows_per_second": 5 * scale,
        **dict.fromkeys(("wrk_1", "wrk_32", "httpx"), seen),
    }


@pytest.fixture
def raw() -> list[dict[str, Any]]:
    """Return three rounds in which this service is ten times the usual one and half of nginx."""
    scales = {"this": 10.0, "naive": 1.0, "uvicorn": 5.0, "nginx": 20.0}
    return [
        figures(name, number, scale * (100 if number == 2 else 1))
        for number in range(3)
        for name, scale in scales.items()
    ]


def test_ratios_are_of_medians(raw: list[dict[str, Any]]) -> None:
    assert report.ratios(raw) == pytest.approx(
        {
            "requests_vs_naive": 10,
            "requests_vs_nginx": 0.5,
            "cold_start_vs_naive": 0.1,
            "memory_vs_naive": 0.1,
            "memory_after_docs_vs_naive": 0.1,
        }
    )


def test_the_results_have_every_raw_figure_with_its_round(raw: list[dict[str, Any]], tmp_path: Path) -> None:
    found = report.results(raw, {"image_mb": 60.0}, {"python": "3.11"})
    report.write(tmp_path, found)
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["rounds"] == raw
    assert (written["cpu_us_per_request"], written["image_mb"]) == (1.0, 60.0)
    assert written["batch_rows_per_second"] == {"this": 50.0, "naive": 5.0}
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_has_a_row_for_each(raw: list[dict[str, Any]]) -> None:
    head, _, *rows = report.table(raw).splitlines()
    assert head.split("|")[2].strip() == "requests/s, 32 connections"
    assert [row.split("|")[1].strip() for row in rows] == list(report.NAMES.values())
    assert rows[0].split("|")[2:5] == [" 10,000 "] * 3


def test_a_contestant_that_ends_before_it_answers_ends_the_benchmark() -> None:
    with (
        pytest.raises(SystemExit, match=r"'false'.* ended with 1"),
        started(["false"], {"PATH": "/usr/bin:/bin"}, 1, Request("/")),
    ):
        pytest.fail("it never answered")


def test_a_load_with_failures_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {"requests": 9, "seconds": 1.0, "errors": 2, "p50_us": 1, "p99_us": 1}
    monkeypatch.setattr(load, "CLIENT_CORE", "0")
    with pytest.raises(SystemExit, match="2 of 9 requests failed"):
        load._run(["echo", json.dumps(seen)])
