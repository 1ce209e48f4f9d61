"""Stand-ins for base images, built from Debian's packages where no image registry is reachable."""

from __future__ import annotations

import json
import re
import shlex
import tempfile
import tomllib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from daggerw_engine.errors import ImageError
from daggerw_engine.keys import key_of
from daggerw_engine.process import CONTAINED, run, tied_prefix
from daggerw_engine.store.buildah import Store, option_list, store_error

TABLE = Path(__file__).with_name("standins.toml")
OWN_TABLE = "standins.toml"  # in a module's folder, beside its dagger.json
# As in the official slim images. As options of mmdebstrap they would double its time: it would then read
# every archive in Python.
SLIM = "path-exclude=/usr/share/doc/*\npath-include=/usr/share/doc/*/copyright\n" + "".join(
    f"path-exclude=/usr/share/{name}/*\n" for name in ("man", "locale")
)
# apt reuses the host's package lists if they are current.
LISTS = 'for list in /var/lib/apt/lists/*_*_*; do [ ! -f "$list" ] || cp "$list" "$1/var/lib/apt/lists"; done'
WRITE_SLIM = f'mkdir -p "$1/etc/dpkg/dpkg.cfg.d" && printf %s \'{SLIM}\' >"$1/etc/dpkg/dpkg.cfg.d/docker"'
# Files that mmdebstrap unpacks before dpkg can exclude them.
CLEAN = (
    'rm -rf "$1"/usr/share/man/* "$1"/usr/share/locale/* && '
    '{ [ ! -d "$1/usr/share/doc" ] || find "$1/usr/share/doc" -type f ! -name copyright -delete; }'
)
# /bin is a link to /usr/bin from the start, as in the official images. Otherwise a package that does it is
# installed, and with it all of Perl.
MERGED = "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"
OPTIONS = (
    "--format=directory",
    "--dpkgopt=force-unsafe-io",
    '--aptopt=Acquire::Languages "none"',
    '--aptopt=APT::Sandbox::User "root"',
    f"--setup-hook={LISTS}",
    f"--setup-hook={WRITE_SLIM}",
)
UNPACK = (
    'cd "$1/tmp" && apt-get --quiet=2 download {names} && '
    'for package in *.deb; do dpkg-deb --extract "$package" "$1"; done && rm *.deb'
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
    """Recipe of one base image, built from packages.

    `packages` are installed on top of a small Debian; without them, the image has only the `unpacked`
    packages. `commands` run in it at the end.
    """

    match: tuple[str, ...]
    suite: str
    packages: tuple[str, ...] = ()
    unpacked: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    links: dict[str, str] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()

    @property
    def key(self) -> str:
        """Key of the recipe."""
        return key_of(repr(self))

    async def make(self, store: Store) -> str:
        """Build the image; return its id. ImageError when Debian's packages are unavailable."""
        root = Path(tempfile.mkdtemp(dir=store.scratch))
        root.chmod(0o755)
        await self._install(root)
        self._finish(root)
        await self._run_commands(root)
        async with store.new_container(None) as working:
            root.rename(store.changes_folder(working.name))
            await working.configure(self._configuration())
            return await working.commit()

    async def _install(self, root: Path) -> None:
        words = ["--variant=minbase", MERGED, f"--include={','.join(('usr-is-merged', *self.packages))}"]
        if not self.packages:
            words = ["--variant=custom"]
        if self.unpacked:
            words.append(f"--customize-hook={UNPACK.format(names=shlex.join(self.unpacked))}")
        words.append(f"--customize-hook={CLEAN}")
        command = ("mmdebstrap", *OPTIONS, *words, self.suite, str(root))
        done = await run((*tied_prefix(), *CONTAINED, *command))
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
            path.chmod(0o755 if path.read_text().startswith("#!") else 0o644)

    async def _run_commands(self, root: Path) -> None:
        if not self.commands:
            return
        words = ("chroot", str(root), "sh", "-e", "-c", "\n".join(self.commands))
        done = await run((*tied_prefix(), *CONTAINED, *words), env=self.env)
        if done.status:
            message = " ".join(done.stderr.split())[-600:]
            raise ImageError(f"the stand-in for {self.match[0]}: its commands failed: {message}")

    def _configuration(self) -> list[str]:
        options = option_list("--env", self.env) + [
            item for port in self.ports for item in ("--port", str(port))
        ]
        entrypoint = json.dumps(self.entrypoint) if self.entrypoint else ""
        return [*options, "--entrypoint", entrypoint, "--cmd", shlex.join(self.args)]


class Table:
    """Table of stand-ins: a module's entries precede the engine's."""

    def __init__(self, own: Path | None = None) -> None:
        self._own = own if own and own.is_file() else None

    def find(self, reference: str) -> StandIn | None:
        """Return the recipe of a stand-in for an image reference; None without an entry for it."""
        name = reference.partition("@")[0].removeprefix("docker.io/").removeprefix("library/")
        for path in filter(None, (self._own, TABLE)):
            for stand_in in _entries(path):
                if any(fnmatchcase(name, pattern) for pattern in stand_in.match):
                    return stand_in
        return None


def _entries(path: Path) -> list[StandIn]:
    """Read a table; ImageError names an invalid entry."""
    try:
        return [_entry(each) for each in tomllib.loads(path.read_text())["image"]]
    except (tomllib.TOMLDecodeError, TypeError, KeyError) as error:
        raise ImageError(f"{path}: {error!r}; see the format in {TABLE}") from error


def _entry(given: dict[str, Any]) -> StandIn:
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in given.items()
    }
    made = StandIn(**values)
    if not isinstance(made.match, tuple) or not (made.packages or made.unpacked):
        raise TypeError("an image needs match, a list of patterns, and packages or unpacked, lists of names")
    return made
