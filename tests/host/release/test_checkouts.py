"""The pipeline in checkouts as users have them, and in a team's clone after a merge of a later template.

Each test builds an image, which takes from seconds to minutes: that it is built, and as what, is the point.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from tests.host.release.checkouts import ROOT, Checkout

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a session needs root")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# What can have a comment at its end; lists of pins decide which environment the wrapper installs.
COMMENTED = {
    "": "# later\n",
    ".py": "\n\n# later\n",
    ".toml": "# later\n",
    ".yml": "# later\n",
    ".md": "Later.\n",
}
RATIOS = '''"""Ratio of two columns."""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin


class Ratios(TransformerMixin, BaseEstimator):
    """Appends the ratio of the first two columns."""

    def fit(self, x: Any, y: Any = None) -> "Ratios":
        self.n_features_in_ = x.shape[1]
        return self

    def transform(self, x: Any) -> Any:
        x = np.asarray(x)
        return np.column_stack([x, x[:, 0] / (1 + x[:, 1])])
'''
TEST = '''"""The team's own test."""

import numpy as np

from features.ratios import Ratios


def test_a_ratio_is_appended() -> None:
    assert Ratios().fit_transform(np.array([[6.0, 2.0]])).tolist() == [[6.0, 2.0, 2.0]]
'''
MODEL = """from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from app.modelling.estimator import Estimator
from features.ratios import Ratios


def make_model() -> Estimator:
    return make_pipeline(Ratios(), LogisticRegression())
"""
SETTINGS = {
    'name = "milestone2"': 'name = "own"',
    'data = "breast-cancer"': 'data = "data/own.csv"',
    'target = "diagnosis"': 'target = "left"',
    'positive = "malignant"': 'positive = "yes"',
    'features = ["mean radius", "mean texture", "radius error"]': "features = []",
}
TEAM_FILES = (
    *(
        "pyproject.toml",
        "train_model.py",
        "data/own.csv",
        "features/ratios.py",
        "tests/features/test_ratios.py",
    ),
    "deploy/environments.toml",
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Return a repository of the template."""
    return Checkout.of_template(tmp_path_factory.mktemp("template") / "template")


@pytest.fixture(scope="module")
def digest(template: Checkout, wrapper_environment: dict[str, str]) -> str:
    """Return the digest of the template's commit."""
    found = template.call(wrapper_environment, "digest")
    assert DIGEST.fullmatch(found)
    return found


def test_a_clone_with_carriage_returns_configured_has_the_same_digest(
    template: Checkout, digest: str, wrapper_environment: dict[str, str], tmp_path: Path
) -> None:
    clone = template.clone(tmp_path / "clone", "--config", "core.autocrlf=true")
    assert b"\r" not in (clone.folder / "daggerw").read_bytes()
    assert clone.call(wrapper_environment, "digest") == digest


def test_a_linked_worktree_has_the_same_digest(
    template: Checkout, digest: str, wrapper_environment: dict[str, str], tmp_path: Path
) -> None:
    template.git("worktree", "add", "--quiet", "--detach", str(tmp_path / "linked"))
    assert Checkout(tmp_path / "linked").call(wrapper_environment, "digest") == digest


def test_a_submodule_has_the_same_digest(
    template: Checkout, digest: str, wrapper_environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "above").mkdir()
    above = Checkout(tmp_path / "above")
    above.git("init", "--quiet")
    above.git("submodule", "--quiet", "add", str(template.folder), "below")
    assert Checkout(tmp_path / "above/below").call(wrapper_environment, "digest") == digest


def test_a_folder_of_a_larger_repository_is_released_by_that_one_s_commit(
    template: Checkout, wrapper_environment: dict[str, str], tmp_path: Path
) -> None:
    shutil.copytree(template.folder, tmp_path / "above/below", ignore=shutil.ignore_patterns(".git"))
    above = Checkout(tmp_path / "above")
    above.git("init", "--quiet")
    above.write("unrelated", "")
    above.commit("All")
    assert DIGEST.fullmatch(Checkout(tmp_path / "above/below").call(wrapper_environment, "digest"))


def make_own(clone: Checkout) -> None:
    """Make the template a team's: data, settings, model, code, tests, an environment."""
    rows = "".join(f"{i},{i % 7},{'no' if i < 60 else 'yes'}\n" for i in range(120))
    clone.write("data/own.csv", f"age,visits,left\n{rows}")
    clone.write("features/ratios.py", RATIOS)
    clone.write("tests/features/test_ratios.py", TEST)
    program, settings = clone.read("train_model.py"), clone.read("pyproject.toml")
    clone.write("train_model.py", program[: program.index("import numpy")] + MODEL)
    for before, after in SETTINGS.items():
        assert before in settings
        settings = settings.replace(before, after)
    clone.write("pyproject.toml", settings)
    environment = '\n[ours]\ntarget = "swarm"\nname = "own"\norder = "stop-first"\n'
    clone.write("deploy/environments.toml", clone.read("deploy/environments.toml") + environment)


def change_the_machinery(template: Checkout) -> int:
    """Change every file that isn't the team's and can have a comment; return how many."""
    changed = 0
    for name in template.git("ls-files").splitlines():
        ending = Path(name).suffix
        if name in (*TEAM_FILES, "features/requirements.in") or ending not in COMMENTED:
            continue
        if "/" in name or ending or name == "Dockerfile":
            template.write(name, template.read(name) + COMMENTED[ending])
            changed += 1
    template.write(
        "pyproject.toml", template.read("pyproject.toml").replace("[tool.ruff]\n", "[tool.ruff]\n# later\n")
    )
    template.commit("A later template")
    return changed


def test_a_team_publishes_and_merges_a_later_template_without_a_conflict(
    template: Checkout, wrapper_environment: dict[str, str], tmp_path: Path
) -> None:
    later = template.clone(tmp_path / "later")
    team = later.clone(tmp_path / "team")
    make_own(team)
    team.commit("Our model")
    # Before the merge: with every file of the machinery changed, nothing of the build would be cached.
    published = team.call(wrapper_environment, "publish", "--tag", "v1.0.0")
    assert re.fullmatch(rf"localhost:5000/own:v1\.0\.0@{DIGEST.pattern}", published)
    assert "tests/features/test_ratios.py" in team.call(wrapper_environment, "test")
    assert change_the_machinery(later) > 300
    team.git("pull", "--quiet", "--no-rebase", "--no-edit", "origin", "main")
    assert team.read("train_model.py").endswith(MODEL)
    assert "# later" in team.read("pyproject.toml")


def test_the_readme_names_the_team_s_files() -> None:
    section = (ROOT / "docs/model.md").read_text().partition("## Staying up to date")[2].partition("\n#")[0]
    for name in TEAM_FILES:
        folder = (
            name.partition("/")[0] if name.startswith(("data/", "features/")) else name.rpartition("/")[0]
        )
        assert f"`{name}`" in section or f"`{folder}/`" in section, name
