"""The fields of Dagger's Directory and File types."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from engine.build import DockerBuild
from engine.calls import Call
from engine.errors import PathError
from engine.paths import resolve_in
from engine.patterns import Filter
from engine.state import ContainerState
from engine.trees import Place, copy_entry, copy_into, digest_of, entries, file_digest

if TYPE_CHECKING:
    from engine.session import Client, Session


class Directories:
    """Each method is a field: it takes the evaluated directory and the field's arguments."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def directory(self, place: Place, path: str) -> Place:
        found = place.below(path)
        if not found.on_disk.is_dir():
            raise PathError(f"{path}: not a directory")
        return found

    async def file(self, place: Place, path: str) -> Place:
        found = place.below(path)
        if not found.on_disk.is_file():
            raise PathError(f"{path}: not a file")
        return found

    async def entries(self, place: Place, path: str | None = None) -> list[str]:
        found = await self.directory(place, path or ".")
        return sorted(
            e.name + ("/" if e.is_dir(follow_symlinks=False) else "") for e in os.scandir(found.on_disk)
        )

    async def glob(self, place: Place, pattern: str) -> list[str]:
        wanted = Filter.of(include=[pattern])
        return [
            path + ("/" if entry.is_dir(follow_symlinks=False) else "")
            for path, entry in entries(place.on_disk)
            if wanted.include[0].expression.fullmatch(path) and wanted.keeps(path)
        ]

    async def digest(self, place: Place) -> str:
        return f"sha256:{digest_of(place.on_disk)}"

    async def name(self, place: Place) -> str:
        return Path(place.path).name or "/"

    async def sync(self, place: Place) -> None:
        """Nothing is left to do once a directory has a place."""

    async def filter(self, place: Place, exclude: list[str], include: list[str]) -> Place:
        return self._session.filtered(place, Filter.of(exclude, include))

    async def with_directory(
        self, place: Place, path: str, source: Call, exclude: list[str], include: list[str]
    ) -> Place:
        added = (await self._session.place(source)).on_disk
        kept = Filter.of(exclude, include)
        folder = self._copy(place)
        copy_into(added, resolve_in(folder, path), kept=kept, root=folder)
        return self._session.trees.adopt(folder)

    async def with_file(self, place: Place, path: str, source: Call, permissions: int | None = None) -> Place:
        return await self.with_files(place, path, [source], permissions)

    async def with_files(
        self, place: Place, path: str, sources: list[Call], permissions: int | None = None
    ) -> Place:
        folder = self._copy(place)
        into_folder = path.endswith("/") or len(sources) > 1
        for source in sources:
            added = (await self._session.place(source)).on_disk
            target = resolve_in(folder, f"{path}/{added.name}" if into_folder else path)
            copy_entry(added, target)
            if permissions is not None:
                target.chmod(permissions)
        return self._session.trees.adopt(folder)

    async def with_new_file(self, place: Place, path: str, contents: str, permissions: int) -> Place:
        folder = self._copy(place)
        target = resolve_in(folder, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(contents)
        target.chmod(permissions)
        return self._session.trees.adopt(folder)

    async def with_new_directory(self, place: Place, path: str, permissions: int) -> Place:
        folder = self._copy(place)
        target = resolve_in(folder, path)
        target.mkdir(parents=True, exist_ok=True)
        target.chmod(permissions | 0o111)
        return self._session.trees.adopt(folder)

    async def without_directory(self, place: Place, path: str) -> Place:
        folder = self._copy(place)
        target = resolve_in(folder, path)
        if target.is_dir():
            shutil.rmtree(target)
        return self._session.trees.adopt(folder)

    async def without_file(self, place: Place, path: str) -> Place:
        folder = self._copy(place)
        resolve_in(folder, path).unlink(missing_ok=True)
        return self._session.trees.adopt(folder)

    async def with_timestamps(self, place: Place, timestamp: int) -> Place:
        folder = self._copy(place)
        for _, entry in entries(folder):
            os.utime(entry.path, (timestamp, timestamp), follow_symlinks=False)
        return self._session.trees.adopt(folder)

    async def diff(self, place: Place, other: Call) -> Place:
        theirs = (await self._session.place(other)).on_disk
        ours = place.on_disk
        folder = self._session.trees.new_folder()
        for path, entry in entries(theirs):
            if not entry.is_dir(follow_symlinks=False) and not _same(ours / path, Path(entry.path)):
                copy_entry(Path(entry.path), folder / path)
        return self._session.trees.adopt(folder)

    async def export(self, place: Place, client: Client, path: str, wipe: bool) -> str:
        return client.write_folder(place.on_disk, path, wipe=wipe)

    async def docker_build(
        self,
        place: Place,
        dockerfile: str,
        build_args: list[dict[str, str]],
        target: str,
        platform: str | None = None,
    ) -> ContainerState:
        arguments = tuple((each["name"], each["value"]) for each in build_args)
        return await DockerBuild(place, dockerfile, arguments, target).run(self._session)

    def _copy(self, place: Place) -> Path:
        folder = self._session.trees.new_folder()
        copy_into(place.on_disk, folder)
        return folder


class Files:
    """Each method is a field: it takes the evaluated file and the field's arguments."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def contents(
        self, place: Place, offset_lines: int | None = None, limit_lines: int | None = None
    ) -> str:
        text = place.on_disk.read_text(errors="replace")
        if offset_lines is None and limit_lines is None:
            return text
        begin = offset_lines or 0
        end = None if limit_lines is None else begin + limit_lines
        return "".join(text.splitlines(keepends=True)[begin:end])

    async def name(self, place: Place) -> str:
        return Path(place.path).name

    async def size(self, place: Place) -> int:
        return place.on_disk.stat().st_size

    async def digest(self, place: Place, exclude_metadata: bool) -> str:
        return f"sha256:{file_digest(place.on_disk)}"

    async def sync(self, place: Place) -> None:
        """Nothing is left to do once a file has a place."""

    async def with_name(self, place: Place, name: str) -> Place:
        return self._session.trees.ingest_file(place.on_disk, name)

    async def export(self, place: Place, client: Client, path: str, allow_parent_dir_path: bool) -> str:
        return client.write_file(place.on_disk, path, into_folders=allow_parent_dir_path)


def _same(one: Path, other: Path) -> bool:
    if not os.path.lexists(one) or one.is_symlink() != other.is_symlink():
        return False
    if one.is_symlink():
        return os.readlink(one) == os.readlink(other)
    return (
        one.is_file()
        and one.stat().st_mode == other.stat().st_mode
        and file_digest(one) == file_digest(other)
    )
