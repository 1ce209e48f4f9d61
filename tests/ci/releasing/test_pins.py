"""Newer pins: by the lists' own commands, and by what registries have behind a tag now."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import dagger
import pytest

import main
from errors import InvalidReference, RegistryUnreachable
from image import archive_reader
from oci.repository import Repository, connect
from releasing import pins
from releasing.pins import Moved
from tests.ci.recorder import Recorder

if TYPE_CHECKING:
    from tests.ci.conftest import Archive

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
OLD = f"sha256:{'0' * 64}"


def test_every_list_of_requirements_says_how_it_is_compiled() -> None:
    found = sorted(
        str(path.relative_to(ROOT)) for path in ROOT.glob("**/requirements*.in") if ".venv" not in str(path)
    )
    assert sorted(pins.LISTS) == found
    for name in pins.LISTS:
        for command in pins.commands((ROOT / name).read_text()):
            assert command[:3] == ["uv", "pip", "compile"]
            assert {"--no-emit-index-url", "--no-header"} <= set(command)


def test_every_pinned_list_is_compiled_by_exactly_one_command() -> None:
    commands = [each for name in pins.LISTS for each in pins.commands((ROOT / name).read_text())]
    written = sorted(command[command.index("-o") + 1] for command in commands)
    pinned = [*ROOT.glob("**/requirements*.txt"), ROOT / "ci/requirements.lock"]
    assert written == sorted(
        str(path.relative_to(ROOT)) for path in pinned if "site-packages" not in str(path)
    )


def test_a_command_may_go_on_over_lines_and_stand_beside_others() -> None:
    text = (
        "# Why. After a change:\n#   uv pip compile --a \\\n#       b.in -o b.txt\n#   uv pip compile c\nd\n"
    )
    assert pins.commands(text) == [
        ["uv", "pip", "compile", "--a", "b.in", "-o", "b.txt"],
        ["uv", "pip", "compile", "c"],
    ]


def test_every_base_image_that_can_move_is_pinned_in_the_files_that_are_rewritten() -> None:
    texts = "".join((ROOT / name).read_text() for name in pins.PINNING)
    for pinned in (main.BASE, main.REGISTRY):
        assert pinned in texts


async def test_a_tag_whose_digest_moved_is_found(registry_url: str, archive: Archive) -> None:
    archive.index(archive.add_manifest(b"moved"))
    async with connect(registry_url, "library/base") as repository:
        await repository.publish(archive_reader.read(archive.write()), "1.0")
        now = await repository.digest("1.0")

    def connect_here(url: str, name: str) -> AbstractAsyncContextManager[Repository]:
        return connect(registry_url, name)

    images = [f"base:1.0@{OLD}", f"base:1.0@{now}"]
    assert await pins.find_moved(images, connect_here) == [Moved("base:1.0", OLD, str(now))]
    assert str(Moved("base:1.0", OLD, str(now))) == f"base:1.0: {OLD} is {now} now"
    with pytest.raises(InvalidReference, match="has no library/base:2.0 any more"):
        await pins.find_moved([f"base:2.0@{OLD}"], connect_here)


@pytest.mark.parametrize("image", ["python", "python:3", f"python@{OLD}"])
async def test_an_image_that_is_not_pinned_is_refused(image: str) -> None:
    with pytest.raises(InvalidReference, match=r"is not NAME:TAG@sha256:"):
        await pins.find_moved([image])


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("python:3", ("https://registry-1.docker.io", "library/python")),
        ("some/body:3", ("https://registry-1.docker.io", "some/body")),
        ("ghcr.io/some/body:3", ("https://ghcr.io", "some/body")),
    ],
)
async def test_an_image_is_looked_up_at_its_own_registry(image: str, expected: tuple[str, str]) -> None:
    def refuse(*to: str) -> AbstractAsyncContextManager[Repository]:
        raise RegistryUnreachable(json.dumps(to))

    with pytest.raises(RegistryUnreachable) as raised:
        await pins.find_moved([f"{image}@{OLD}"], refuse)
    assert tuple(json.loads(raised.value.problem)) == expected


@dataclass
class Source(Recorder, of=(dagger.Directory, dagger.File)):
    """A directory with texts by name."""

    texts: dict[str, str]
    wanted: str = ""

    def file(self, path: str) -> Source:
        return Source(self.texts, path)

    async def contents(self) -> str:
        return self.texts[self.wanted]

    def with_new_file(self, path: str, contents: str) -> Source:
        return Source({**self.texts, path: contents})


async def test_a_file_is_rewritten_where_it_pins_what_moved() -> None:
    source = Source(dict.fromkeys(pins.PINNING, f"FROM base:1@{OLD} AS a\nFROM other@sha256:1"))
    found = await pins.repin(cast("dagger.Directory", source), [Moved("base:1", OLD, "sha256:new")])
    assert cast("Source", found).texts == dict.fromkeys(
        pins.PINNING, "FROM base:1@sha256:new AS a\nFROM other@sha256:1"
    )


PIN = "lightgbm==4.7.0 \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n    # via -r a.in\n"
NUMPY = "numpy==2.4.6 \\\n    --hash=sha256:22\n"


def test_the_team_s_pins_leave_out_what_training_has_already() -> None:
    assert pins.without(NUMPY + PIN, f"# a comment\n{NUMPY}scipy[all]==1.0 \\\n    --hash=sha256:33\n") == PIN
    assert pins.without(NUMPY, NUMPY) == ""


async def test_a_package_is_added_to_the_team_s_list_once() -> None:
    source = Source({pins.TEAM_LIST: "# how\nlightgbm\n"})
    named = await pins.with_packages(cast("dagger.Directory", source), ["lightgbm", "xgboost-cpu<4"])
    assert cast("Source", named).texts[pins.TEAM_LIST] == "# how\nlightgbm\nxgboost-cpu<4\n"
