"""Releases are for one platform: images of another one, and machines that would emulate it, are refused."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from errors import PlatformRefused
from image import archive_reader, conformance
from tests.ci.sample_image import FILES, layer

if TYPE_CHECKING:
    from tests.ci.conftest import Archive

CI = Path(__file__).parents[3] / "ci"


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        (b'{"architecture":"arm64","os":"linux"}', "linux/arm64"),
        (b'{"architecture":"amd64","os":"windows"}', "windows/amd64"),
        (b"{}", "None/None"),
    ],
)
def test_an_image_of_another_platform_is_refused(archive: Archive, configuration: bytes, said: str) -> None:
    archive.index(archive.add_manifest(layer(FILES), configuration=configuration))
    with pytest.raises(PlatformRefused, match=f"image: it is for {said}, and releases are for linux/amd64"):
        conformance.check_platform(archive_reader.read(archive.write()))


def test_an_image_of_the_platform_is_taken(archive: Archive) -> None:
    archive.index(archive.add_manifest(layer(FILES)))
    conformance.check_platform(archive_reader.read(archive.write()))


def test_a_machine_that_would_emulate_is_refused_with_the_reason() -> None:
    conformance.check_machine("linux/amd64")
    with pytest.raises(
        PlatformRefused, match="runs on linux/arm64 and emulates .* another digest than in CI"
    ):
        conformance.check_machine("linux/arm64")


def test_every_container_and_every_build_names_its_platform() -> None:
    unnamed = [
        f"{path.name}:{node.lineno}"
        for path in CI.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("container", "docker_build")
        and not any(keyword.arg == "platform" for keyword in node.keywords)
    ]
    assert unnamed == []
