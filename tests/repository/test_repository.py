"""Consistency of the repository: versions, pins, lists and import directions agree everywhere."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import main
from building.source_files import IMAGE_FILES

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
MODULE = tomllib.loads((ROOT / "ci/pyproject.toml").read_text())
LISTS = (
    *("app/requirements", "app/requirements-full", "ci/requirements", "docker/requirements"),
    *("engine/requirements", "requirements-test", "requirements-uv"),
)
RUNNING = [ROOT / f"{name}.txt" for name in LISTS]
LOCKED = [ROOT / "requirements-dev.txt", *RUNNING]
ASSEMBLY = ("assemble", "compile_scorer", "package_record", "runtime_tree", "slim")
# The rooms of each part and the modules beside them, from the lowest: each imports only those before it.
LEVELS = {
    "app": [
        *("app.errors", "app.cpu_quota", "app.settings", "app.logs", "app.modelling", "app.metrics"),
        *("app.exposition", "app.turns", "app.workers", "app.service", "app.score"),
        *("app.connections", "app.api", "app.server", "app.__main__"),
    ],
    "training": [
        *("training.arithmetic", "training.settings", "training.team_code", "training.reproducibility"),
        *("training.reading", "training.judging", "training.fit", "training.card"),
        *("training.portable_form.preparation", "training.portable_form", "training.handover"),
        *("training.package", "training.report", "training.command", "training.launch", "train_model"),
    ],
    "pipeline": [
        *("errors", "advice", "conditions", "net", "image", "oci", "keyless", "training_data", "signing"),
        *("releasing", "building", "deploying.rollout", "deploying.targets", "deploying"),
        *("fakecloud.state", "fakecloud.identity", "fakecloud.sigstore", "fakecloud.registry"),
        *("fakecloud.cloud_run", "fakecloud", "rehearsal"),
    ],
}
TOP_ROOMS = {room.partition(".")[0] for room in LEVELS["pipeline"]} - {"errors"}
PRODUCT = ["app", "features", "train_model", "training", "errors", "main", *TOP_ROOMS, "daggerw_engine"]


def modules_below(base: Path, *folders: str) -> dict[str, Path]:
    """Return the modules in folders, by their dotted names from the base on."""
    paths = sorted(path for folder in folders for path in (base / folder).rglob("*.py"))
    return {".".join(path.relative_to(base).with_suffix("").parts): path for path in paths}


CODE = {
    "app": modules_below(ROOT, "app"),
    "training": modules_below(ROOT, "training") | {"train_model": ROOT / "train_model.py"},
    "pipeline": modules_below(ROOT / "ci", *TOP_ROOMS),
}
# What modules may import of ours.
MAY_IMPORT = {
    "app": ("app.",),
    "app.modelling.portable.": ("app.errors.", "app.modelling.portable.", "app.modelling.strict_json."),
    "training.": ("training.", "app.errors.", "app.modelling."),
    "train_model": ("training.", "app.modelling.", "features."),
    "advice.": ("advice.",),
    "fakecloud.": ("fakecloud.", "conditions.", "advice.", "errors."),
    "": tuple(f"{name}." for name in (*TOP_ROOMS, "errors")),
}
MODULES = {name: path for modules in CODE.values() for name, path in modules.items()}
ROOMS = {path.parent for path in MODULES.values()} - {ROOT}
TESTED = ("ci", "host", "service", "training")
TESTS = {path.parent for name in TESTED for path in (ROOT / "tests" / name).rglob("*.py")}


def pins(path: Path) -> dict[str, str]:
    """Return the versions that a requirements file pins, by name."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", path.read_text(), re.MULTILINE))


@cache
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
    """Return which modules of this repository a file imports, but for the estimator that is trained."""
    starts = {"train_model"} if path == ROOT / "training/command.py" else set()
    return {name for name in imports(path) - starts if name.split(".")[0] in PRODUCT}


def test_dagger_has_one_version() -> None:
    version = json.loads((ROOT / "dagger.json").read_text())["engineVersion"].removeprefix("v")
    assert pins(ROOT / "engine/requirements.txt")["dagger-io"] == version
    assert pins(ROOT / "requirements-dev.txt")["dagger-io"] == version
    assert re.findall(r"^VERSION=(\S+)$", (ROOT / "daggerw").read_text(), re.MULTILINE) == [version]


def test_the_engine_is_installed_with_the_dagger_that_it_is_tested_with() -> None:
    project = tomllib.loads((ROOT / "engine/pyproject.toml").read_text())["project"]
    pinned = pins(ROOT / "engine/requirements.txt")
    assert project["version"] == pinned["dagger-io"]
    assert f"dagger-io=={pinned['dagger-io']}" in project["dependencies"]
    assert {re.split("[=>]=", each)[0] for each in project["dependencies"]} <= set(pinned)


def test_the_wrapper_s_two_lists_agree() -> None:
    engine, module = pins(ROOT / "engine/requirements.txt"), pins(ROOT / "ci/requirements.txt")
    assert {name: engine[name] for name in engine.keys() & module.keys()} == {
        name: module[name] for name in engine.keys() & module.keys()
    }


def test_the_module_is_called_after_its_class() -> None:
    assert json.loads((ROOT / "dagger.json").read_text())["name"] == main.Ci.__name__.lower()
    assert MODULE["project"]["entry-points"]["dagger.mod"]["main_object"] == "main:Ci"


def test_the_module_bounds_python_once_because_dagger_makes_an_image_s_tag_of_it() -> None:
    assert MODULE["project"]["requires-python"] == ">=3.11"


def test_every_room_of_the_pipeline_is_installed_with_it() -> None:
    setuptools = MODULE["tool"]["setuptools"]
    assert setuptools["py-modules"] == sorted(path.stem for path in (ROOT / "ci").glob("*.py"))
    assert {path.parent.name for path in (ROOT / "ci").glob("*/__init__.py")} == TOP_ROOMS
    included = {pattern.rstrip("*") for pattern in setuptools["packages"]["find"]["include"]}
    assert included == TOP_ROOMS


def test_no_room_has_the_name_of_a_module_that_is_installed() -> None:
    installed = {name.lower() for name in packages_distributions()}
    assert not TOP_ROOMS & {*sys.stdlib_module_names, *installed}


def test_the_module_s_lock_has_the_versions_of_its_tests_and_leaves_dagger_to_the_engine() -> None:
    locked, tested = pins(ROOT / "ci/requirements.lock"), pins(ROOT / "requirements-dev.txt")
    assert locked == {name: tested[name] for name in locked}
    assert set(MODULE["project"]["dependencies"]) <= set(locked)
    assert "dagger-io" not in locked


def test_everything_runs_on_one_base_image() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    stages = ["interpreter", "base", "packages", "interpreter", "packages", "packages-full", "packages-full"]
    assert bases == [main.BASE, *stages, "model", "scratch", "scratch"]


def test_the_engine_is_tested_on_the_base_image() -> None:
    assert main.BASE in (ROOT / "engine/tests/engine_fixtures.py").read_text()


def test_the_image_is_built_from_the_files_that_the_pipeline_sends() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed | {".dockerignore", "Dockerfile"} == set(IMAGE_FILES)


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


@pytest.mark.parametrize("part", LEVELS)
def test_a_module_imports_only_what_stands_below_it(part: str) -> None:
    def level(name: str) -> int:
        """Return the place of a name's room."""
        rooms = (name.rsplit(".", cut)[0] for cut in range(name.count(".") + 1))
        return next((LEVELS[part].index(room) for room in rooms if room in LEVELS[part]), -1)

    assert {module for module in CODE[part] if level(module) < 0} <= {f"{part}.__init__"}
    found = {(module, name) for module, path in CODE[part].items() for name in ours(path)}
    assert {(module, name) for module, name in found if level(name) > level(module) >= 0} == set()


@pytest.mark.parametrize("start", MAY_IMPORT)
def test_a_module_imports_of_ours_only_what_it_may(start: str) -> None:
    names = [name for name in (MODULES if start else CODE["pipeline"]) if name.startswith(start)]
    found = {(name, each) for name in names for each in ours(MODULES[name])}
    assert found
    assert {(name, each) for name, each in found if not f"{each}.".startswith(MAY_IMPORT[start])} == set()


@pytest.mark.parametrize("part", CODE)
def test_no_modules_import_each_other_in_a_circle_not_even_for_types(part: str) -> None:
    modules = CODE[part]
    graph = {
        module: {name for each in ours(path) for name in (each, each.rpartition(".")[0]) if name in modules}
        for module, path in modules.items()
    }
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("folder", sorted(ROOMS | TESTS), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_says_what_lives_there_and_is_small_enough_to_look_around_in(folder: Path) -> None:
    assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= 12
    assert folder in TESTS or ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))


def test_the_small_image_has_what_the_full_one_has_but_scikit_learn() -> None:
    small, full = pins(ROOT / "app/requirements.txt"), pins(ROOT / "app/requirements-full.txt")
    assert small == {name: full[name] for name in small}
    assert not {"joblib", "numpy", "scikit-learn", "scipy"} & set(small)


def test_both_images_differ_in_scikit_learn_the_team_s_code_and_the_pickle_only() -> None:
    full, small = re.findall(
        r"^FROM scratch AS (?:runtime|runtime-full)\n(.*?)(?=\n\n|\Z)", DOCKERFILE, re.M | re.S
    )
    comment = re.compile(r"^#.*\n", re.MULTILINE)
    alike = (
        comment.sub("", full)
        .replace("builder-full", "builder")
        .replace("COPY --from=model /app/features features\n", "")
        .replace("=model /app/model", "=portable /app/model")
    )
    assert alike.strip() == comment.sub("", small).strip()


@pytest.mark.parametrize("name", ASSEMBLY)
def test_what_assembles_the_image_needs_nothing_installed(name: str) -> None:
    found = {imported.split(".")[0] for imported in imports(ROOT / f"docker/{name}.py")}
    assert found <= {*sys.stdlib_module_names, *ASSEMBLY}
    assert "docker" in IMAGE_FILES
