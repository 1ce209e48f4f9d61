"""Plots: well-formed, small, without colours of their own, the same for the same model."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression
from sklearn.naive_bayes import GaussianNB

from app.modelling import artifact
from training.judging import plots
from training.reading.table import Examples

SVG = "{http://www.w3.org/2000/svg}"


def drawn(estimator: Any, data: Any, classes: tuple[str, ...], positive: int | None) -> Mapping[str, bytes]:
    x, y = data(return_X_y=True, as_frame=True)
    return plots.plots(estimator.fit(x, y.to_numpy()), Examples(x, y.to_numpy(), classes, {}), positive)


def texts(svg: bytes) -> list[str]:
    return [str(element.text) for element in ET.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize(
    ("estimator", "data", "classes", "positive", "names"),
    [
        (GaussianNB(), load_breast_cancer, ("<bad>", "good & well"), 0, {"roc.svg", "calibration.svg"}),
        (GaussianNB(), load_wine, ("a", "b", "a very long name"), None, {"classes.svg"}),
        (LinearRegression(), load_diabetes, (), None, {"residuals.svg"}),
        (DummyRegressor(), load_diabetes, (), None, {"residuals.svg"}),
    ],
)
def test_every_task_has_plots_that_a_page_can_show_in_its_own_colours(
    estimator: Any, data: Any, classes: tuple[str, ...], positive: int | None, names: set[str]
) -> None:
    found = drawn(estimator, data, classes, positive)
    assert set(found) == names <= set(artifact.PLOT_FILES)
    assert found == drawn(estimator, data, classes, positive)
    for content in found.values():
        root = ET.fromstring(content)
        assert root.find(f"{SVG}title") is not None
        assert len(content) < 30_000
        assert b"nan" not in content
        colours = {element.get(name) for element in root.iter() for name in ("fill", "stroke")}
        assert colours <= {None, "none", "currentColor"}


def test_the_roc_curve_goes_from_corner_to_corner() -> None:
    roc = ET.fromstring(drawn(GaussianNB(), load_breast_cancer, ("b", "m"), 1)["roc.svg"])
    curve = [path.get("d", "") for path in roc.iter(f"{SVG}path")][-1]
    assert curve.startswith(f"M{plots.LEFT:.1f} {plots.BOTTOM:.1f}L")
    assert curve.endswith(f"L{plots.RIGHT:.1f} {plots.TOP:.1f}")


def test_calibration_is_about_the_class_whose_probability_is_served() -> None:
    found = drawn(GaussianNB(), load_breast_cancer, ("<bad>", "good"), 0)
    assert "predicted P(<bad>)" in texts(found["calibration.svg"])


def test_bars_are_as_long_as_the_class_s_recall_and_named() -> None:
    x, y = np.array([[0.0], [0.0], [1.0], [2.0]]), np.array([0, 0, 1, 2])

    class Fixed:
        def predict(self, x: object) -> Any:
            return np.array([0, 1, 1, 1])

    svg = plots.plots(Fixed(), Examples(x, y, ("no", "yes", "perhaps so"), {}), None)["classes.svg"]  # type: ignore[arg-type]
    bars = ET.fromstring(svg).iter(f"{SVG}rect")
    length = plots.RIGHT - plots.LEFT
    assert [float(bar.get("width", "")) / length for bar in bars] == [0.5, 1.0, 0.0]
    assert {"no", "yes", "perhaps…"} <= set(texts(svg))
