"""Containers that build and check: each is described in calls that Dagger has."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import dagger
import pytest

from building import benchmark, images, linters, tools
from errors import ImagesDiffer
from releasing.git_commit import Commit
from tests.ci.recorder import Recorder


class Files(Recorder, of=(dagger.Container, dagger.Directory, dagger.File)):
    """A source, an image, and every container that comes of them."""

    def __init__(self, status: int = 0) -> None:
        self.status = status

    async def stdout(self) -> str:
        return "no difference\n"

    async def sync(self) -> Files:
        self.calls.append(("sync",))
        return self

    async def exit_code(self) -> int:
        return self.status


@pytest.fixture
def files() -> Any:
    """Return files of all kinds."""
    return Files()


def commands(files: Files) -> list[str]:
    """Return the command lines that would run."""
    return [" ".join(call[1]) for call in files.calls if call[0] == "with_exec"]


def test_development_packages_are_installed_before_anything_of_the_team_s(files: Any) -> None:
    tools.prepare_development(files, files)
    installed = [line.split()[-1] for line in commands(files) if " install " in line]
    assert installed == ["requirements-uv.txt", "requirements-dev.txt", "features/requirements.txt"]


def test_a_release_depends_on_the_team_s_tests_with_its_model(files: Any) -> None:
    tools.prepare_team_tests(tools.prepare_team_files(files, images.build_packages(files)), files)
    assert commands(files)[-1] == "python -m pytest --progress --model=model"
    assert ("docker_build", {"target": "packages-full", "platform": "linux/amd64"}) in files.calls


@pytest.mark.anyio
async def test_packages_and_scorer_are_built_at_the_same_time() -> None:
    files: Any = Files()
    await images.build_parts(files)
    steps = [call[-1]["target"] if call[0] == "docker_build" else call[0] for call in files.calls]
    found = [step for step in steps if step != "filter"]
    assert found == ["scorer", "packages-full", "sync", "sync"]


def test_an_image_becomes_files_that_name_the_commit_and_the_base(files: Any) -> None:
    images.bundle_image(
        tools.prepare_programs(files, files), files, Commit("c" * 40, "now", dirty=True), "base"
    )
    assert commands(files)[0].endswith(f"/release --revision {'c' * 40}-dirty --created now --base base")


@pytest.mark.anyio
async def test_images_that_differ_are_a_failure() -> None:
    alike: Any = Files()
    other: Any = Files(status=1)
    assert await images.compare_images(alike, alike, alike) == "no difference"
    with pytest.raises(ImagesDiffer, match="compare: no difference"):
        await images.compare_images(other, other, other)


def test_the_benchmark_measures_the_image_anew(files: Any) -> None:
    benchmark.measure(files, files, files, files, files, rounds=3, seconds=2)
    assert commands(files)[-1].endswith("--output /out --rounds 3 --seconds 2")
    assert any(call[:2] == ("with_env_variable", "MEASURED") for call in files.calls)


@pytest.mark.parametrize(
    ("found", "status", "printed"),
    [("true", 0, "one: ok\ntwo: no findings\n"), ("echo bad; false", 1, "one: ok\n")],
)
def test_all_linters_run_and_what_one_finds_is_printed_whole(
    files: Any, tmp_path: Path, found: str, status: int, printed: str
) -> None:
    linters.lint(files, {"one": ["printf", "more\nok\n"], "two": ["sh", "-c", found]})
    (script,) = [call[2] for call in files.calls if call[0] == "with_new_file"]
    ended = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (status, printed)
    assert ended.stderr == ("two:\nbad\n" if status else "")


def test_what_dagger_has_not_cannot_be_called(files: Any) -> None:
    with pytest.raises(AttributeError, match="have no 'with_exek'"):
        files.with_exek(["true"])
    with pytest.raises(TypeError, match="enviroment"):
        files.with_exec(["true"], enviroment={})
    with pytest.raises(AttributeError, match="have no 'stdoud'"):
        type(
            "Misspelt",
            (Recorder,),
            {
                "stdoud": lambda self: "",
            },
            of=(dagger.Container,),
        )
