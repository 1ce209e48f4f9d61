"""Table of stand-ins: entries of references, and a module's own entries."""

from __future__ import annotations

from pathlib import Path

import pytest

from daggerw_engine.errors import ImageError
from daggerw_engine.store.stand_ins import OWN_TABLE, Table

OWN = """
[[image]]
match = ["alpine:3.20*"]
suite = "bookworm"
unpacked = ["busybox-static"]
files = { "/etc/alpine-release" = "3.20.2\\n" }
"""


@pytest.mark.parametrize(
    "reference",
    [
        f"python:3.11.16-slim-bookworm@sha256:{'a' * 64}",
        "docker.io/library/python:3.11-slim",
        "registry:3.0.0",
        "debian:bookworm-slim",
        "node:18-bookworm-slim",
        "alpine",
        "alpine:3.20",
        "busybox:latest",
    ],
)
def test_common_names_are_in_the_table(reference: str) -> None:
    assert Table().find(reference) is not None


@pytest.mark.parametrize("reference", ["python:3.12-slim", "node:22", "debian:trixie", "owner/alpine"])
def test_what_would_be_something_else_is_not(reference: str) -> None:
    assert Table().find(reference) is None


def test_a_module_s_own_table_comes_first(tmp_path: Path) -> None:
    own = tmp_path / OWN_TABLE
    own.write_text(OWN)
    found, others = Table(own).find("alpine:3.20.2"), Table(own).find("alpine:3.19")
    assert found is not None
    assert others is not None
    assert found.files["/etc/alpine-release"] == "3.20.2\n"
    assert others.key == getattr(Table().find("alpine:3.19"), "key", None) != found.key


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[[image", "TOMLDecodeError"),
        ("", "KeyError\\('image'\\)"),
        ('[[image]]\nmatch = ["x"]\nsuite = "bookworm"\nsize = 1\n', "unexpected keyword argument 'size'"),
        (
            '[[image]]\nmatch = "x"\nsuite = "bookworm"\n',
            "match, a list of patterns, and packages or unpacked",
        ),
    ],
)
def test_a_table_that_cannot_be_read_says_what_is_wrong(text: str, why: str, tmp_path: Path) -> None:
    own = tmp_path / OWN_TABLE
    own.write_text(text)
    with pytest.raises(ImageError, match=why):
        Table(own).find("x")
