"""`python train_model.py` as a process."""

from __future__ import annotations

import subprocess
from pathlib import Path


def test_training_makes_the_same_bytes_under_every_blas_kernel(
    trainings: dict[Path, subprocess.Popen[bytes]],
) -> None:
    for training in trainings.values():
        output, _ = training.communicate(timeout=60)
        assert training.returncode == 0
        assert b"accuracy 0.9" in output
    for name in ("model.joblib", "card.json"):
        first, second = ((folder / name).read_bytes() for folder in trainings)
        assert first == second
