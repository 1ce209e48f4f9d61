"""Names of releases: tags, registries and images, validated without a request.

The grammar of registries and repositories is the OCI distribution specification's; that of tags is stricter,
because a tag here is a release and never moves.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from errors import InvalidReference

LOCAL_REGISTRY = "localhost:5000"
_NUMBER = r"(?:0|[1-9]\d*)"
_IDENTIFIER = rf"(?:{_NUMBER}|\d*[A-Za-z-][0-9A-Za-z-]*)"
_PRERELEASE = rf"{_IDENTIFIER}(?:\.{_IDENTIFIER})*"
VERSION = re.compile(rf"v{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-{_PRERELEASE})?", re.ASCII)
_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*(?::([0-9]{{1,5}}))?", re.ASCII)
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*", re.ASCII)
_TAGGED = re.compile(r"([^/@]+)/([^@:]+):([^@:]+)", re.ASCII)
_PINNED = re.compile(r"([^/@]+)/([^@:]+)(?::([^@:]+))?@(sha256:[0-9a-f]{64})", re.ASCII)
_MAX_TAG, _MAX_REPOSITORY = 128, 255


@dataclass(frozen=True)
class Image:
    """Address of a release: a registry's host, a repository, and a tag, empty where only a digest counts."""

    host: str
    repository: str
    tag: str

    @property
    def local(self) -> bool:
        """True if the registry is the pipeline's own local one."""
        return self.host == LOCAL_REGISTRY

    def __str__(self) -> str:
        name = f"{self.host}/{self.repository}"
        return f"{name}:{self.tag}" if self.tag else name


@dataclass(frozen=True)
class Release:
    """A released image: where it is, and which content it has for ever."""

    image: Image
    digest: str

    def __str__(self) -> str:
        return f"{self.image}@{self.digest}"


def short(release: str) -> str:
    """Return what a release is called among others of the same image: its tag, when it has one."""
    return release.partition("@")[0].rpartition("/")[2].rpartition(":")[2]


def release_tag(tag: str) -> str:
    """Return the tag unchanged; raises InvalidReference unless it is vMAJOR.MINOR.PATCH[-PRERELEASE]."""
    if tag == "latest":
        raise InvalidReference("tag: 'latest' moves and a release never does; use a version such as 'v1.0.0'")
    if not VERSION.fullmatch(tag) or len(tag) > _MAX_TAG:
        raise InvalidReference(
            f"tag: {tag!r} is not vMAJOR.MINOR.PATCH; use one such as 'v1.0.0' or 'v1.0.0-rc.1'"
        )
    return tag


def registry_address(registry: str) -> str:
    """Return a registry given as HOST[:PORT][/PATH] unchanged.

    Raises InvalidReference when a part is malformed, or when the host is this machine but not LOCAL_REGISTRY:
    the pipeline runs in a container, from where nothing else on this machine can be seen.
    """
    host, slash, path = registry.partition("/")
    _check_host(registry, host)
    if slash:
        _check_repository(path)
    return registry


def image(registry: str, name: str, tag: str) -> Image:
    """Return the image of a name and a tag in a registry given as HOST[:PORT][/PATH].

    Raises InvalidReference when a part is malformed, or when the name cannot name a repository there.
    """
    host, _, path = registry_address(registry).partition("/")
    release_tag(tag)
    repository = f"{path}/{name}" if path else name
    _check_repository(repository)
    return Image(host, repository, tag)


def parse_release(text: str) -> Release:
    """Return the image that NAME@sha256:… names, as `publish` prints it; the tag may be left out.

    Raises InvalidReference, also for a name without a digest: a tag alone may lead to another image tomorrow.
    """
    match = _PINNED.fullmatch(text)
    if not match:
        raise InvalidReference(
            f"image: {text!r} is not HOST/NAME[:TAG]@sha256:…; give the whole name that `dagger call "
            "publish` printed, or see `dagger call images`"
        )
    host, repository, tag, digest = match.groups()
    _check_host(host, host)
    _check_repository(repository)
    return Release(Image(host, repository, release_tag(tag) if tag else ""), digest)


def parse_image(text: str) -> Image | None:
    """Return the image that NAME:TAG names, None when a text is no such name; raises InvalidReference."""
    match = _TAGGED.fullmatch(text)
    if not match:
        return None
    host, repository, tag = match.groups()
    _check_host(host, host)
    _check_repository(repository)
    return Image(host, repository, release_tag(tag))


def next_free(tag: str, taken: Collection[str]) -> str:
    """Return the first version from the tag on that is not taken: pre-releases count up, else patches do."""
    while tag in taken:
        tag = _successor(tag)
    return tag


def _successor(tag: str) -> str:
    version, _, prerelease = tag.partition("-")
    head, _, last = (prerelease or version).rpartition(".")
    if not prerelease:
        return f"{head}.{int(last) + 1}"
    if not last.isdigit():
        return f"{tag}.1"
    return f"{version}-{head}.{int(last) + 1}" if head else f"{version}-{int(last) + 1}"


def _check_repository(repository: str) -> None:
    if len(repository) > _MAX_REPOSITORY or not all(map(_COMPONENT.fullmatch, repository.split("/"))):
        raise InvalidReference(
            f"registry: {repository!r} cannot name a repository; use lower-case letters, digits and single "
            ". _ - in parts divided by /"
        )


def _check_host(registry: str, host: str) -> None:
    match = _HOST.fullmatch(host)
    name = host.partition(":")[0]
    if host != LOCAL_REGISTRY and (name == "localhost" or name.startswith("127.")):
        raise InvalidReference(
            f"registry: {host!r} is this machine, which the pipeline's container cannot see; leave "
            f"--registry out to publish to the local registry, {LOCAL_REGISTRY!r}"
        )
    if not match or not {".", ":"} & set(host) or (match[1] and not 0 < int(match[1]) < 65536):
        raise InvalidReference(
            f"registry: {registry!r} does not start with a host; use HOST[:PORT][/PATH] without a scheme, "
            "such as 'us-central1-docker.pkg.dev/PROJECT/REPOSITORY', which `dagger call setup-google` prints"
        )
