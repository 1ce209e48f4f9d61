"""Evaluation of containers: commands run, changes committed, files taken out, images packed and built.

Every step has a key over all that goes into it. A key that is known gives what was kept; otherwise the step
runs once, alone among all sessions, and what it gave is kept under its key. Failures are not kept.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from engine.calls import key_of
from engine.changes import apply, copy_owned
from engine.errors import EngineError, ExecError, StoreError
from engine.paths import existing, resolve_in
from engine.process import Completed
from engine.state import STAND_IN_LABEL, ContainerState, Mount, Outcome
from engine.store import Working, option_list, run_inside, tells_full
from engine.trees import Place

if TYPE_CHECKING:
    from engine.session import Session

# What `buildah run` itself adds to the command's standard error.
TRAILER = re.compile(r"(?:subprocess exited with status \d+\n)+(?:Error: exit status \d+\n)?$")
NOT_STARTED = re.compile(r"process failed to start with error: (.*?)(?:process exited|$)", re.DOTALL)


class Executor:
    """Runs what a container's evaluation needs, on one session's store."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._turns = asyncio.Semaphore(os.cpu_count() or 1)

    async def committed(self, state: ContainerState) -> ContainerState:
        """Return the container with its changes in an image; nothing to do when there are none."""
        if not state.changes:
            return state
        key = state.rootfs_key
        async with self._session.results.alone(key):
            if (image := self._kept_image(key)) is None:
                async with self._session.store.working(state.image) as working:
                    apply(state.changes, await working.mount())
                    image = await working.commit()
                self._session.results.put(key, {"image": image})
        return state.committed(image, key)

    def _kept_image(self, key: str) -> str | None:
        kept = self._session.results.get(key)
        image = str(kept["image"]) if kept else ""
        return image if image and self._session.store.has(image) else None

    async def execute(
        self, state: ContainerState, command: Sequence[str], *, stdin: str, expect: str
    ) -> ContainerState:
        """Return the container after `command`; ExecError when its status isn't the expected one."""
        services = [await self._session.service_key(call) for _, call in state.bindings]
        names = [alias for alias, _ in state.bindings]
        how = [state.config.env, state.config.workdir, state.config.user, list(state.mounts), names, services]
        key = key_of("exec", state.rootfs_key, how, list(command), stdin, expect)
        with self._session.progress.step(f"exec {' '.join(command)}") as step:
            async with self._session.results.alone(key):
                done = self._kept(key, state)
                if done:
                    step.cached()
                    return done
                return await self._run(key, state, command, stdin, expect)

    def _kept(self, key: str, state: ContainerState) -> ContainerState | None:
        kept = self._session.results.get(key)
        if not kept or not self._session.store.has(str(kept["image"])):
            return None
        mounts = [self._session.trees.get(digest) for digest in kept["mounts"]]  # type: ignore[attr-defined]
        if not all(mounts):
            return None
        outcome = Outcome(**kept["outcome"])  # type: ignore[arg-type]
        return self._after(key, state, str(kept["image"]), outcome, [place for place in mounts if place])

    def _after(
        self, key: str, state: ContainerState, image: str, outcome: Outcome, trees: list[Place]
    ) -> ContainerState:
        left = iter(trees)
        mounts = tuple(_left(m, next(left)) if _writable(m) else m for m in state.mounts)
        return replace(state.committed(image, key), outcome=outcome, mounts=mounts)

    async def _run(
        self, key: str, state: ContainerState, command: Sequence[str], stdin: str, expect: str
    ) -> ContainerState:
        async with AsyncExitStack() as stack:
            for _, call in state.bindings:
                await stack.enter_async_context(
                    self._session.services.used(await self._session.evaluate(call))
                )
            await stack.enter_async_context(self._turns)
            working = await stack.enter_async_context(self._session.store.working(state.image))
            folders, outcome = await self.run_in(working, state, command, stdin)
            ended_well = outcome.exit_code == 0
            if expect != "ANY" and ended_well != (expect == "SUCCESS"):
                if tells_full(outcome.stderr):
                    raise StoreError.full(f"exec {' '.join(command)}")
                raise ExecError(tuple(command), outcome.exit_code, outcome.stdout, outcome.stderr)
            trees = [self._session.trees.ingest(folder, owned=True) for folder in folders]
            image = await working.commit()
        digests = [tree.digest for tree in trees]
        self._session.results.put(key, {"image": image, "outcome": vars(outcome), "mounts": digests})
        return self._after(key, state, image, outcome, trees)

    async def run_in(
        self, working: Working, state: ContainerState, command: Sequence[str], stdin: str = ""
    ) -> tuple[list[Path], Outcome]:
        """Run a command in a working container; returns its writable mounts' folders, and how it ended."""
        arguments, folders = await self.prepared(working, state)
        words = (*self._session.network.prefix, *arguments, "--", working.name, *command)
        done = await run_inside(words, await self.environment(state), stdin)
        return folders, _outcome(command, done)

    async def prepared(self, working: Working, state: ContainerState) -> tuple[list[str], list[Path]]:
        """Return the words that run a command in `working` as the container says, and its mounts' folders."""
        root = await working.mount()
        apply(state.changes, root)
        workdir = state.config.workdir or "/"
        resolve_in(root, workdir).mkdir(parents=True, exist_ok=True)
        dropped = set(dict(state.image_config.env)) - set(state.env)
        await working.configure([item for name in sorted(dropped) for item in ("--env", f"{name}-")])
        folders, volumes = self._mounts(state)
        options = option_list("--env", {**self._session.trust.environment(root), **state.env})
        options += ["--workingdir", workdir, "--user", state.config.user or "0"]
        options += [
            item for volume in (*volumes, *self._session.trust.volumes(root)) for item in ("--volume", volume)
        ]
        words = self._session.store.command("run", "--add-history=false", *options)
        return list(words), folders

    async def environment(self, state: ContainerState) -> dict[str, str]:
        """Return Buildah's own environment, with the names that this container's commands can resolve."""
        names = {
            alias: self._session.services.address(await self._session.evaluate(call))
            for alias, call in state.bindings
        }
        return {**self._session.store.environment, "CONTAINERS_CONF": str(self._session.resolver(names))}

    def _mounts(self, state: ContainerState) -> tuple[list[Path], list[str]]:
        folders: list[Path] = []
        volumes: list[str] = []
        for mount in state.mounts:
            if isinstance(mount.source, str):
                volumes.append(f"{self._session.volume(mount.source)}:{mount.path}")
                continue
            folder = self._session.trees.new_folder()
            inside = copy_owned(mount.source, folder, mount.owner)
            volumes.append(f"{inside}:{mount.path}" + (":ro" if mount.read_only else ""))
            if _writable(mount):
                folders.append(folder)
        return folders, volumes

    async def extract(self, state: ContainerState, path: str, *, directory: bool) -> Place:
        """Return the folder or file at `path` in the container; PathError when there is none."""
        if mounted := _mounted_at(state.mounts, path):
            mount, below = mounted
            if isinstance(mount.source, str):
                raise EngineError(f"{path}: a cache volume's content can't be taken out")
            return mount.source.below(below) if below else mount.source
        key = key_of("extract", state.rootfs_key, path)
        if (kept := self._session.results.get(key)) and (tree := self._session.trees.get(str(kept["tree"]))):
            return tree if directory else tree.below(Path(path).name)
        state = await self.committed(state)
        async with self._session.store.working(state.image) as working:
            tree = self._taken(await working.mount(), path, directory=directory)
        self._session.results.put(key, {"tree": tree.digest})
        return tree

    def _taken(self, root: Path, path: str, *, directory: bool) -> Place:
        found = existing(root, path)
        trees = self._session.trees
        return trees.ingest(found, owned=True) if directory else trees.ingest_file(found, Path(path).name)

    def labels(self, state: ContainerState) -> tuple[tuple[str, str], ...]:
        """Return the container's labels, with the mark of the stand-in images that it came from."""
        marks = ((STAND_IN_LABEL, " ".join(sorted(state.stand_ins))),) if state.stand_ins else ()
        return (*state.config.labels, *marks)

    async def tarball(self, state: ContainerState, *, compress: bool) -> Place:
        """Return the image as an OCI layout in a tar archive, `image.tar`."""
        labels = self.labels(state)
        key = key_of("tarball", state.rootfs_key, state.config, labels, compress)
        async with self._session.results.alone(key):
            if (kept := self._session.results.get(key)) and (
                tree := self._session.trees.get(str(kept["tree"]))
            ):
                return tree.below("image.tar")
            with self._session.progress.step("pack image"):
                tree = await self._packed(state, labels, compress)
            self._session.results.put(key, {"tree": tree.digest})
        return tree.below("image.tar")

    async def _packed(
        self, state: ContainerState, labels: Iterable[tuple[str, str]], compress: bool
    ) -> Place:
        folder = self._session.trees.new_folder()
        async with self._session.store.working(state.image) as working:
            if state.changes:
                apply(state.changes, await working.mount())
            await working.configure(_options(state, labels))
            image = await working.commit("--format", "oci")
        how = () if compress else ("--disable-compression",)
        await self._session.store.run("push", "--quiet", *how, image, f"oci-archive:{folder / 'image.tar'}")
        return self._session.trees.adopt(folder)


def _options(state: ContainerState, labels: Iterable[tuple[str, str]]) -> list[str]:
    before, now = state.image_config, state.config
    gone = [f"{name}-" for name in dict(before.env) if name not in state.env]
    options = option_list("--env", state.env) + [item for name in gone for item in ("--env", name)]
    options += [
        item
        for name in dict(before.labels)
        if name not in dict(now.labels)
        for item in ("--label", f"{name}-")
    ]
    options += option_list("--label", dict(labels))
    ports = {port.text for port in now.ports}
    options += [item for p in before.ports if p.text not in ports for item in ("--port", f"{p.text}-")]
    options += [item for text in sorted(ports) for item in ("--port", text)]
    options += ["--user", now.user, "--workingdir", now.workdir or "/"]
    entrypoint = json.dumps(list(now.entrypoint)) if now.entrypoint else ""
    return [*options, "--entrypoint", entrypoint, "--cmd", shlex.join(now.args)]


def _left(mount: Mount, tree: Place) -> Mount:
    """Return a mount with what a command left of it, which `tree` holds as `copy_owned` laid it out."""
    assert isinstance(mount.source, Place)
    before = mount.source.on_disk
    return replace(mount, source=tree if before.is_dir() else tree.below(before.name))


def _writable(mount: Mount) -> bool:
    return isinstance(mount.source, Place) and not mount.read_only


def _mounted_at(mounts: Iterable[Mount], path: str) -> tuple[Mount, str] | None:
    for mount in sorted(mounts, key=lambda m: len(m.path), reverse=True):
        if path == mount.path or path.startswith(mount.path.rstrip("/") + "/"):
            return mount, path[len(mount.path) :].strip("/")
    return None


def _outcome(command: Sequence[str], done: Completed) -> Outcome:
    if not_started := NOT_STARTED.search(done.stderr):
        raise ExecError(tuple(command), 127, done.stdout, f"{command[0]}: {not_started[1].strip()}")
    return Outcome(done.status, done.stdout, TRAILER.sub("", done.stderr), TRAILER.sub("", done.combined))
