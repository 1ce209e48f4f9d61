"""Consistency of the repository: versions, pins, lists and import directions agree everywhere."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping
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
    "app/requirements",
    "app/requirements-full",
    "ci/requirements",
    "docker/requirements",
    "engine/requirements",
    "requirements-test",
    "requirements-uv",
)
RUNNING = [ROOT / f"{name}.txt" for name in LISTS]
LOCKED = [ROOT / "requirements-dev.txt", *RUNNING]
ASSEMBLY = ("assemble", "compile_scorer", "package_record", "runtime_tree", "slim")
# The pipeline's rooms from the lowest to the highest: each imports only what stands before it, and `errors`.
ROOMS = [
    "advice",
    "conditions",
    "net",
    "image",
    "oci",
    "keyless",
    "training_data",
    "signing",
    "releasing",
    "building",
    "deploying.rollout",
    "deploying.targets",
]
ROOMS += [
    "deploying",
    "fakecloud.state",
    "fakecloud.identity",
    "fakecloud.sigstore",
    "fakecloud.registry",
    "fakecloud.cloud_run",
]
ROOMS += ["fakecloud", "rehearsal"]
TOP_ROOMS = {room.partition(".")[0] for room in ROOMS}
PIPELINE = sorted(path for room in TOP_ROOMS for path in (ROOT / "ci" / room).rglob("*.py"))
PRODUCT = ["app", "features", "train_model", "training", "errors", "main", *TOP_ROOMS, "daggerw_engine"]
# The service from below: what stands first may be imported by what stands behind it.
SERVICE_ROOMS = ("modelling", "modelling/portable", "workers", "connections", "api")
LEVELS = [
    *("app.errors", "app.cpu_quota", "app.settings", "app.logs", "app.modelling", "app.metrics"),
    *("app.exposition", "app.turns", "app.workers", "app.service", "app.score"),
    *("app.connections", "app.api", "app.server", "app.__main__"),
]
SERVICE = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in (ROOT / "app").rglob("*.py")
    if path.name != "__init__.py"
}
TRAINING = [ROOT / "train_model.py", *sorted((ROOT / "training").rglob("*.py"))]
# Training from below, rooms and the modules beside them.
TRAINING_LEVELS = [
    *("training.arithmetic", "training.settings", "training.team_code", "training.reproducibility"),
    *("training.reading", "training.judging", "training.fit", "training.card"),
    *("training.portable_form.preparation", "training.portable_form", "training.handover"),
    *("training.package", "training.report", "training.command", "training.launch", "train_model"),
]
TRAINING_MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in TRAINING
    if path.name != "__init__.py"
}


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


def level(name: str) -> str:
    """Return the room of a name in the service, or the module beside the rooms."""
    return ".".join(name.split(".")[:2])


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
    folders = {path.parent.relative_to(ROOT / "ci") for path in (ROOT / "ci").glob("*/__init__.py")}
    assert {str(folder) for folder in folders} == TOP_ROOMS
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


@pytest.mark.parametrize("module", sorted(SERVICE))
def test_a_module_of_the_service_imports_only_what_stands_below_it(
    module: str,
) -> None:
    found = ours(SERVICE[module])
    assert {name for name in found if name.split(".")[0] != "app"} == set()
    others = {level(name) for name in found} - {level(module)}
    assert {each for each in others if LEVELS.index(each) >= LEVELS.index(level(module))} == set()


def test_the_portable_model_needs_nothing_else_of_the_room_that_it_is_in() -> None:
    found = {name for module, path in SERVICE.items() if ".portable." in module for name in ours(path)}
    others = {name for name in found if level(name) == "app.modelling" and ".portable" not in name}
    assert others == {"app.modelling.strict_json"}


def test_no_modules_of_the_service_import_each_other_in_a_circle_not_even_for_types() -> None:
    graph = {
        module: {name if name in SERVICE else name.rpartition(".")[0] for name in ours(path)}
        for module, path in SERVICE.items()
    }
    assert len([*TopologicalSorter(graph).static_order()]) >= len(SERVICE)


@pytest.mark.parametrize("room", SERVICE_ROOMS)
def test_a_room_of_the_service_says_what_lives_there_and_has_a_dozen_modules_at_most(room: str) -> None:
    modules = sorted((ROOT / "app" / room).glob("*.py"))
    assert len(modules) <= 13  # and its __init__
    assert ast.get_docstring(ast.parse((ROOT / "app" / room / "__init__.py").read_text()))


@pytest.mark.parametrize("path", TRAINING, ids=lambda path: path.name)
def test_training_imports_of_the_service_what_a_model_is_and_how_it_predicts(path: Path) -> None:
    found = {".".join(name.split(".")[:2]) for name in ours(path) if name.split(".")[0] != "training"}
    starts = {"train_model"} if path == ROOT / "training/command.py" else set()
    assert found <= {"app.errors", "app.modelling", *starts}


def training_level(name: str) -> str:
    """Return the level that a dotted name of training stands on."""
    while name not in TRAINING_LEVELS:
        name = name.rpartition(".")[0]
    return name


@pytest.mark.parametrize("module", sorted(TRAINING_MODULES))
def test_a_module_of_training_imports_only_what_stands_below_it(module: str) -> None:
    found = {name for name in ours(TRAINING_MODULES[module]) if name.startswith("training.")}
    place = TRAINING_LEVELS.index(training_level(module))
    higher = {name for name in found if TRAINING_LEVELS.index(training_level(name)) > place}
    assert higher == set()


def test_no_modules_of_training_import_each_other_in_a_circle_not_even_for_types() -> None:
    graph = {name: targets(path, TRAINING_MODULES) for name, path in TRAINING_MODULES.items()}
    graph["training.command"].discard("train_model")  # which starts it, and has the estimator
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("folder", sorted({path.parent for path in TRAINING[1:]}), ids=lambda path: path.name)
def test_a_room_of_training_says_what_lives_there_and_has_a_dozen_modules_at_most(folder: Path) -> None:
    assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= 12
    assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))


def room_of(module: str) -> str:
    """Return the room of a module of the pipeline, given by its dotted name."""
    while module not in ROOMS:
        module = module.rpartition(".")[0]
    return module


@pytest.mark.parametrize("path", PIPELINE, ids=lambda path: str(path.relative_to(ROOT / "ci")))
def test_a_room_of_the_pipeline_imports_only_lower_ones(path: Path) -> None:
    room = room_of(".".join(path.relative_to(ROOT / "ci").with_suffix("").parts))
    lower = ROOMS[: ROOMS.index(room) + 1]
    found = {name for name in ours(path) if name.split(".")[0] != "errors"}
    assert {name for name in found if name.split(".")[0] not in TOP_ROOMS} == set()
    assert {room_of(name) for name in found} <= set(lower)


@pytest.mark.parametrize("path", sorted((ROOT / "ci/advice").rglob("*.py")), ids=lambda path: path.name)
def test_advice_imports_nothing_of_what_imports_it(path: Path) -> None:
    assert {name.split(".")[0] for name in ours(path)} <= {"advice"}


@pytest.mark.parametrize("path", sorted((ROOT / "ci/fakecloud").rglob("*.py")), ids=lambda path: path.name)
def test_the_fake_cloud_imports_nothing_of_the_pipeline_that_could_hide_a_fault_of_it(path: Path) -> None:
    assert {name.split(".")[0] for name in ours(path)} <= {"fakecloud", "conditions", "advice", "errors"}


def test_no_module_imports_itself_through_others() -> None:
    modules = {".".join(path.relative_to(ROOT / "ci").with_suffix("").parts): path for path in PIPELINE}
    TopologicalSorter({name: targets(path, modules) for name, path in modules.items()}).prepare()


def targets(path: Path, modules: Mapping[str, Path]) -> set[str]:
    """Return which of these modules a file imports, also for types only."""
    return {name for found in ours(path) for name in (found, found.rpartition(".")[0]) if name in modules}


@pytest.mark.parametrize(
    "folder",
    sorted({path.parent for path in (*PIPELINE, *(ROOT / "tests/host").rglob("*.py"))}),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_a_room_is_small_enough_to_look_around_in(folder: Path) -> None:
    assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= 12


@pytest.mark.parametrize("room", ["tests/ci", "tests/service", "tests/training"])
def test_a_folder_of_tests_is_small_enough_to_look_around_in(room: str) -> None:
    modules = Counter(str(path.parent) for path in (ROOT / room).rglob("*.py"))
    assert {folder: count for folder, count in modules.items() if count > 12} == {}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "engine/daggerw_engine").rglob("*.py")), ids=lambda path: path.name
)
def test_the_engine_imports_nothing_of_ours_but_itself(path: Path) -> None:
    assert {name.split(".")[0] for name in ours(path)} <= {"daggerw_engine"}


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
