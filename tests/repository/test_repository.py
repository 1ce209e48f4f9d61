"""What stands in several places of the repository says the same in all of them."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from pathlib import Path

import pytest

import main

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
MODULE = tomllib.loads((ROOT / "ci/pyproject.toml").read_text())
LISTS = (
    "app/requirements",
    "app/requirements-full",
    "ci/requirements",
    "requirements-test",
    "requirements-uv",
)
RUNNING = [ROOT / f"{name}.txt" for name in LISTS]
LOCKED = [ROOT / "requirements-dev.txt", *RUNNING]
ASSEMBLY = ("assemble", "package_record", "runtime_tree", "slim")
SIBLINGS = sorted(path.stem for path in (ROOT / "ci").glob("*.py"))
PRODUCT = ["app", "train_model", "training", *SIBLINGS, "engine"]
TRAINING = [ROOT / "train_model.py", *sorted((ROOT / "training").glob("*.py"))]


def pins(path: Path) -> dict[str, str]:
    """Return the versions that a requirements file pins, by name."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", path.read_text(), re.MULTILINE))


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports, at its head or inside a function, as dotted names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def ours(path: Path) -> set[str]:
    """Return which modules of this repository a file imports."""
    return {name for name in imports(path) if name.split(".")[0] in PRODUCT}


def test_dagger_has_one_version() -> None:
    version = json.loads((ROOT / "dagger.json").read_text())["engineVersion"].removeprefix("v")
    assert pins(ROOT / "ci/requirements.txt")["dagger-io"] == version
    assert pins(ROOT / "requirements-dev.txt")["dagger-io"] == version
    assert re.findall(r"^VERSION=(\S+)$", (ROOT / "daggerw").read_text(), re.MULTILINE) == [version]


def test_the_module_is_called_after_its_class() -> None:
    assert json.loads((ROOT / "dagger.json").read_text())["name"] == main.Ci.__name__.lower()
    assert MODULE["project"]["entry-points"]["dagger.mod"]["main_object"] == "main:Ci"


def test_the_module_bounds_python_once_because_dagger_makes_an_image_s_tag_of_it() -> None:
    assert MODULE["project"]["requires-python"] == ">=3.11"


def test_every_sibling_of_main_is_installed_with_it() -> None:
    assert MODULE["tool"]["setuptools"]["py-modules"] == SIBLINGS


def test_the_module_s_lock_has_the_versions_of_its_tests_and_leaves_dagger_to_the_engine() -> None:
    locked, tested = pins(ROOT / "ci/requirements.lock"), pins(ROOT / "requirements-dev.txt")
    assert locked == {name: tested[name] for name in locked}
    assert set(MODULE["project"]["dependencies"]) <= set(locked)
    assert "dagger-io" not in locked


def test_everything_runs_on_one_base_image() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    stages = ["packages", "packages", "packages-full", "builder-full", "model", "scratch", "scratch"]
    assert bases == [main.BASE, *stages]


def test_the_image_is_built_from_the_files_that_the_pipeline_sends() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed | {".dockerignore", "Dockerfile"} == set(main.IMAGE_FILES)


def test_every_image_is_pinned_by_digest() -> None:
    for image in (main.BASE, main.REGISTRY):
        assert re.fullmatch(r"[a-z]+:[\w.-]+@sha256:[0-9a-f]{64}", image)
        assert ":latest" not in image


def test_no_argument_of_the_image_stands_before_a_run_that_would_keep_it() -> None:
    assert DOCKERFILE.rindex("\nRUN ") < DOCKERFILE.index("\nARG ")


@pytest.mark.parametrize("path", LOCKED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_requirement_is_pinned_with_hashes_and_no_index(path: Path) -> None:
    text = path.read_text()
    for requirement in re.split(r"\n(?=[a-z0-9])", re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE).strip()):
        assert re.match(r"[a-z0-9-]+(\[[a-z,]+\])?==\S+", requirement)
        assert "--hash=sha256:" in requirement
    assert not re.search(r"-index|--find-links|://", text)


@pytest.mark.parametrize("pinned", RUNNING, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_is_tested_is_what_runs(pinned: Path) -> None:
    tested = pins(ROOT / "requirements-dev.txt")
    assert pins(pinned) == {name: tested[name] for name in pins(pinned)}


@pytest.mark.parametrize("path", sorted((ROOT / "app").rglob("*.py")), ids=lambda path: path.name)
def test_the_service_imports_nothing_of_ours_but_itself(path: Path) -> None:
    assert {name for name in ours(path) if not name.startswith("app.") and name != "app"} == set()


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.name)
def test_training_imports_of_the_service_what_a_model_is_and_how_it_predicts(path: Path) -> None:
    modules = ("artifact", "errors", "estimator", "portable", "predictor", "scorer")
    allowed = {f"app.{module}" for module in modules}
    found = {".".join(name.split(".")[:2]) for name in ours(path) if not name.startswith("training.")}
    assert found <= allowed


@pytest.mark.parametrize("name", SIBLINGS)
def test_the_pipeline_imports_neither_service_nor_training_nor_engine(name: str) -> None:
    found = {imported.split(".")[0] for imported in ours(ROOT / "ci" / f"{name}.py")}
    assert found <= set(SIBLINGS) - {"main"}


@pytest.mark.parametrize("path", sorted((ROOT / "ci/engine").rglob("*.py")), ids=lambda path: path.name)
def test_the_engine_imports_nothing_of_ours_but_itself(path: Path) -> None:
    assert {name.split(".")[0] for name in ours(path)} <= {"engine"}


def test_the_small_image_has_what_the_full_one_has_but_scikit_learn() -> None:
    small, full = pins(ROOT / "app/requirements.txt"), pins(ROOT / "app/requirements-full.txt")
    assert small == {name: full[name] for name in small}
    assert not {"joblib", "numpy", "scikit-learn", "scipy"} & set(small)


def test_both_images_differ_in_scikit_learn_and_the_pickle_only() -> None:
    full, small = re.findall(
        r"^FROM scratch AS (?:runtime|runtime-full)\n(.*?)(?=\n\n|\Z)", DOCKERFILE, re.M | re.S
    )
    comment = re.compile(r"^#.*\n", re.MULTILINE)
    alike = (
        comment.sub("", full)
        .replace("builder-full", "builder")
        .replace("=model /app/model", "=portable /app/model")
    )
    assert alike.strip() == comment.sub("", small).strip()


@pytest.mark.parametrize("name", ASSEMBLY)
def test_what_assembles_the_image_needs_nothing_installed(name: str) -> None:
    found = {imported.split(".")[0] for imported in imports(ROOT / f"ci/{name}.py")}
    assert found <= {*sys.stdlib_module_names, *ASSEMBLY}
    assert f"ci/{name}.py" in main.IMAGE_FILES
