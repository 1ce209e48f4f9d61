"""`python train_model.py` as a process, on the repository's current settings and estimator."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path

import pytest

from app.modelling.model_loader import load


@pytest.fixture(scope="module")
def folders(trainings: dict[Path, subprocess.Popen[bytes]]) -> list[Path]:
    """Return the folders of the finished trainings."""
    for training in trainings.values():
        output, _ = training.communicate()
        assert training.returncode == 0, output.decode()
        assert b": accuracy" in output or b": r2" in output
    return list(trainings)


def test_training_makes_the_same_bytes_under_every_blas_kernel(folders: list[Path]) -> None:
    first, second = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert first == second
    assert {"model.joblib", "card.json", "golden.json"} < set(first)


def test_what_was_trained_predicts_a_finite_number_for_its_medians(folders: list[Path]) -> None:
    predictor = load(folders[0])
    medians = [feature.quantiles["0.5"] for feature in predictor.card.features]
    assert math.isfinite(predictor.predict(medians))
