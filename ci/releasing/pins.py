"""Pins and newer pins: packages by the commands in their lists, base images by digest.

A list such as app/requirements.in says at its head how it is compiled; that command is run again, and only
raises what the list allows. The tags of base images are kept: what moves is the digest behind one.
"""

import re
import secrets
import shlex
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import dagger

from errors import InvalidReference
from oci.repository import Repository, connect

# In the order in which they constrain each other.
LISTS = ["app/requirements.in", "app/requirements-full.in", "requirements-uv.in", "requirements-test.in"]
TEAM_LIST, TEAM_PINS = "features/requirements.in", "features/requirements.txt"
FULL_PINS = "app/requirements-full.txt"
LISTS += ["docker/requirements.in", "engine/requirements.in", "ci/requirements.in", "requirements-dev.in"]
LISTS += ["bench/requirements.in", TEAM_LIST]
# Sigstore's public keys and addresses come with its package, as its update framework had them at that time.
SIGSTORE = "deploy/sigstore"
_STORE = "/tmp/raised/sigstore/_store/https%3A%2F%2Ftuf-repo-cdn.sigstore.dev"
_COPY = (
    "uv pip install --quiet --target /tmp/raised --no-deps --require-hashes -r ci/requirements.txt && "
    f"cp {_STORE}/trusted_root.json {SIGSTORE}/trusted_root.json && "
    f"cp {_STORE}/signing_config.v0.2.json {SIGSTORE}/signing_config.json"
)
FILES = [
    f"{SIGSTORE}/*.json",
    "**/requirements*.in",
    "**/requirements*.txt",
    "ci/requirements.lock",
    "ci/pyproject.toml",
]
# Where base images are pinned.
PINNING = ["Dockerfile", "ci/main.py", "engine/README.md", "engine/tests/engine_fixtures.py"]
_COMMAND = re.compile(r"^#   (uv pip compile (?:.*\\\n#\s+)*.*)$", re.MULTILINE)
_PINNED = re.compile(r"(?:([^/]+\.[^/]+)/)?([^:@]+):([^@]+)@(sha256:[0-9a-f]{64})")
_NAME = re.compile(r"^([a-z0-9-]+)(?:\[[a-z,]+\])?==", re.MULTILINE)
_PINS = re.compile(r"^[a-z0-9].*\n(?:[ ].*\n)*", re.MULTILINE)
_HUB, _OFFICIAL = "registry-1.docker.io", "library/"


def commands(text: str) -> list[list[str]]:
    """Return the commands at the head of a list of requirements, each as its words."""
    return [shlex.split(found.replace("\\\n#", "")) for found in _COMMAND.findall(text)]


@dataclass(frozen=True)
class Moved:
    """A base image's tag that leads to another digest than the pinned one."""

    image: str
    pinned: str
    now: str

    def __str__(self) -> str:
        return f"{self.image}: {self.pinned} is {self.now} now"


Connect = Callable[[str, str], AbstractAsyncContextManager[Repository]]


async def find_moved(images: Iterable[str], connect: Connect = connect) -> list[Moved]:
    """Return those of some pinned images NAME:TAG@sha256:… whose tags moved.

    `connect` opens a repository, by its registry's address and its name. Raises RegistryError when a registry
    gives no answer, and InvalidReference when it has no such tag.
    """
    return [found for image in images if (found := await _find_moved(image, connect))]


async def _find_moved(image: str, connect: Connect) -> Moved | None:
    match = _PINNED.fullmatch(image)
    if not match:
        raise InvalidReference(f"pins: {image!r} is not NAME:TAG@sha256:…; pin it by its digest")
    host, name, tag, pinned = match.groups()
    repository = name if host or "/" in name else f"{_OFFICIAL}{name}"
    async with connect(f"https://{host or _HUB}", repository) as found:
        now = await found.digest(tag)
    if now is None:
        raise InvalidReference(f"pins: {host or _HUB} has no {repository}:{tag} any more; pin another tag")
    return Moved(f"{name}:{tag}", pinned, now) if now != pinned else None


async def with_packages(source: dagger.Directory, packages: Iterable[str]) -> dagger.Directory:
    """Return a source whose list of the team's packages names some more."""
    text = await source.file(TEAM_LIST).contents()
    added = [package for package in packages if package not in text.splitlines()]
    return source.with_new_file(TEAM_LIST, "".join([text, *(f"{package}\n" for package in added)]))


async def compile_lists(
    source: dagger.Directory, installer: dagger.Container, *options: str
) -> dagger.Directory:
    """Return a source with its lists compiled anew, in a container that has uv; `--upgrade` raises pins."""
    # A new value on each run keeps yesterday's result from being reused.
    files = installer.with_env_variable("ASKED", secrets.token_hex())
    files = files.with_directory(".", source.filter(include=FILES))
    for name in LISTS:
        for command in commands(await source.file(name).contents()):
            files = files.with_exec([*command, *options])
    files = files.with_exec(["sh", "-ec", _COPY])
    whole, team = await files.file(FULL_PINS).contents(), await files.file(TEAM_PINS).contents()
    files = files.with_new_file(TEAM_PINS, without(team, whole))
    return source.with_directory(".", files.directory(".").filter(include=FILES))


def without(pins: str, others: str) -> str:
    """Return a list of pins without those of the packages that another list pins, too."""
    known = set(_NAME.findall(others))
    return "".join(pin for pin in _PINS.findall(pins) if not known & set(_NAME.findall(pin)))


async def repin(source: dagger.Directory, found: Iterable[Moved]) -> dagger.Directory:
    """Return a source that pins what base images' tags lead to now."""
    for each in found:
        for name in PINNING:
            text = (await source.file(name).contents()).replace(each.pinned, each.now)
            source = source.with_new_file(name, text)
    return source
