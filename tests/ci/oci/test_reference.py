"""Names of releases: valid ones, and refusals."""

from __future__ import annotations

import pytest

from errors import InvalidReference
from oci import reference


@pytest.mark.parametrize(
    "tag", ["v0.0.0", "v1.0.0", "v10.20.30", "v1.0.0-rc.1", "v1.0.0-0a", "v0.0.0-dev", "v1.0.0--"]
)
def test_release_tag_takes_a_semantic_version(tag: str) -> None:
    assert reference.release_tag(tag) == tag


@pytest.mark.parametrize(
    "tag",
    [
        *("", "v", "1.0.0", "v1", "v1.0", "v1.0.0.0", "v01.0.0", "v1.00.0", "V1.0.0", "v1.0.0-"),
        *("v1.0.0-rc..1", "v1.0.0-01", "v1.0.0+build", "v1.0.0 ", " v1.0.0", "v1.0.0\n", "v\u0661.0.0"),
        *("v1.0.0-é", "main", "v1.0.0/x", "v1.0.0:x", "v1.0.0@sha256:00", "--help", "$(id)"),
        *(f"v1.0.0-{'a' * 128}",),
    ],
)
def test_release_tag_refuses_what_is_no_version(tag: str) -> None:
    with pytest.raises(InvalidReference, match="is not vMAJOR.MINOR.PATCH; use one such as 'v1.0.0'"):
        reference.release_tag(tag)


def test_release_tag_refuses_latest_because_it_moves() -> None:
    with pytest.raises(InvalidReference, match="'latest' moves"):
        reference.release_tag("latest")


@pytest.mark.parametrize(
    ("registry", "name"),
    [
        ("localhost:5000", "localhost:5000/milestone2:v1.0.0"),
        ("localhost:5000/team", "localhost:5000/team/milestone2:v1.0.0"),
        ("us-central1-docker.pkg.dev/p-1/models", "us-central1-docker.pkg.dev/p-1/models/milestone2:v1.0.0"),
        ("ghcr.io/a__b/c-d.e_f", "ghcr.io/a__b/c-d.e_f/milestone2:v1.0.0"),
        ("registry:443", "registry:443/milestone2:v1.0.0"),
    ],
)
def test_image_is_named_by_registry_name_and_tag(registry: str, name: str) -> None:
    assert str(reference.image(registry, "milestone2", "v1.0.0")) == name


def test_only_the_local_registry_is_local() -> None:
    assert reference.image("localhost:5000", "m", "v1.0.0").local
    assert not reference.image("ghcr.io/a", "m", "v1.0.0").local


@pytest.mark.parametrize(
    "registry",
    [
        *("", "/", "team", "team/models", "https://ghcr.io", "GHCR.io/a", "ghcr.io:0", "ghcr.io:65536"),
        *("ghcr.io:https", "-a.io", "a-.io", "a..io", "a.io:", "user@ghcr.io", "gh cr.io", "ghcr.io\n"),
        *("ghcr.io?x", "[::1]:5000"),
    ],
)
def test_registry_address_refuses_a_malformed_host(registry: str) -> None:
    with pytest.raises(InvalidReference, match="does not start with a host; use HOST"):
        reference.registry_address(registry)


@pytest.mark.parametrize(
    "registry",
    [
        *("ghcr.io/", "ghcr.io//a", "ghcr.io/a/", "ghcr.io/A", "ghcr.io/a:v1", "ghcr.io/a..b"),
        *("ghcr.io/_a", "ghcr.io/..", "ghcr.io/a?b", "ghcr.io/a b", f"ghcr.io/{'a' * 256}"),
    ],
)
def test_registry_address_refuses_a_malformed_path(registry: str) -> None:
    with pytest.raises(InvalidReference, match="cannot name a repository; use lower-case letters"):
        reference.registry_address(registry)


@pytest.mark.parametrize(
    "registry", ["localhost", "localhost:5001", "localhost/a", "127.0.0.1:5000", "127.0.0.2"]
)
def test_registry_address_refuses_another_registry_of_this_machine(registry: str) -> None:
    with pytest.raises(InvalidReference, match="is this machine.*leave --registry out"):
        reference.registry_address(registry)


def test_image_refuses_a_tag_that_is_no_version() -> None:
    with pytest.raises(InvalidReference, match="'v1' is not"):
        reference.image("localhost:5000", "m", "v1")


@pytest.mark.parametrize("name", ["", "Milestone", "a b", "a:b", "../a", "a" * 256])
def test_image_refuses_a_name_that_no_repository_can_have(name: str) -> None:
    with pytest.raises(InvalidReference, match="cannot name a repository"):
        reference.image("localhost:5000", name, "v1.0.0")


@pytest.mark.parametrize(
    ("tag", "taken", "free"),
    [
        ("v1.0.0", [], "v1.0.0"),
        ("v1.0.0", ["v1.0.0"], "v1.0.1"),
        ("v1.0.0", ["v1.0.0", "v1.0.1", "v1.0.3"], "v1.0.2"),
        ("v1.9.9", ["v1.9.9"], "v1.9.10"),
        ("v1.0.0-rc.1", ["v1.0.0-rc.1"], "v1.0.0-rc.2"),
        ("v1.0.0-9", ["v1.0.0-9"], "v1.0.0-10"),
        ("v1.0.0-beta", ["v1.0.0-beta", "v1.0.0-beta.1"], "v1.0.0-beta.2"),
    ],
)
def test_next_free_counts_up_to_a_version_that_is_not_taken(tag: str, taken: list[str], free: str) -> None:
    assert reference.next_free(tag, taken) == free
    assert reference.release_tag(free) == free


@pytest.mark.parametrize("text", ["localhost:5000/m:v1.0.0", "r.test/a/b:v1.0.0-rc.1"])
def test_tagged_returns_the_image_of_a_name_with_a_tag(text: str) -> None:
    assert str(reference.parse_image(text)) == text


@pytest.mark.parametrize(
    "text", ["m", "r.test/m", f"r.test/m:v1.0.0@sha256:{'a' * 64}", f"r.test/m@sha256:{'a' * 64}"]
)
def test_tagged_returns_nothing_for_what_is_no_name_with_a_tag_alone(text: str) -> None:
    assert reference.parse_image(text) is None


def test_tagged_refuses_a_tag_that_is_no_version() -> None:
    with pytest.raises(InvalidReference, match="'latest' moves"):
        reference.parse_image("r.test/m:latest")


@pytest.mark.parametrize(
    ("release", "called"),
    [
        (f"r.test:5000/a/m:v1.0.0@sha256:{'a' * 64}", "v1.0.0"),
        (f"r.test:5000/a/m@sha256:{'a' * 64}", "m"),
        ("service-00001-abc", "service-00001-abc"),
        ("", ""),
    ],
)
def test_short_is_what_a_release_is_called_among_its_like(release: str, called: str) -> None:
    assert reference.short(release) == called
