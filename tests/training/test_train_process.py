"""`python train_model.py` as a process in a clone of the template, for what no shared process can show.

Each test takes seconds, as every training imports scikit-learn.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, without_coverage
from tests.training.project import Project

PARTS = ("app", "data", "features", "training", "pyproject.toml", "train_model.py", "*.csv")
KERNELS = ("Nehalem", "SkylakeX")
MODEL = """
if __name__ == "__main__":
    from training.launch import launch

    launch()

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from features.own import prepare


def make_model():
    return make_pipeline(prepare(), LogisticRegression())
"""
RATIOS = """
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin


class Ratios(TransformerMixin, BaseEstimator):
    def fit(self, x, y=None):
        self.n_features_in_ = x.shape[1]
        return self

    def transform(self, x):
        x = np.asarray(x)
        return np.column_stack([x, x[:, 0] / (1 + x[:, 1])])


prepare = Ratios
"""
BESIDE = """
from sklearn.preprocessing import FunctionTransformer

import beside


def half(x):
    return beside.half(x)


def prepare():
    return FunctionTransformer(half)
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a clone whose training compares a portable model on fewer rows."""
    for path in (path for name in PARTS for path in ROOT.glob(name)):
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, tmp_path / path.name)
    with (tmp_path / "training/portable_form/parity.py").open("a") as parity:
        parity.write("RANDOM_ROWS, MAX_SPLITS = 500, 100\n")
    return tmp_path


@pytest.fixture
def team(clone: Path) -> Project:
    """Return a clone with a team's table and a model that prepares its rows by the team's own code."""
    project = Project(clone).settings().data(lambda i: "no" if i < 20 else "yes")
    return project.file("train_model.py", MODEL).file("beside.py", "def half(x):\n    return x / 2\n")


def start(clone: Path, *options: str, **variables: str) -> subprocess.Popen[str]:
    """Start a training."""
    command, pipe = [sys.executable, "train_model.py", *options], subprocess.PIPE
    environment = without_coverage() | variables
    return subprocess.Popen(command, cwd=clone, env=environment, stdout=pipe, stderr=pipe, text=True)


def test_training_makes_the_same_bytes_under_every_blas_kernel(clone: Path) -> None:
    threads = {"OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "random"}
    started = [start(clone, "--output", name, OPENBLAS_CORETYPE=name, **threads) for name in KERNELS]
    for training in started:
        output, errors = training.communicate()
        assert training.returncode == 0, errors
        assert ": accuracy" in output or ": r2" in output
    first, second = ({path.name: path.read_bytes() for path in (clone / name).iterdir()} for name in KERNELS)
    assert first == second
    assert {"model.joblib", "card.json", "golden.json"} < set(first)


def test_a_transformer_of_the_team_is_served_where_only_app_features_and_the_model_are(team: Project) -> None:
    training = start(team.file("features/own.py", RATIOS).folder)
    output, errors = training.communicate()  # it ends by predicting in a process that has nothing else
    assert training.returncode == 0, errors
    assert "not portable, so scikit-learn serves it: Ratios has no portable form" in output


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "features/own.py",
            BESIDE,
            "the model doesn't work in the service: cannot unpickle model/model.joblib: ModuleNotFoundError: "
            "No module named 'beside'; the image has only app/, features/ and the installed libraries\n",
        ),
        (
            "sklearn.py",
            "raise ModuleNotFoundError('No module named x')\n",
            "No module named x; install what training needs: `pip install",
        ),
    ],
    ids=["features that import what the image lacks", "no scikit-learn"],
)
def test_what_only_a_fresh_process_lacks_is_one_line_with_the_remedy(
    team: Project, name: str, content: str, message: str
) -> None:
    training = start(team.file(name, content).folder)
    output, errors = training.communicate()
    assert (training.returncode, output, errors.count("\n")) == (2, "", 1), errors
    assert errors.startswith(f"train_model: {message}")
    assert not (team.folder / "model").exists()
