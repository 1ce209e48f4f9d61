"""Fields of Dagger's Directory and File types."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

from daggerw_engine.api.clients.client import Client
from daggerw_engine.api.fields.platforms import refuse_other
from daggerw_engine.errors import PathError
from daggerw_engine.files.changes import Remove, Write, apply, make_folder
from daggerw_engine.files.changeset import Changes
from daggerw_engine.files.copying import copy_entry
from daggerw_engine.files.git import Repository
from daggerw_engine.files.listing import file_digest
from daggerw_engine.files.paths import check_kind
from daggerw_engine.files.patterns import Filter, glob_expression
from daggerw_engine.files.trees import Place, Trees
from daggerw_engine.keys import key_of
from daggerw_engine.store.build import Builder, DockerBuild
from daggerw_engine.values.container import ContainerState
from daggerw_engine.values.secret import Secret


class DirectoryFields:
    """Fields of a directory: each method takes the evaluated directory and the field's arguments."""

    def __init__(self, trees: Trees, builder: Builder) -> None:
        self._trees, self._builder = trees, builder

    async def directory(self, place: Place, path: str) -> Place:
        return below(place, path, directory=True)

    async def file(self, place: Place, path: str) -> Place:
        return below(place, path, directory=False)

    async def entries(self, place: Place, path: str | None = None) -> list[str]:
        found = await self.directory(place, path or ".")
        return await self.glob(found, "*")

    async def glob(self, place: Place, pattern: str) -> list[str]:
        wanted = glob_expression(pattern)
        found = ((path, head) for path, head in place.listing.heads.items() if wanted.match(path))
        return [path + ("/" if head.startswith("d") else "") for path, head in found]

    async def digest(self, place: Place) -> str:
        return f"sha256:{place.listing.without_times.digest}"

    async def name(self, place: Place) -> str:
        return Path(place.path).name + "/"

    async def sync(self, place: Place) -> None:
        """Return the directory; evaluation has already done everything."""

    async def filter(self, place: Place, exclude: list[str], include: list[str], gitignore: bool) -> Place:
        return filter_directory(self._trees, place, exclude, include, gitignore)

    async def with_directory(
        self,
        place: Place,
        path: str,
        source: Place,
        exclude: list[str],
        include: list[str],
        gitignore: bool,
        owner: str,
        permissions: int | None = None,
    ) -> Place:
        added = filter_directory(self._trees, source, exclude, include, gitignore)
        return await self._change(place, Write(path, added, owner, permissions))

    async def with_file(
        self, place: Place, path: str, source: Place, owner: str, permissions: int | None = None
    ) -> Place:
        target = below_folder(path, path, source)
        return await self._change(place, Write(target, source, owner, permissions, into_folders=True))

    async def with_files(
        self, place: Place, path: str, sources: list[Place], permissions: int | None = None
    ) -> Place:
        writes = (Write(f"{path}/{Path(each.path).name}", each, "", permissions) for each in sources)
        return await self._change(place, *writes)

    async def with_new_file(self, place: Place, path: str, contents: str, permissions: int) -> Place:
        added = self._trees.write_file("file", contents, 0o644)
        return await self._change(place, Write(path, added, "", permissions))

    async def with_new_directory(self, place: Place, path: str, permissions: int) -> Place:
        if os.path.normpath(path).startswith("../"):
            raise PathError(f"cannot create directory outside parent: {path}")
        folder = self._trees.copy(place)
        make_folder(folder, path, permissions)
        return self._trees.adopt(folder)

    async def without_directory(self, place: Place, path: str) -> Place:
        return await self._change(place, Remove(path))

    async def without_file(self, place: Place, path: str) -> Place:
        return await self._change(place, Remove(path))

    async def without_files(self, place: Place, paths: list[str]) -> Place:
        return await self._change(place, *map(Remove, paths))

    async def with_timestamps(self, place: Place, timestamp: int) -> Place:
        return self._trees.force_time(place, timestamp)

    async def diff(self, place: Place, other: Place) -> Place:
        before, after = place.listing.heads, other.listing.heads
        folder = self._trees.new_folder()
        for path in (path for path, head in after.items() if before.get(path) != head):
            copy_entry(other.on_disk / path, folder / path)
        return self._trees.adopt(folder)

    async def changes(self, place: Place, from_: Place) -> Changes:
        return Changes(from_, place)

    async def export(self, place: Place, client: Client, path: str, wipe: bool) -> str:
        return client.write_folder(place.on_disk, path, wipe=wipe)

    async def as_git(self, place: Place, origin: str | None = None) -> Repository:
        return Repository.at(place.on_disk, Path(origin) if origin else None)

    async def docker_build(
        self,
        place: Place,
        dockerfile: str,
        build_args: list[dict[str, str]],
        target: str,
        secrets: list[Secret],
        platform: str | None = None,
    ) -> ContainerState:
        refuse_other(platform)
        arguments = tuple((each["name"], each["value"]) for each in build_args)
        wanted = DockerBuild(place, dockerfile, arguments, target, tuple(secrets))
        return await self._builder.build(wanted)

    async def _change(self, place: Place, *changes: Write | Remove) -> Place:
        return await asyncio.to_thread(apply_changes, self._trees, place, *changes)


class FileFields:
    """Fields of a file: each method takes the evaluated file and the field's arguments."""

    def __init__(self, trees: Trees) -> None:
        self._trees = trees

    async def contents(
        self, place: Place, offset_lines: int | None = None, limit_lines: int | None = None
    ) -> str:
        text = place.on_disk.read_bytes().decode(errors="replace")
        if offset_lines is None and limit_lines is None:
            return text
        begin = max(offset_lines or 0, 0)
        end = None if limit_lines is None else begin + limit_lines
        return "".join(re.findall(r"[^\n]*\n|[^\n]+", text)[begin:end])

    async def name(self, place: Place) -> str:
        return Path(place.path).name

    async def size(self, place: Place) -> int:
        return place.on_disk.stat().st_size

    async def digest(self, place: Place, exclude_metadata: bool) -> str:
        found = file_digest(place.on_disk)
        return f"sha256:{found if exclude_metadata else key_of(found, place.key)}"

    async def sync(self, place: Place) -> None:
        """Return the file; evaluation has already done everything."""

    async def with_name(self, place: Place, name: str) -> Place:
        return self._trees.ingest_file(place.on_disk, name)

    async def export(self, place: Place, client: Client, path: str, allow_parent_dir_path: bool) -> str:
        return client.write_file(place.on_disk, path, into_folders=allow_parent_dir_path)


def apply_changes(trees: Trees, place: Place, *changes: Write | Remove) -> Place:
    """Return a directory with changes."""
    folder = trees.copy(place)
    apply(changes, folder)
    return trees.adopt(folder)


def filter_directory(
    trees: Trees, place: Place, exclude: list[str], include: list[str], gitignore: bool
) -> Place:
    """Return the part of a directory that a filter keeps."""
    kept = Filter.of(exclude, include, gitignore=gitignore)
    return trees.adopt(trees.copy(place, kept)) if kept != Filter() else place


def below(place: Place, path: str, *, directory: bool) -> Place:
    """Return the file or folder at a path; PathError when it is missing or of the other kind."""
    found = place.below(path)
    check_kind(found.on_disk, path, directory=directory)
    return found


def below_folder(path: str, target: str, source: Place) -> str:
    """Return a file's path: `target`, plus the file's own name if `path` ends with a slash."""
    return f"{target}/{Path(source.path).name}" if path.endswith(("/", "/.")) else target
