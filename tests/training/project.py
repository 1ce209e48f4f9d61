"""A team's own project: settings, data and an estimator, to train."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import train_model
from app.modelling.model_loader import load
from app.modelling.predictor import Predictor
from training import command
from training.reading.table import Data, read_data
from training.settings import read_settings


@dataclass(frozen=True)
class Project:
    """A folder with settings and data of one's own."""

    folder: Path

    def settings(self, **changes: Any) -> Project:
        table = {"name": "own", "data": "data.csv", "target": "y", "minimum_score": 0.5} | changes
        lines = [f"{key} = {_toml(value)}" for key, value in table.items() if value is not None]
        return self.file("pyproject.toml", "[tool.milestone2]\n" + "\n".join(lines))

    def file(self, name: str, content: str | bytes) -> Project:
        (self.folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return self

    def data(self, label: Callable[[int], object], rows: int = 40) -> Project:
        """Write rows of a, b and y, which is the label of the row's number."""
        return self.file("data.csv", "a,b,y\n" + "".join(f"{i},{i % 7},{label(i)}\n" for i in range(rows)))

    def train(self) -> int:
        return command.main(
            ["--settings", str(self.folder / "pyproject.toml"), "--output", str(self.folder / "model")]
        )

    def read(self) -> Data:
        """Return the table as training reads it, for a classifier."""
        return read_data(read_settings(self.folder / "pyproject.toml"), self.folder, regression=False)

    def model(self) -> Path:
        """Train, and return the model's folder."""
        assert self.train() == 0
        return self.folder / "model"

    def predictor(self) -> Predictor:
        return load(self.model())


def _toml(value: Any) -> str:
    if not isinstance(value, dict):
        return json.dumps(value)
    return "{" + ", ".join(f"{json.dumps(key)} = {_toml(each)}" for key, each in value.items()) + "}"


def make(monkeypatch: pytest.MonkeyPatch, estimator: object) -> None:
    """Make the team's make_model() return another estimator."""
    monkeypatch.setattr(train_model, "make_model", lambda: estimator)


def assert_refused(project: Project, capsys: pytest.CaptureFixture[str], message: str) -> None:
    """Check that training ends with status 2 and one line that holds the message."""
    assert project.train() == 2
    output = capsys.readouterr()
    assert (output.out, output.err.count("\n")) == ("", 1)
    assert output.err.startswith("train_model: ")
    assert message in output.err
