"""Differences of two images, by layer, file and byte."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from image import archive_reader, compare
from tests.ci.sample_image import FILES, PACKAGES, build, layer

if TYPE_CHECKING:
    from tests.ci.conftest import Archive

Differ = Callable[..., list[str]]
SOURCE = f"{PACKAGES}/httptools/__init__.py"


@pytest.fixture
def write(archive: Archive, tmp_path: Path) -> Callable[..., Path]:
    """Return what writes an image into an archive of a name."""

    def write(name: str, *layers: bytes, **how: Any) -> Path:
        archive.path = tmp_path / name
        return build(archive, *layers, **how)

    return write


@pytest.fixture
def differ(write: Callable[..., Path]) -> Differ:
    """Return what compares the usual image with one of changed files or settings."""

    def differ(changed: dict[str, bytes | str] | None = None, *without: str, **how: Any) -> list[str]:
        contents = {path: each for path, each in {**FILES, **(changed or {})}.items() if path not in without}
        images = write("ours.tar"), write("theirs.tar", layer(contents, **how.pop("as_", {})), **how)
        return compare.differences(*map(archive_reader.read, images))

    return differ


def test_images_of_one_digest_do_not_differ(differ: Differ) -> None:
    assert differ() == []


@pytest.mark.parametrize(
    ("changed", "without", "printed"),
    [
        ({SOURCE: b"past\n"}, (), f"dependencies: {SOURCE}: other content from byte 3 of 5 bytes on"),
        ({SOURCE: b"pass\n# more\n"}, (), f"{SOURCE}: other content from byte 5 of 5 and 12 bytes on"),
        ({"app/new": b""}, (), "service and model: app/new: only there"),
        ({}, ("usr/lib/libz.so.1",), "interpreter: usr/lib/libz.so.1: only here"),
        ({"usr/lib/libz.so.1": "x"}, (), "libz.so.1: a link to libz.so.1.2.13 here, to x there"),
        ({"usr/lib/libz.so.1": b""}, (), "interpreter: usr/lib/libz.so.1: a link here, a file there"),
    ],
)
def test_a_difference_is_reported_by_layer_file_and_byte(
    differ: Differ, changed: dict[str, bytes | str], without: tuple[str, ...], printed: str
) -> None:
    (found,) = differ(changed, *without)
    assert found.endswith(printed)


def test_a_difference_far_into_a_large_file_is_found(write: Callable[..., Path]) -> None:
    content = b"\0" * 3_000_000
    images = (
        write(name, layer({"app/a": content + end})) for name, end in (("ours", b"1"), ("theirs", b"2"))
    )
    assert compare.differences(*map(archive_reader.read, images)) == [
        "service and model: app/a: other content from byte 3000000 of 3000001 bytes on"
    ]


def test_a_right_to_execute_is_a_difference(write: Callable[..., Path]) -> None:
    images = (
        write(name, layer({"a": b""}, mode=mode)) for name, mode in (("ours", 0o755), ("theirs", 0o644))
    )
    assert compare.differences(*map(archive_reader.read, images)) == ["interpreter: a: executable only here"]


def test_a_difference_in_the_configuration_is_reported_by_its_place(differ: Differ) -> None:
    assert differ(version="v1.0.1", User="0", StopSignal="SIGINT") == [
        "configuration.config.Env[3]: 'MODEL_VERSION=v1.0.0' here, 'MODEL_VERSION=v1.0.1' there",
        "configuration.config.Labels.org.opencontainers.image.version: 'v1.0.0' here, 'v1.0.1' there",
        "configuration.config.StopSignal: nothing here, 'SIGINT' there",
        "configuration.config.User: '65532:65532' here, '0' there",
    ]


def test_differences_of_packing_are_reported_as_such(differ: Differ) -> None:
    (found,) = differ(as_={"time": 1})
    assert found.startswith("packing: the same files and settings")


def test_the_command_reports_and_ends_with_1_when_images_differ(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    more = {f"app/{number}": b"" for number in range(compare.SHOWN + 1)}
    ours, theirs = write("ours.tar"), write("theirs.tar", layer({**FILES, **more}))
    monkeypatch.setattr(sys, "argv", ["compare", str(ours), str(theirs)])
    assert compare.main() == 1
    digests, *printed = capsys.readouterr().out.splitlines()
    assert digests == f"{archive_reader.read(ours).digest} here, {archive_reader.read(theirs).digest} there"
    assert (len(printed), printed[0]) == (compare.SHOWN + 1, "service and model: app/0: only there")
    assert printed[-1] == "and 1 more"
    monkeypatch.setattr(sys, "argv", ["compare", str(ours), str(ours)])
    assert compare.main() == 0
    assert capsys.readouterr().out.splitlines()[1] == "no difference"


def test_the_command_ends_with_2_when_there_is_no_image(
    write: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "none.tar").write_bytes(b"")
    monkeypatch.setattr(sys, "argv", ["compare", str(write("ours.tar")), str(tmp_path / "none.tar")])
    assert compare.main() == 2
    assert "none.tar: not an OCI layout" in capsys.readouterr().err
