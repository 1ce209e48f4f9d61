"""Plots of a model on the rows held out, as small SVG files.

They draw in `currentColor`: within a page they take its text's colour, in light and dark. A plotting library
would be the largest dependency of the project, and write different bytes on different machines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import recall_score, roc_curve

from app.modelling.estimator import Estimator
from training.reading.table import Examples

WIDTH, HEIGHT = 380, 320
LEFT, RIGHT, TOP, BOTTOM = 60, 364, 16, 272  # of the square that data is drawn in
TICKS = 5
MOST_POINTS = 300
MOST_BARS, LONGEST_LABEL = 20, 8
DASHED, BOLD = 'stroke-dasharray="4" stroke-opacity=".6"', 'stroke-width="2"'

Numbers = NDArray[np.float64]


def plots(model: Estimator, held_out: Examples, positive: int | None) -> dict[str, bytes]:
    """Return the plots that go with the model's task, by file name."""
    if positive is not None:
        probability = model.predict_proba(held_out.x)[:, positive]
        is_positive = held_out.y == positive
        name = f"P({held_out.classes[positive]})"
        return {
            "roc.svg": _roc(is_positive, probability),
            "calibration.svg": _calibration(is_positive, probability, name),
        }
    predicted = model.predict(held_out.x)
    if not held_out.classes:
        return {"residuals.svg": _residuals(held_out.y, predicted)}
    labels = range(len(held_out.classes))
    recalls = recall_score(held_out.y, predicted, labels=labels, average=None, zero_division=0)
    return {"classes.svg": _bars(held_out.classes, recalls)}


@dataclass(frozen=True)
class Axis:
    """A side of a plot: its quantity, from start to end; without a label it has no numbers."""

    label: str
    low: float = 0.0
    high: float = 1.0

    def between(self, values: Any, start: float, end: float) -> Numbers:
        """Return where values lie when the axis is drawn from start to end."""
        share: Numbers = (np.asarray(values) - self.low) / (self.high - self.low)
        return start + (end - start) * share

    def ticks(self) -> Numbers:
        """Return the values to write beside the axis."""
        return np.linspace(self.low, self.high, TICKS if self.label else 0)


@dataclass(frozen=True)
class Plot:
    """Two axes, across and up."""

    title: str
    x: Axis
    y: Axis

    def svg(self, *marks: str) -> bytes:
        """Return the plot with marks in it as a file."""
        middle = f'transform="translate(14 {(TOP + BOTTOM) / 2:g}) rotate(-90)"'
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            'font-family="sans-serif" font-size="12" fill="currentColor">',
            f"<title>{escape(self.title)}</title>",
            f'<path d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}" fill="none" stroke="currentColor"/>',
            *(_text(f'x="{x:.1f}" y="{BOTTOM + 16}"', f"{t:.3g}") for x, t in self._along(self.x)),
            *(_text(f'x="{LEFT - 6}" y="{y + 4:.1f}"', f"{t:.3g}", "end") for y, t in self._along(self.y)),
            _text(f'x="{(LEFT + RIGHT) / 2:g}" y="{HEIGHT - 10}"', self.x.label),
            _text(middle, self.y.label),
            *marks,
            "</svg>\n",
        ]
        return "\n".join(parts).encode()

    def line(self, x: Any, y: Any, style: str = "") -> str:
        """Return a line through points."""
        path = "L".join(f"{left:.1f} {top:.1f}" for left, top in self._places(x, y))
        return f'<path d="M{path}" fill="none" stroke="currentColor" {style}/>'

    def dots(self, x: Any, y: Any, radius: float) -> str:
        """Return a dot at each point."""
        return "".join(
            f'<circle cx="{left:.1f}" cy="{top:.1f}" r="{radius:g}" fill-opacity=".6"/>'
            for left, top in self._places(x, y)
        )

    def _along(self, axis: Axis) -> Iterator[tuple[float, float]]:
        start, end = (LEFT, RIGHT) if axis is self.x else (BOTTOM, TOP)
        yield from zip(axis.between(axis.ticks(), start, end), axis.ticks(), strict=True)

    def _places(self, x: Any, y: Any) -> Iterator[tuple[float, float]]:
        yield from zip(self.x.between(x, LEFT, RIGHT), self.y.between(y, BOTTOM, TOP), strict=True)


def _text(place: str, text: str, anchor: str = "middle") -> str:
    return f'<text {place} text-anchor="{anchor}">{escape(text)}</text>'


def _roc(is_positive: Numbers, probability: Numbers) -> bytes:
    false, true, _ = roc_curve(is_positive, probability)
    kept = _evenly(len(false))
    plot = Plot("ROC curve", Axis("false positive rate"), Axis("true positive rate"))
    return plot.svg(plot.line([0, 1], [0, 1], DASHED), plot.line(false[kept], true[kept], BOLD))


def _calibration(is_positive: Numbers, probability: Numbers, name: str) -> bytes:
    observed, predicted = calibration_curve(is_positive, probability, n_bins=10, strategy="quantile")
    plot = Plot("Calibration", Axis(f"predicted {name}"), Axis("observed share"))
    line = plot.line(predicted, observed, BOLD)
    return plot.svg(plot.line([0, 1], [0, 1], DASHED), line, plot.dots(predicted, observed, 4))


def _residuals(y: Numbers, predicted: Numbers) -> bytes:
    kept = _evenly(len(y))
    residuals = (y - predicted)[kept]
    furthest = float(np.abs(residuals).max()) or 1.0
    across = Axis("predicted", *_ends(predicted[kept]))
    plot = Plot("Residuals", across, Axis("observed - predicted", -furthest, furthest))
    zero = plot.line([across.low, across.high], [0, 0], DASHED)
    return plot.svg(zero, plot.dots(predicted[kept], residuals, 2.5))


def _bars(classes: Sequence[str], recalls: Numbers) -> bytes:
    plot = Plot("Recall of each class", Axis("share recognised"), Axis("", 0, min(len(classes), MOST_BARS)))
    marks = []
    for place, (label, recall) in enumerate(list(zip(classes, recalls, strict=True))[:MOST_BARS]):
        top, bottom = plot.y.between([plot.y.high - place - 0.1, plot.y.high - place - 0.9], BOTTOM, TOP)
        width = (RIGHT - LEFT) * recall
        bar = f'x="{LEFT}" y="{top:.1f}" width="{width:.1f}" height="{bottom - top:.1f}"'
        marks.append(f'<rect {bar} fill-opacity=".6"/>')
        marks.append(_text(f'x="{LEFT - 6}" y="{(top + bottom) / 2 + 4:.1f}"', _short(label), "end"))
    return plot.svg(*marks)


def _short(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"


def _ends(values: Numbers) -> tuple[float, float]:
    """Return where an axis for the values begins and ends; they may all be the same."""
    low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low - 1, high + 1)


def _evenly(count: int) -> NDArray[np.intp]:
    """Return the numbers of at most MOST_POINTS of so many points, the first and the last among them."""
    return np.unique(np.linspace(0, count - 1, MOST_POINTS).round().astype(np.intp))
