"""The team's files: what README shows to write there passes lint and types as it stands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

CHECKED = ("app", "features", "pyproject.toml", "train_model.py", "training")
LINTERS = {
    "ruff": ("ruff", "check", "--no-cache", "."),
    "ruff format": ("ruff", "format", "--no-cache", "--check", "."),
    "mypy": ("mypy", "train_model.py", "features"),  # takes seconds, as it reads NumPy's types
}
TRANSFORMER = '''"""A transformer without a word on types."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin


class Ratios(TransformerMixin, BaseEstimator):
    def fit(self, x, y=None):
        return self

    def transform(self, x):
        x = np.asarray(x)
        return np.column_stack([x, x[:, 0] / (1 + x[:, 1])])
'''


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clone with README's make_model() for the template's, whose imports are left over."""
    folder = tmp_path_factory.mktemp("clone")
    for name in CHECKED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    program, readme = (ROOT / "train_model.py").read_text(), (ROOT / "README.md").read_text()
    shown = re.search(
        r"```python\n( *from sklearn\.ensemble import (\w+)\n.*?return (\S+)\n)", readme, re.DOTALL
    )
    assert shown
    before, _, _ = program.partition("def make_model()")
    body = f"def make_model() -> Estimator:\n    return {shown[3]}\n"
    imported = f"from sklearn.ensemble import {shown[2]}\n\n\n"
    (folder / "train_model.py").write_text(f"{before.rstrip()}\n{imported}{body}")
    (folder / "features/ratios.py").write_text(TRANSFORMER)
    return folder


@pytest.mark.parametrize("name", LINTERS)
def test_what_the_readme_shows_passes(clone: Path, name: str) -> None:
    command = [sys.executable, "-m", *LINTERS[name]]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
