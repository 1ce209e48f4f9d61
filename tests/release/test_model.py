"""The model's files: they belong together, and the service can load them."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

from app.modelling.model_loader import load


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_card_has_the_hashes_of_the_files(model: Path, card: dict[str, Any]) -> None:
    assert card["artifact_sha256"] == sha256(model / "model.joblib")
    assert card["golden_sha256"] == sha256(model / "golden.json")
    if card["portable"]:
        assert card["portable"]["sha256"] == sha256(model / "model.json")
    else:
        assert card["not_portable"]
        assert not (model / "model.json").exists()


def test_the_card_describes_every_feature(card: dict[str, Any]) -> None:
    assert card["features"]
    for feature in card["features"]:
        quantiles = list(feature["quantiles"].values())
        assert quantiles == sorted(quantiles)
        assert feature["minimum"] <= quantiles[0] <= quantiles[-1] <= feature["maximum"]


def test_the_model_predicts_its_golden_rows(model: Path, golden: list[dict[str, Any]]) -> None:
    predictor = load(model)
    assert [predictor.predict(row["features"]) for row in golden] == [row["prediction"] for row in golden]


def test_every_golden_prediction_is_a_finite_number(golden: list[dict[str, Any]]) -> None:
    assert golden
    assert all(math.isfinite(row["prediction"]) for row in golden)
