"""What was measured, as results.json with every raw figure, as a table, and as a picture."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Raw = Sequence[Mapping[str, Any]]
NAMES = {
    "this": "this service",
    "naive": "FastAPI + scikit-learn",
    "uvicorn": "bare uvicorn",
    "nginx": "nginx",
}


def median(raw: Raw, contestant: str, *path: str) -> float:
    """Return the median of a contestant's figure over the rounds."""
    found = []
    for figures in raw:
        if figures["contestant"] == contestant:
            value: Any = figures
            for name in path:
                value = value[name]
            found.append(float(value))
    return statistics.median(found)


def ratios(raw: Raw) -> dict[str, float]:
    """Return how this service compares: requests a second at 32 connections, start and memory."""

    def ratio(other: str, *path: str) -> float:
        return median(raw, "this", *path) / median(raw, other, *path)

    return {
        "requests_vs_naive": ratio("naive", "wrk_32", "rate"),
        "requests_vs_nginx": ratio("nginx", "wrk_32", "rate"),
        "cold_start_vs_naive": ratio("naive", "cold_start_s"),
        "memory_vs_naive": ratio("naive", "memory_mb"),
        "memory_after_docs_vs_naive": ratio("naive", "memory_after_docs_mb"),
    }


def results(raw: Raw, sizes: Mapping[str, float], machine: Mapping[str, str]) -> dict[str, Any]:
    """Return all of results.json."""
    return {
        "ratios": ratios(raw),
        "cpu_us_per_request": median(raw, "this", "wrk_32", "cpu_us"),
        **sizes,
        "batch_rows_per_second": {name: _rows(raw, name) for name in ("this", "naive")},
        "machine": machine,
        "rounds": raw,
    }


def _rows(raw: Raw, contestant: str) -> float:
    return median(raw, contestant, "batch_rows_per_second")


COLUMNS: Mapping[str, Callable[[Raw, str], str]] = {
    "requests/s, 32 connections": lambda raw, name: f"{median(raw, name, 'wrk_32', 'rate'):,.0f}",
    "1 connection": lambda raw, name: f"{median(raw, name, 'wrk_1', 'rate'):,.0f}",
    "an httpx client": lambda raw, name: f"{median(raw, name, 'httpx', 'rate'):,.0f}",
    "CPU a request": lambda raw, name: f"{median(raw, name, 'wrk_32', 'cpu_us'):.1f} µs",
    "p99": lambda raw, name: f"{median(raw, name, 'wrk_32', 'p99_us') / 1000:.1f} ms",
    "cold start": lambda raw, name: f"{1000 * median(raw, name, 'cold_start_s'):.0f} ms",
    "memory": lambda raw, name: f"{median(raw, name, 'memory_mb'):.0f} MB",
}


def table(raw: Raw) -> str:
    """Return the medians as a table in Markdown."""
    rows = [["", *COLUMNS], ["---"] * (len(COLUMNS) + 1)]
    rows += [[text, *(column(raw, name) for column in COLUMNS.values())] for name, text in NAMES.items()]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def write(folder: Path, found: Mapping[str, Any]) -> None:
    """Write results.json, table.md and plot.png into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "table.md").write_text(table(found["rounds"]))
    _plot(folder / "plot.png", found["rounds"])


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _plot(path: Path, raw: Raw) -> None:
    # Imported late: it takes a second, and only the picture needs it.
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figures = {
        "requests/s (32 connections)": ("wrk_32", "rate"),
        "CPU µs a request": ("wrk_32", "cpu_us"),
        "cold start, s": ("cold_start_s",),
        "memory, MB": ("memory_mb",),
    }
    drawn, axes = pyplot.subplots(1, len(figures), figsize=(14, 3), layout="constrained")
    for axis, (title, figure) in zip(axes, figures.items(), strict=True):
        values = [median(raw, name, *figure) for name in NAMES]
        bars = axis.barh(list(NAMES.values()), values, color=["#0b6e4f", "#9a9a9a", "#c4c4c4", "#c4c4c4"])
        axis.bar_label(bars, fmt=_short, padding=3)
        axis.set(title=title, xscale="log")
        axis.invert_yaxis()
        axis.margins(x=0.35)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[1:]:
        axis.set_yticklabels([])
    drawn.savefig(path, dpi=110)
