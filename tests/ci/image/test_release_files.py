"""A release as files, made by the command that runs in the base image."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from image import archive_reader, release_files
from tests.ci.sample_image import ORIGIN, build

if TYPE_CHECKING:
    from tests.ci.conftest import Archive

ROOT = Path(release_files.__file__).parents[2]
PROGRAMS = [path.relative_to(ROOT) for pattern in release_files.FILES for path in ROOT.glob(pattern)]
ARGUMENTS = ["--revision", ORIGIN.revision, "--created", ORIGIN.created, "--base", ORIGIN.base]


def run(image: Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command by itself, with nothing but what runs in the base image."""
    programs = folder.parent / "programs"
    for path in PROGRAMS:
        (programs / path.parent).mkdir(parents=True, exist_ok=True)
        (programs / path).write_bytes((ROOT / path).read_bytes())
    return subprocess.run(
        [
            sys.executable,
            "-S",
            "-m",
            release_files.PROGRAM,
            str(image),
            str(folder),
            *ARGUMENTS,
        ],  # without site-packages
        cwd=programs,
        env=environment | {"PYTHONPATH": "ci"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_writes_the_release_and_prints_its_digest(archive: Archive, tmp_path: Path) -> None:
    done = run(build(archive), tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == archive_reader.read(tmp_path / "out" / release_files.IMAGE).digest
    sums = (tmp_path / "out" / release_files.SUMS).read_text().splitlines()
    assert sums == [
        f"{hashlib.sha256((tmp_path / 'out' / name).read_bytes()).hexdigest()}  {name}"
        for name in (release_files.IMAGE, release_files.PROVENANCE, release_files.SBOM)
    ]


def test_two_runs_give_the_same_bytes_whatever_the_umask_the_time_zone_and_the_hash_seed(
    archive: Archive, tmp_path: Path
) -> None:
    image, made = build(archive), []
    for number, (umask, environment) in enumerate(
        [(0o022, {}), (0o077, {"TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7", "LC_ALL": "C"})]
    ):
        former = os.umask(umask)
        try:
            assert run(image, tmp_path / str(number), **environment).returncode == 0
        finally:
            os.umask(former)
        made.append({each.name: each.read_bytes() for each in (tmp_path / str(number)).iterdir()})
    assert made[0] == made[1]
    assert sorted(made[0]) == [
        release_files.SUMS,
        release_files.IMAGE,
        release_files.PROVENANCE,
        release_files.SBOM,
    ]


def test_the_command_refuses_what_is_no_image_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(b"nothing")
    done = run(tmp_path / "image.tar", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith(f"image archive {tmp_path / 'image.tar'}: not an OCI layout")
    assert done.stderr.endswith("\nrunbook: image.invalid_layout\n")


def test_what_is_published_about_an_image_is_named_with_its_media_type() -> None:
    assert release_files.KINDS == {
        "sbom.cdx.json": "application/vnd.cyclonedx+json",
        "provenance.intoto.json": "application/vnd.in-toto+json",
    }


@pytest.mark.parametrize("pattern", release_files.FILES)
def test_the_command_s_files_exist(pattern: str) -> None:
    assert list(ROOT.glob(pattern))
