"""Finding a module, describing it from its code, and running its functions in its own process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from daggerw_engine.api.clients.client import ModuleClient
from daggerw_engine.command.modules import module
from daggerw_engine.command.modules.module import ModuleProcess
from daggerw_engine.command.modules.typedefs import Catalogue, TypeRef, Types
from daggerw_engine.errors import ApiError, ModuleError, NotOfferedError


@pytest.fixture
def copy(example: Path, tmp_path: Path) -> Path:
    """Return a copy of the example module that a test may change."""
    return shutil.copytree(example, tmp_path / "copy")


def describe(folder: Path, cache: Path) -> Types:
    return module.types(module.load(folder), cache, verbose=False)


def test_the_module_of_the_nearest_manifest_above_is_found(example: Path) -> None:
    assert module.find(example / "source").root == example


def test_the_fallback_is_taken_where_there_is_no_manifest(example: Path, tmp_path: Path) -> None:
    assert module.find(tmp_path, example).root == example


def test_no_manifest_anywhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModuleError, match="no dagger.json in '.*' or above it; name its folder with --mod"):
        module.find(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "github.com/dagger/dagger/modules/alpine@v0.21.8",
        "https://github.com/owner/name",
        "ssh://git@example.com/owner/name",
        "git@github.com:owner/name",
    ],
)
def test_a_module_at_a_git_address_is_refused_with_what_to_do(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        ModuleError, match="is a Git address.*: clone it and name its folder, or use the Dagger"
    ):
        module.find_named(name, tmp_path)


def test_a_folder_that_is_named_as_a_host_is_a_folder(copy: Path) -> None:
    shutil.copytree(copy, copy.parent / "example.com/module")
    assert module.find_named("example.com/module", copy.parent).name == module.load(copy).name


def test_a_manifest_may_name_its_sdk_alone(copy: Path) -> None:
    manifest = json.loads((copy / "dagger.json").read_text())
    (copy / "dagger.json").write_text(json.dumps({**manifest, "sdk": "python"}))
    assert module.load(copy).name == manifest["name"]


@pytest.mark.parametrize("place", ["src/our_module/__init__.py", "our_module.py", "src/main.py"])
def test_the_main_object_is_found_where_daggers_template_has_it(
    place: str, copy: Path, tmp_path: Path
) -> None:
    (copy / "dagger.json").write_text('{"name": "our-module", "sdk": {"source": "python"}}')
    (copy / "pyproject.toml").write_text('[project]\nname = "our-module"\n')
    (copy / place).parent.mkdir(parents=True, exist_ok=True)
    (copy / place).write_text(
        "from dagger import function, object_type\n\n\n@object_type\nclass OurModule:\n"
        '    @function\n    def greet(self) -> str:\n        return "hello"\n'
    )
    assert "greet" in describe(copy, tmp_path / "cache").objects["OurModule"].functions


def test_a_default_path_begins_at_the_git_checkout_or_at_the_manifest(copy: Path) -> None:
    (copy.parent / ".git").mkdir()
    found = module.load(copy)
    assert found.default_path("/data") == copy.parent / "data"
    assert found.default_path("data") == copy / "data"


@pytest.mark.parametrize(
    ("change", "error", "why"),
    [
        (
            {"sdk": {"source": "go"}},
            NotOfferedError,
            "SDK {'source': 'go'} isn't offered by the embedded engine",
        ),
        ({"dependencies": [{"name": "x"}]}, NotOfferedError, "with dependencies on others isn't offered"),
        ({"name": None}, ModuleError, "dagger.json' lacks a name"),
        ({"source": "nowhere"}, ModuleError, "no '.*nowhere/pyproject.toml'"),
    ],
)
def test_a_manifest_that_cannot_be_run_is_refused(
    change: dict[str, object], error: type[Exception], why: str, copy: Path
) -> None:
    manifest = copy / "dagger.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | change))
    with pytest.raises(error, match=why):
        module.load(copy)


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("dagger.json", "{", "is not JSON"),
        ("source/pyproject.toml", "[", "is not TOML"),
        ("source/pyproject.toml", "[project]", 'lacks .project.entry-points."dagger.mod".'),
    ],
)
def test_a_broken_file_is_named(name: str, text: str, why: str, copy: Path) -> None:
    (copy / name).write_text(text)
    with pytest.raises(ModuleError, match=f"{Path(name).name}' {why}"):
        module.load(copy)


def test_the_description_holds_what_the_code_says(catalogue: Catalogue) -> None:
    types = catalogue.module
    greet, plan = (types.objects["Example"].functions[name] for name in ("greet", "plan"))
    assert types.enums == {"Speed": ("SLOW", "FAST")}
    assert greet.doc.startswith("Greet a person.")
    assert [(entry.name, entry.default) for entry in greet.arguments] == [
        ("name", None),
        ("times", "1"),
        ("loud", "false"),
        ("speed", '"SLOW"'),
    ]
    assert plan.returns == TypeRef("Step", many=True)
    assert catalogue.constructor.arguments[0].ignore == ("*", "!source")


def test_the_code_is_only_described_again_when_it_has_changed(copy: Path, tmp_path: Path) -> None:
    code = copy / "source/example.py"
    described = describe(copy, tmp_path)
    kept_types = next((tmp_path / "types").iterdir())
    before = kept_types.stat().st_mtime_ns
    assert describe(copy, tmp_path) == described
    assert kept_types.stat().st_mtime_ns == before
    code.write_text(code.read_text().replace("Do nothing.", "Do very little."))
    assert describe(copy, tmp_path).objects["Example"].functions["nothing"].doc == "Do very little."


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import nothing_like_this", r"ModuleNotFoundError: No module named .* \(example.py, line 1\)"),
        ("x = 1\nx.y", r"AttributeError: .* \(example.py, line 2\)"),
        ("def", r"SyntaxError: invalid syntax \(example.py, line 1\)"),
        (
            "class Example: ...",
            "TypeError: example:Example is not a class decorated with @dagger.object_type",
        ),
    ],
)
def test_code_that_cannot_be_imported_is_reported_with_its_line(
    code: str, why: str, copy: Path, tmp_path: Path
) -> None:
    (copy / "source/example.py").write_text(code)
    with pytest.raises(ApiError, match=why):
        describe(copy, tmp_path)


def test_a_module_that_ends_its_process_is_reported(copy: Path, tmp_path: Path) -> None:
    (copy / "source/example.py").write_text("import os; os._exit(7)")
    with pytest.raises(ModuleError, match="its process ended with status 7 before it answered"):
        describe(copy, tmp_path)


@pytest.mark.anyio
async def test_a_process_that_cannot_start_serving_says_why(copy: Path, tmp_path: Path) -> None:
    (copy / "source/example.py").write_text("import nothing_like_this")
    async with ModuleProcess.start(module.load(copy), (), print, verbose=False) as process:
        await process.connect(ModuleClient({}, tmp_path))
        with pytest.raises(ApiError, match="No module named 'nothing_like_this'"):
            await process.invoke("Example", {}, "", {})


EVERY_CHECK = """
import inspect, sys
import module_process
module_process._import_sdk()
import dagger
from dagger.client.base import Type
kinds = [kind for kind in vars(dagger).values() if isinstance(kind, type) and issubclass(kind, Type)]
methods = [m for kind in kinds for m in list(vars(kind).values()) if hasattr(m, "__wrapped__")]
for method in methods:
    try:
        result = method(None, no_such_argument=1)
        if inspect.iscoroutine(result):
            result.close()
    except TypeError:
        pass
print(len(methods))
"""


def test_every_method_of_the_sdk_can_be_checked_when_it_is_first_called() -> None:
    environment = {"PYTHONPATH": str(Path(module.__file__).parent)}
    done = subprocess.run(
        [sys.executable, "-c", EVERY_CHECK], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 500
