"""Training with a team's own code: a transformer of features/, and each mistake as one line with its remedy.

Each test runs trainings as processes, as only these are what a team runs; a process takes some seconds.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.clone import Clone

RATIOS = '''
"""A feature of the team's."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin


class Ratios(TransformerMixin, BaseEstimator):
    """Appends the ratio of the first two columns."""

    def fit(self, x, y=None):
        self.n_features_in_ = x.shape[1]
        return self

    def transform(self, x):
        x = np.asarray(x)
        return np.column_stack([x, x[:, 0] / (1 + x[:, 1])])
'''
LIBRARIES = """
from sklearn.neighbors import KNeighborsClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
"""


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """Return a team's clone of the template."""
    return Clone.at(tmp_path / "clone")


def test_a_transformer_of_the_team_is_served_where_only_app_features_and_the_model_are(clone: Clone) -> None:
    clone.file("features/ratios.py", RATIOS).model(
        f"{LIBRARIES}\nfrom features.ratios import Ratios",
        "return make_pipeline(Ratios(), LogisticRegression())",
    )
    done = clone.train()  # which ends by predicting in a process that has nothing else
    assert done.returncode == 0, done.stderr
    assert "not portable, so scikit-learn serves it: Ratios has no portable form" in done.stdout


FUNCTION = "def halved(x):\n    return x / 2"
BESIDE = "import sklearn.preprocessing\ndef halved(x):\n    return x / 2\n"
HALVES = "import beside\n\n\ndef halved(x):\n    return beside.halved(x)\n"
MISTAKES = {
    "a function in train_model.py": (
        LIBRARIES,
        "return make_pipeline(FunctionTransformer(halved), KNeighborsClassifier())",
        FUNCTION,
        "'halved' is defined in train_model.py, which the image doesn't have; move it to a module in",
    ),
    "a module beside train_model.py": (
        f"{LIBRARIES}\nfrom beside import halved",
        "return make_pipeline(FunctionTransformer(halved), KNeighborsClassifier())",
        "",
        "'halved' is defined in beside.py, which the image doesn't have; move it to a module in features/",
    ),
    "features that import what the image lacks": (
        f"{LIBRARIES}\nfrom features.halves import halved",
        "return make_pipeline(FunctionTransformer(halved), KNeighborsClassifier())",
        "",
        "the model doesn't work in the service: cannot unpickle model/model.joblib: ModuleNotFoundError: No "
        "module named 'beside'; the image has only app/, features/ and the installed libraries\n",
    ),
    "a library that isn't installed": (
        "from lightgbm_that_is_missing import LGBMClassifier",
        "return LGBMClassifier()",
        "",
        "train_model.py cannot be imported: train_model.py:14: No module named 'lightgbm_that_is_missing'; "
        "add a library with `./daggerw call lock --add lightgbm_that_is_missing`, or move code",
    ),
    "an error in make_model()": (
        LIBRARIES,
        "return LogisticRegression(1, 2)",
        "",
        "make_model() failed: train_model.py:27: TypeError: LogisticRegression.__init__() takes",
    ),
}


@pytest.mark.parametrize(("imports", "body", "before", "message"), MISTAKES.values(), ids=list(MISTAKES))
def test_a_mistake_is_one_line_with_its_remedy_and_status_2(
    clone: Clone, imports: str, body: str, before: str, message: str
) -> None:
    clone.file("beside.py", BESIDE).file("features/halves.py", HALVES)
    done = clone.model(imports, body, before).train()
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.startswith("train_model: ")
    assert message in done.stderr
    assert not (clone.folder / "model").exists()


def test_without_the_libraries_of_training_one_line_says_how_to_install_them(clone: Clone) -> None:
    clone.model("", "return None").file(
        "sklearn/__init__.py", "raise ModuleNotFoundError('No module named x')\n"
    )
    done = clone.train()
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "train_model: No module named x; install what training needs: `pip install" in done.stderr
