"""The model's files: they belong together, and the service can load them."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

from training.handover import golden_check


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_card_has_the_hashes_of_the_files(model: Path, card: dict[str, Any]) -> None:
    assert card["artifact_sha256"] == sha256(model / "model.joblib")
    assert card["golden_sha256"] == sha256(model / "golden.json")
    portable = [sha256(path) for path in (model / "model.json", model / "model.bin") if path.exists()]
    assert portable == ([card["portable"]["sha256"]] if card["portable"] else [])
    assert (card["portable"] is None) == bool(card["not_portable"])


def test_the_card_describes_every_feature(card: dict[str, Any]) -> None:
    assert card["features"]
    for feature in card["features"]:
        quantiles = list(feature["quantiles"].values())
        assert bool(quantiles) == (feature["kind"] in ("number", "integer", "boolean"))
        values = [feature["minimum"], *quantiles, feature["maximum"]] if quantiles else []
        assert values == sorted(values)


def test_the_model_predicts_its_golden_rows(model: Path) -> None:
    assert golden_check.check(model) is None


def test_every_golden_prediction_is_a_finite_number(golden: list[dict[str, Any]]) -> None:
    assert golden
    assert all(math.isfinite(row["prediction"]) for row in golden)
