"""Clients of the API with their access rights, and the module of a session."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from daggerw_engine.errors import EngineError, PathError
from daggerw_engine.files.copying import copy_entry, copy_into


@dataclass(frozen=True)
class Client:
    """Client of the API: the base folder of its relative paths, and whether it is confined to that folder.

    Its exports have no setuid bits and no capabilities, unless `privileges` keeps those of the files. A
    confined one has a `name` of its own, and cache volumes of its own under that.
    """

    workdir: Path
    confined: bool
    privileges: bool = False
    name: str = ""

    def path(self, path: str) -> Path:
        """Return a path on the client's file system; PathError when the client has no access to it."""
        found = Path(os.path.normpath(self.workdir / Path(path).expanduser()))
        if self.confined and not found.resolve().is_relative_to(self.workdir.resolve()):
            raise PathError(f"{path!r} lies outside of the module's working directory")
        return found

    def secret(self, uri: str) -> str:
        """Return a secret's address with a resolved path; EngineError when the client may not read it."""
        scheme, _, rest = uri.partition(":")
        if not self.confined:
            return uri
        if scheme in ("env", "cmd"):
            raise EngineError(f"module code has no {scheme}: secrets of its own: take one as an argument")
        return f"file:{self.path(rest.removeprefix('//'))}" if scheme == "file" else uri

    def volume(self, key: str) -> str:
        """Return the key of a cache volume that no other client has."""
        return f"{self.name}\0{key}" if self.confined else key

    def refuse_host_services(self) -> None:
        """Raise EngineError when this client may not reach the host's ports."""
        if self.confined:
            raise EngineError("module code has no services of the host of its own: take one as an argument")

    def write_file(self, source: Path, path: str, *, into_folders: bool) -> str:
        """Write a file for the client; returns its absolute path."""
        target = self.path(path)
        if target.is_dir() and into_folders:
            target = target / source.name
        if target.is_dir():
            raise PathError(f"{path}: is a directory")
        target.parent.mkdir(parents=True, exist_ok=True)
        copy_entry(source, target, (os.getuid(), os.getgid()), privileges=self.privileges)
        return str(target)

    def folder(self, path: str) -> Path:
        """Return a folder, created when it is missing; PathError when something else is there."""
        target = self.path(path)
        if target.exists() and not target.is_dir():
            raise PathError(f"{path}: not a directory")
        target.mkdir(parents=True, exist_ok=True)
        return target

    def write_folder(self, source: Path, path: str, *, wipe: bool) -> str:
        """Merge a folder into the client's; returns its absolute path."""
        target = self.folder(path)
        if wipe:
            shutil.rmtree(target)
        copy_into(source, target, owner=(os.getuid(), os.getgid()), privileges=self.privileges)
        return str(target)


@dataclass(frozen=True)
class ModuleSource:
    """Module of a session: its name, the folder of its source, its own table of stand-ins."""

    name: str
    folder: Path
    table: Path


@dataclass(frozen=True)
class ModuleClient:
    """Connection of a module's process: the engine's address, and the base folder of its relative paths."""

    env: Mapping[str, str]
    workdir: Path
