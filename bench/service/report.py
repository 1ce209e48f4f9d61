"""Results of the benchmark: results.json with every raw figure, tables, and a plot."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Raw = Sequence[Mapping[str, Any]]
Sizes = Mapping[str, float]
DEFAULT = "default"
MODELS = {
    DEFAULT: "the model here",
    "linear": "logistic regression, 30 features",
    "boosting": "histogram boosting, 300 x 31",
    "forest": "random forest, 350,000 nodes",
    "neighbors": "nearest neighbors, by scikit-learn",
}
NAMES = {
    "this": "this service",
    "two workers": "this service, 2 workers on 2 cores",
    "naive": "FastAPI + scikit-learn",
    "peer": "uvicorn + ONNX Runtime",
    "litserve": "LitServe, in batches",
    "uvicorn": "bare uvicorn",
    "nginx": "nginx",
}
COMPARED = (DEFAULT, "boosting", "forest")


def median(raw: Raw, model: str, contestant: str, *path: str) -> float:
    """Return the median of a figure over the rounds. Raises KeyError for what was not measured."""
    found = []
    for figures in raw:
        if (figures["model"], figures["contestant"]) == (model, contestant):
            value: Any = figures
            for name in path:
                value = value[name]
            found.append(float(value))
    if not found:
        raise KeyError(model, contestant)
    return statistics.median(found)


def ratio(raw: Raw, model: str, other: str, *path: str) -> float:
    """Return this service's figure for a model divided by another contestant's."""
    return median(raw, model, "this", *path) / median(raw, model, other, *path)


def ratios(raw: Raw) -> dict[str, float]:
    """Return how this service compares with the default model."""
    return {
        "requests_vs_naive": ratio(raw, DEFAULT, "naive", "wrk_many", "rate"),
        "requests_vs_nginx": ratio(raw, DEFAULT, "nginx", "wrk_many", "rate"),
        "cpu_vs_naive": ratio(raw, DEFAULT, "naive", "wrk_many", "cpu_us"),
        "cpu_vs_nginx": ratio(raw, DEFAULT, "nginx", "wrk_many", "cpu_us"),
        "cpu_vs_peer": ratio(raw, DEFAULT, "peer", "wrk_many", "cpu_us"),
        "cold_start_vs_naive": ratio(raw, DEFAULT, "naive", "cold_start_s"),
        "memory_vs_naive": ratio(raw, DEFAULT, "naive", "memory_mb"),
        "memory_after_docs_vs_naive": ratio(raw, DEFAULT, "naive", "memory_after_docs_mb"),
    }


def model_ratios(raw: Raw) -> dict[str, dict[str, float]]:
    """Return the same for the larger models: CPU a request, cold start and memory."""
    return {
        model: {
            "cpu_vs_naive": ratio(raw, model, "naive", "wrk_many", "cpu_us"),
            "cpu_vs_peer": ratio(raw, model, "peer", "wrk_many", "cpu_us"),
            "cold_start_vs_naive": ratio(raw, model, "naive", "cold_start_s"),
            "memory_vs_naive": ratio(raw, model, "naive", "memory_mb"),
        }
        for model in COMPARED[1:]
    }


def served_by_scikit_learn(raw: Raw) -> dict[str, float]:
    """Return how the model that isn't portable is served: with two workers, beside LitServe, and at first."""
    model = "neighbors"
    two = median(raw, model, "two workers", "wrk_many", "rate")
    return {
        "requests_of_two_workers_vs_one": two / median(raw, model, "this", "wrk_many", "rate"),
        "requests_vs_litserve": ratio(raw, model, "litserve", "wrk_many", "rate"),
        "requests_vs_naive": ratio(raw, model, "naive", "wrk_many", "rate"),
        "first_prediction_vs_median": statistics.median(
            each["first_s"] / each["following_s"]
            for each in raw
            if (each["model"], each["contestant"]) == (model, "this")
        ),
    }


def results(raw: Raw, sizes: Mapping[str, Sizes], machine: Mapping[str, str]) -> dict[str, Any]:
    """Return all of results.json; sizes are an image's figures by the contestant's name."""
    return {
        "ratios": ratios(raw),
        "model_ratios": model_ratios(raw),
        "served_by_scikit_learn": served_by_scikit_learn(raw),
        "cpu_us_per_request": median(raw, DEFAULT, "this", "wrk_many", "cpu_us"),
        **sizes.get("this", {}),
        "images": sizes,
        "machine": machine,
        "rounds": raw,
    }


Column = Callable[[Raw, str, str], str]
COLUMNS: Mapping[str, Column] = {
    "requests/s": lambda raw, *who: f"{median(raw, *who, 'wrk_many', 'rate'):,.0f}",
    "CPU a request": lambda raw, *who: _microseconds(median(raw, *who, "wrk_many", "cpu_us")),
    "p99": lambda raw, *who: f"{median(raw, *who, 'wrk_many', 'p99_us') / 1000:.1f} ms",
    "cold start": lambda raw, *who: f"{1000 * median(raw, *who, 'cold_start_s'):,.0f} ms",
    "memory": lambda raw, *who: f"{median(raw, *who, 'memory_mb'):.0f} MB",
}


def table(found: Mapping[str, Any]) -> str:
    """Return the medians of results as a table in Markdown: three models, and what answers without one."""
    raw, images = found["rounds"], found["images"]
    lines = [["model", "served by", *COLUMNS, "image"]]
    for model, contestant in _measured_pairs(raw, COMPARED):
        size = images.get(contestant, {}).get("image_mb")
        shown = MODELS[model] if contestant not in ("uvicorn", "nginx") else "none"
        figures = [column(raw, model, contestant) for column in COLUMNS.values()]
        lines.append([shown, NAMES[contestant], *figures, f"{size:.0f} MB" if size else ""])
    return _to_markdown(lines)


def table_of_batches(raw: Raw) -> str:
    """Return the CPU of a row in batches of 1,000 as a table in Markdown."""
    lines = [["CPU a row, batches of 1,000", *(NAMES[each] for each in ("this", "naive", "peer"))]]
    for model in (DEFAULT, "linear", "boosting", "forest"):
        cells = [median(raw, model, each, "batch_cpu_us_per_row") for each in ("this", "naive", "peer")]
        lines.append([MODELS[model], *map(_microseconds, cells)])
    return _to_markdown(lines)


def table_of_scikit_learn(raw: Raw) -> str:
    """Return how the model that isn't portable is served, as a table in Markdown."""
    lines = [[MODELS["neighbors"], *COLUMNS, "first prediction / median"]]
    for model, contestant in _measured_pairs(raw, ("neighbors",)):
        first = median(raw, model, contestant, "first_s") / median(raw, model, contestant, "following_s")
        figures = [column(raw, model, contestant) for column in COLUMNS.values()]
        lines.append([NAMES[contestant], *figures, f"{first:.1f}"])
    return _to_markdown(lines)


def _measured_pairs(raw: Raw, models: Sequence[str]) -> list[tuple[str, str]]:
    """Return the models and contestants that were measured, in the order of the table."""
    there = {(each["model"], each["contestant"]) for each in raw}
    return [(model, name) for model in models for name in NAMES if (model, name) in there]


def _microseconds(value: float) -> str:
    return f"{value:,.0f} µs" if value >= 100 else f"{value:.1f} µs"


def _to_markdown(lines: Sequence[Sequence[str]]) -> str:
    head, *rows = lines
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, ["---"] * len(head), *rows))


def write(folder: Path, found: Mapping[str, Any]) -> None:
    """Write results.json, table.md, batches.md, scikit-learn.md and plot.png into a folder."""
    raw = found["rounds"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "table.md").write_text(table(found))
    (folder / "batches.md").write_text(table_of_batches(raw))
    (folder / "scikit-learn.md").write_text(table_of_scikit_learn(raw))
    _plot(folder / "plot.png", raw)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _plot(path: Path, raw: Raw) -> None:
    # Imported late: it takes a second, and only the picture needs it.
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawn, axes = pyplot.subplots(1, len(COMPARED), figsize=(14, 2.6), layout="constrained")
    for axis, model in zip(axes, COMPARED, strict=True):
        names = [name for _, name in _measured_pairs(raw, (model,))]
        values = [median(raw, model, name, "wrk_many", "cpu_us") for name in names]
        colors = ["#0b6e4f" if name == "this" else "#b0b0b0" for name in names]
        bars = axis.barh([NAMES[name] for name in names], values, color=colors)
        axis.bar_label(bars, fmt=_short, padding=3)
        axis.set(title=f"{MODELS[model]}: CPU µs a request", xscale="log")
        axis.invert_yaxis()
        axis.margins(x=0.35)
        axis.spines[["top", "right"]].set_visible(False)
    drawn.savefig(path, dpi=110)
