"""Clone of the template as a team has it: the files of training and the service, and the team's own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT, without_coverage

SETTINGS = """
[tool.milestone2]
name = "own"
data = "data.csv"
target = "y"
minimum_score = 0.0
"""
TRAIN_MODEL = (ROOT / "train_model.py").read_text()
HEAD, BODY = TRAIN_MODEL.index("import numpy"), TRAIN_MODEL.index("def make_model")


@dataclass(frozen=True)
class Clone:
    """A folder with the repository's `app` and `training`, and a team's model."""

    folder: Path

    @classmethod
    def at(cls, folder: Path) -> Clone:
        """Make a clone in a new folder: forty rows of two classes, and no code yet.

        Its training compares a portable model on fewer rows.
        """
        for name in ("app", "training"):
            shutil.copytree(ROOT / name, folder / name)
        parity = folder / "training/portable_form/parity.py"
        parity.write_text(parity.read_text() + "RANDOM_ROWS = 500\n")
        rows = (f"{i},{i % 7},{'no' if i < 20 else 'yes'}\n" for i in range(40))
        clone = cls(folder)
        clone.file("pyproject.toml", SETTINGS)
        clone.file("data.csv", "a,b,y\n" + "".join(rows))
        return clone.file("features/__init__.py", "")

    def file(self, name: str, content: str) -> Clone:
        """Write a file of the team's."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return self

    def model(self, imports: str, body: str, before: str = "") -> Clone:
        """Write train_model.py with these imports, this body of make_model(), and code before that."""
        estimator = "from app.modelling.estimator import Estimator\n"
        function = f"def make_model() -> Estimator:\n    {body}\n"
        content = f"{TRAIN_MODEL[:HEAD]}{imports}\n\n{estimator}\n\n{before}\n\n{function}"
        return self.file("train_model.py", content)

    def train(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run `python train_model.py` to its end."""
        training = self.start(*options)
        out, err = training.communicate()
        return subprocess.CompletedProcess(training.args, training.returncode, out, err)

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start `python train_model.py`."""
        command = [sys.executable, "train_model.py", *options]
        pipe = subprocess.PIPE
        environment = without_coverage()
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, stdout=pipe, stderr=pipe, text=True
        )
