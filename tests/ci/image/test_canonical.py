"""Canonical form: equal content gets one digest for any engine, time and file modes."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from image import archive_reader, canonical, canonical_json, layer_tree
from image.archive_reader import STAND_IN_LABEL, Layout
from tests.ci.sample_image import BASE, FILES, ORIGIN, VARIABLES, build, layer

if TYPE_CHECKING:
    from tests.ci.conftest import Archive

Write = Callable[..., Layout]


@pytest.fixture
def write(archive: Archive, tmp_path: Path) -> Write:
    """Return what writes the canonical form of an image of layers."""

    def write(*layers: bytes, origin: canonical.Origin = ORIGIN, **how: Any) -> Layout:
        image = archive_reader.read(build(archive, *layers, **how))
        with layer_tree.open_tree(image) as tree:
            return canonical.write(image, tree, origin, tmp_path / f"{len(list(tmp_path.iterdir()))}.tar")

    return write


def members(image: Layout, number: int) -> list[tarfile.TarInfo]:
    """Return the entries of a layer as they are in its tar."""
    packed = b"".join(image.chunks(image.layers[number]))
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as tar:
        return tar.getmembers()


def test_layers_order_times_owners_umask_and_compression_change_nothing(write: Write) -> None:
    halves = [dict(list(FILES.items())[:9]), dict(list(FILES.items())[9:])]
    older = layer({**FILES, "app/app/__init__.py": b"older", "gone": b""})
    ways = [
        write(),
        write(layer(dict(reversed(list(FILES.items()))), mode=0o600, time=0, owner=0)),
        write(*(layer(half, mode=0o664) for half in halves), compressed=True),
        write(older, layer(halves[1] | {".wh.gone": b""})),
        write(labels={"moby.buildkit.buildinfo.v1": "x"}, Env=[*VARIABLES, "MODEL_VERSION=v1.0.0"]),
    ]
    assert len({image.digest for image in ways}) == 1


def test_the_archive_itself_is_the_same_whenever_it_is_written(write: Write) -> None:
    assert write().archive.read_bytes() == write().archive.read_bytes()


def test_the_rule_is_the_one_by_which_all_releases_were_made(write: Write) -> None:
    """Uncompressed, as zlib's versions differ; a change of the rule gives every release a new digest."""
    diff_ids = write().config["rootfs"]["diff_ids"]
    assert [digest.removeprefix("sha256:")[:16] for digest in diff_ids] == [
        "292e5e1f0fb0abc7",
        "df20c352258478e1",
        "5474a721694219d1",
    ]


def test_a_change_of_the_service_moves_its_layer_only(write: Write) -> None:
    before, after = write(), write(layer({**FILES, "app/app/__init__.py": b"changed"}))
    assert [one.digest == other.digest for one, other in zip(before.layers, after.layers, strict=True)] == [
        True,
        True,
        False,
    ]


def test_a_commit_without_a_change_moves_no_layer(write: Write) -> None:
    later = replace(ORIGIN, revision="e" * 40, created="2026-08-01T00:00:00Z")
    assert write().layers[2].digest == write(origin=later).layers[2].digest
    assert write().digest != write(origin=later).digest


def test_entries_have_owner_modes_and_time_by_rule(write: Write) -> None:
    image = write(
        layer({"app/run": b"", "app/link": "run"}, mode=0o4700), layer({"app/data": b""}, mode=0o600)
    )
    assert [(each.name, oct(each.mode)) for each in members(image, 0)] == [
        ("app", "0o755"),
        ("app/data", "0o644"),
        ("app/link", "0o777"),
        ("app/run", "0o755"),
    ]
    assert {(each.uid, each.gid, each.uname, each.mtime) for each in members(image, 0)} == {(0, 0, "", 0)}


def test_a_name_that_is_too_long_for_a_plain_header_survives(write: Write) -> None:
    path = f"app/{'ä' * 300}"
    assert [each.name for each in members(write(layer({path: b""})), 0)] == ["app", path]


def test_the_configuration_keeps_what_runs_and_says_what_it_was_built_from(write: Write) -> None:
    image = write(Healthcheck={"Test": ["x"]}, OnBuild=["RUN x"], labels={STAND_IN_LABEL: "python:3.11"})
    assert image.config == {
        "architecture": "amd64",
        "config": {
            "Entrypoint": ["/venv/bin/python", "-m", "app"],
            "Env": ["MODEL_VERSION=v1.0.0", "PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1"],
            "ExposedPorts": {"8080/tcp": {}},
            "Labels": {
                "io.dagger.embedded.stand-in": "python:3.11",
                "org.opencontainers.image.base.digest": BASE.partition("@")[2],
                "org.opencontainers.image.base.name": "python:3.11-slim",
                "org.opencontainers.image.created": "2026-07-01T12:00:00Z",
                "org.opencontainers.image.revision": "c" * 40,
                "org.opencontainers.image.title": "rehearsed",
                "org.opencontainers.image.version": "v1.0.0",
            },
            "User": "65532:65532",
            "WorkingDir": "/app",
        },
        "created": "2026-07-01T12:00:00Z",
        "history": [
            {"created": "2026-07-01T12:00:00Z", "created_by": name}
            for name in ("interpreter", "dependencies", "service and model")
        ],
        "os": "linux",
        "rootfs": image.config["rootfs"],
    }
    assert image.stand_ins == ("python:3.11",)
    assert list(image.config["config"]["Labels"]) == sorted(image.config["config"]["Labels"])


def test_the_configuration_names_the_layers_by_their_uncompressed_content(write: Write) -> None:
    image = write()
    packed = [gzip.decompress(b"".join(image.chunks(each))) for each in image.layers]
    assert image.config["rootfs"]["diff_ids"] == [canonical_json.digest(each) for each in packed]
    assert json.loads(image.manifest)["layers"][0]["mediaType"].endswith(".tar+gzip")
