"""A pipeline without an engine: its image is an archive, its fake cloud runs in this process."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dagger

from fakecloud.state.fixtures import Job, usual_setup, with_deployers
from image import release_files
from image.canonical import Origin
from keyless.google_identity import Identity
from releasing import model_card
from releasing.git_commit import Commit
from releasing.publishing import Draft
from releasing.registry_access import RegistryAccess
from tests.ci.recorder import Recorder
from tests.ci.sample_image import BASE, ORIGIN

COMMIT = Commit(ORIGIN.revision, ORIGIN.created, dirty=False)


@dataclass
class Service(Recorder, of=(dagger.Service,)):
    """A service that is there already, or is started on request."""

    begin: Callable[[], str]
    running: bool = False

    async def start(self) -> Service:
        self.address, self.running = self.begin(), True
        return self

    async def endpoint(self, *, port: int, scheme: str) -> str:
        assert scheme == "http"
        return self.address

    async def stop(self) -> Service:
        self.running = False
        return self


@dataclass
class Container(Recorder, of=(dagger.Container,)):
    """An image in an archive; every change of it returns itself."""

    archive: Path
    service: Service = field(default_factory=lambda: Service(lambda: "http://image"))
    arguments: Sequence[str] = ()

    def as_service(self, *, args: Sequence[str] = (), use_entrypoint: bool = False) -> Service:
        self.arguments = args
        return self.service

    async def sync(self) -> Container:
        return self


@dataclass
class Check(Recorder, of=(dagger.Container, dagger.Directory)):
    """A container that checks."""

    name: str
    done: list[str]

    async def sync(self) -> Check:
        self.done.append(self.name)
        return self


@dataclass
class Model(Check, of=(dagger.Directory, dagger.File)):
    """A trained model's folder."""

    def file(self, name: str) -> Model:
        assert name == "card.json"
        return self

    async def contents(self) -> str:
        return '{"portable": null}'


@dataclass
class Bundle(Recorder, of=(dagger.Container, dagger.Directory)):
    """Files of a release, and the folder that they are in."""

    make: Callable[[], Path]

    async def sync(self) -> Bundle:
        self.folder = self.make()
        return self

    def directory(self, path: str) -> Bundle:
        assert path == release_files.FOLDER
        return self

    def file(self, name: str) -> Path:
        return self.folder / name

    async def export(self, path: str) -> None:
        shutil.copytree(self.folder, path, dirs_exist_ok=True)


@dataclass
class Pipeline:
    """Inputs of a release, its results, and its checks."""

    image: Container
    local: Service
    made: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)

    def draft(self, tag: str, commit: Commit = COMMIT) -> Draft:
        """Return what a version is released from."""
        parts: Any = Check("parts", self.checked)
        lint: Any = Check("lint", self.checked)
        test: Any = Check("test", self.checked)
        model: Any = Model("train", self.made)
        bundle: Any = Bundle(lambda: self.bundle(tag, commit))
        return Draft(commit, parts.sync, lint, test, model, {model_card.FULL: bundle})

    def access(self, identity: Identity | None = None) -> RegistryAccess:
        """Return an identity's access to registries."""
        local: Any = self.local
        return RegistryAccess(identity, local)

    def bundle(self, tag: str, commit: Commit) -> Path:
        """Make a version's files and return their folder."""
        self.made.append(f"build {tag}")
        folder = self.image.archive.with_suffix(".release")
        release_files.write(self.image.archive, Origin(commit.revision, commit.created, BASE), folder)
        return folder


class Engine(Recorder, of=(dagger.Client, dagger.CurrentModule, dagger.Directory, dagger.Container)):
    """Dagger's client, as far as a rehearsal goes: it gives secrets, and imports what was pulled."""

    def __init__(self, start_google: Callable[..., str], tag: str, *faults: str) -> None:
        """Start the fake cloud for a tag, with faults."""
        self.secrets: dict[str, str] = {}
        self.imported: list[Path] = []
        job = Job(ref=f"refs/tags/{tag}")

        def begin() -> str:
            setup = with_deployers(
                usual_setup(self.secrets["request-token"], job, self.secrets["control-key"])
            )
            return start_google(replace(setup, tokens_per_key=10_000), *faults)

        self.programs = Container(Path(), Service(begin))

    def set_secret(self, name: str, plaintext: str) -> str:
        self.secrets[name] = plaintext
        return name

    def file(self, name: str) -> Path:
        return Path(name).absolute()

    def container(self, platform: str) -> Engine:
        assert platform == "linux/amd64"
        return self

    def import_(self, source: Path) -> Any:
        self.imported.append(source)
        return Container(source)


def tag_of(folder: Path) -> str:
    """Return a version that no other test releases: all of them, in every process, push to one registry."""
    return f"v1.0.0-{hashlib.sha256(bytes(folder)).hexdigest()[:16]}a"
