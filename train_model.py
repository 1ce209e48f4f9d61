"""Train the model that the service serves: `python train_model.py [--output DIR] [--settings FILE]`.

To ship your own model, edit `[tool.milestone2]` in pyproject.toml and `make_model()` below.

Exit status: 0 trained, 1 the score is below the minimum or the model cannot be written,
2 the settings or the data are unusable.
"""

from __future__ import annotations

import os

# Same input, same bytes on every x86-64-v3 machine: BLAS and NumPy choose their arithmetic by what the
# processor can do, and threads change the order of sums. The libraries read these when first imported.
FIXED_ARITHMETIC = {
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}
if __name__ == "__main__":
    os.environ.update(FIXED_ARITHMETIC)

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from app.errors import BadData, TrainingError
from app.modelling import artifact
from app.modelling.artifact import Card
from app.modelling.estimator import Estimator
from training.fit import fit
from training.package import package
from training.settings import read_settings
from training.table import read_table


def make_model() -> Estimator:
    """Return the unfitted estimator to train: a classifier, or a regressor for a target in numbers."""
    # Without the limits a feature near the largest double overflows when divided by a small deviation.
    limits = FunctionTransformer(np.clip, kw_args={"a_min": -1e100, "a_max": 1e100})
    model: Estimator = make_pipeline(StandardScaler(), limits, LogisticRegression())
    return model


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, write the model folder, and return the exit status."""
    parser = argparse.ArgumentParser(description="Train the model that the service serves.")
    parser.add_argument("--output", type=Path, default=Path("model"), help="folder to write to (model)")
    beside = Path(__file__).with_name("pyproject.toml")
    parser.add_argument("--settings", type=Path, default=beside, help="TOML file (pyproject.toml)")
    options = parser.parse_args(arguments)
    try:
        settings = read_settings(options.settings)
        table = read_table(settings.data, options.settings.parent)
        card, files = package(fit(make_model(), table, settings), table, settings)
        artifact.save(options.output, card, files)
    except (TrainingError, OSError) as error:
        print(f"train_model: {error}", file=sys.stderr)
        return 2 if isinstance(error, BadData) else 1
    print(f"{options.output}: {_summary(card)}")
    return 0


def _summary(card: Card) -> str:
    figures = ", ".join(f"{name} {value:.4f}" for name, value in card.metrics.items())
    if card.portable:
        return f"{figures}, portable model with SHA-256 {card.portable.sha256}"
    return f"{figures}, not portable, so scikit-learn serves it: {card.not_portable}"


if __name__ == "__main__":
    sys.exit(main())
