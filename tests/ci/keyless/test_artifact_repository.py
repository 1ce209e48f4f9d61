"""Addresses of repositories of Artifact Registry."""

import pytest

from errors import NotReady
from keyless.artifact_repository import ArtifactRepository


@pytest.mark.parametrize("below", ["", "/m", "/m/n"])
def test_a_repository_is_named_by_its_address_and_by_those_of_its_images(below: str) -> None:
    found = ArtifactRepository.of(f"us-docker.pkg.dev/my-project/models{below}")
    assert str(found) == "projects/my-project/locations/us/repositories/models"
    assert found.path == f"/v1/{found}"
    assert found.names == {
        "host": "us-docker.pkg.dev",
        "location": "us",
        "project": "my-project",
        "repository": "models",
    }


@pytest.mark.parametrize(
    "address",
    ["us-docker.pkg.dev", "us-docker.pkg.dev/my-project", "ghcr.io/my-project/models", "docker.pkg.dev/p/m"],
)
def test_another_address_is_refused(address: str) -> None:
    with pytest.raises(NotReady, match=f"{address} is not in Artifact Registry\n  fix: pass --registry="):
        ArtifactRepository.of(address)
