"""Command line of training: `python train_model.py [--output DIR] [--settings FILE]`.

Exit status: 0 trained, 1 the score is below the minimum or the model cannot be written,
2 the settings, the data or the team's code are unusable.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from sklearn.base import is_regressor

from app.errors import BadData, TrainingError
from app.modelling import artifact
from app.modelling.artifact import Card
from app.modelling.estimator import Estimator
from training import reproducibility
from training.fit import fit
from training.handover import fresh_process
from training.package import package
from training.reading.table import Data, read_data
from training.report import report
from training.settings import Settings, read_settings
from training.team_code import team_code

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, write the model folder, and return the exit status."""
    parser = argparse.ArgumentParser(prog="train_model.py", description="Train the model to be served.")
    parser.add_argument("--output", type=Path, default=Path("model"), help="folder to write to (model)")
    beside = ROOT / "pyproject.toml"
    parser.add_argument("--settings", type=Path, default=beside, help="TOML file (pyproject.toml)")
    options = parser.parse_args(arguments)
    try:
        data, card, files = _train(read_settings(options.settings), options.settings.parent)
        artifact.save(options.output, card, files)
    except (TrainingError, OSError) as error:
        print(f"train_model: {error}", file=sys.stderr)
        return 2 if isinstance(error, BadData) else 1
    print("\n".join([*report(card, data.source, data.dialect), f"{options.output}: {_summary(card)}"]))
    return 0


def _train(settings: Settings, folder: Path) -> tuple[Data, Card, dict[str, bytes | bytearray]]:
    """Return data, card and files of a model that a process of its own has loaded as the service will."""
    reproducibility.seed()
    estimator = _make_model()
    data = read_data(settings, folder, regression=is_regressor(estimator))
    fitted = fit(estimator, data, settings)
    card, files = package(fitted, settings)
    fresh_process.check(card, files, fitted.estimator)
    return data, card, files


def _make_model() -> Estimator:
    """Return what the team's make_model() returns. Raises BadData when it can't be called."""
    with team_code("train_model.py cannot be imported"):
        import train_model
    with team_code("make_model() failed"):
        return train_model.make_model()


def _summary(card: Card) -> str:
    figures = ", ".join(f"{name} {value:.4f}" for name, value in card.metrics.items())
    if card.portable:
        return f"{figures}, portable model with SHA-256 {card.portable.sha256}"
    return f"{figures}, not portable, so scikit-learn serves it: {card.not_portable}"
