"""Stand-ins for base images, made from Debian's packages, for machines that reach no image registry."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from daggerw_engine.errors import ImageError
from daggerw_engine.process import CONTAINED, run, tied
from daggerw_engine.store.buildah import Store, option_list, store_error

TABLE = Path(__file__).with_name("standins.toml")
SLIM = (
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",  # as the official slim images do
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=force-unsafe-io",
    '--aptopt=Acquire::Languages "none"',
)
MIRROR = re.compile(r"https?://([^/\s]+)")
NO_NETWORK = (
    "could not resolve",
    "temporary failure",
    "could not connect",
    "connection timed out",
    "unable to connect",
)


@dataclass(frozen=True)
class StandIn:
    """How one base image is made from packages."""

    match: str
    suite: str
    packages: tuple[str, ...]
    links: dict[str, str] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()

    async def make(self, store: Store) -> str:
        """Make the image; returns its id. ImageError when Debian's packages can't be had."""
        async with store.working(None) as working:
            root = await working.mount()
            await self._install(root)
            self._finish(root)
            await working.configure(self._configuration())
            return await working.commit()

    async def _install(self, root: Path) -> None:
        names = ",".join(self.packages)
        words = ("mmdebstrap", "--variant=minbase", "--format=directory", f"--include={names}", *SLIM)
        done = await run((*tied(), *CONTAINED, *words, self.suite, str(root)))
        if not done.status:
            return
        if any(sign in done.stderr.lower() for sign in NO_NETWORK):
            host = MIRROR.search(done.stderr)
            mirror = host[1] if host else "its host"
            raise ImageError(f"Debian's package mirror can't be reached ({mirror}): a stand-in needs it once")
        raise store_error("mmdebstrap", done)

    def _finish(self, root: Path) -> None:
        for name, target in self.links.items():
            (root / name.lstrip("/")).symlink_to(target)
        for name in self.remove:
            (root / name.lstrip("/")).unlink()
        for name, text in self.files.items():
            path = root / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.lstrip())

    def _configuration(self) -> list[str]:
        options = option_list("--env", self.env) + [
            item for port in self.ports for item in ("--port", str(port))
        ]
        entrypoint = json.dumps(self.entrypoint) if self.entrypoint else ""
        return [*options, "--entrypoint", entrypoint, "--cmd", shlex.join(self.args)]


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def stand_in_for(reference: str, table: Path = TABLE) -> StandIn | None:
    """Return how to make a stand-in for an image reference; None when the table has none."""
    name = reference.partition("@")[0].removeprefix("docker.io/").removeprefix("library/")
    for entry in tomllib.loads(table.read_text())["image"]:
        if fnmatchcase(name, entry["match"]):
            given: dict[str, Any] = {key: _frozen(value) for key, value in entry.items()}
            return StandIn(**given)
    return None
