"""References of images: their registry, tag and digest."""

from __future__ import annotations

import pytest

from daggerw_engine.store.images import full_name, registry_of

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("reference", "host", "name"),
    [
        ("python", "registry-1.docker.io", "docker.io/library/python:latest"),
        ("python:3.11", "registry-1.docker.io", "docker.io/library/python:3.11"),
        (f"python:3.11@{DIGEST}", "registry-1.docker.io", f"docker.io/library/python@{DIGEST}"),
        ("owner/name:1", "registry-1.docker.io", "docker.io/owner/name:1"),
        ("docker.io/owner/name", "registry-1.docker.io", "docker.io/owner/name:latest"),
        ("localhost:5000/name:1", "localhost:5000", "localhost:5000/name:1"),
        (f"ghcr.io/a/b/c@{DIGEST}", "ghcr.io", f"ghcr.io/a/b/c@{DIGEST}"),
    ],
)
def test_a_reference_names_its_registry_and_one_of_tag_and_digest(
    reference: str, host: str, name: str
) -> None:
    assert registry_of(reference) == host
    assert full_name(reference) == name
