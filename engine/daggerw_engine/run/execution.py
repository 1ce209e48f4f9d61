"""Evaluation of containers: commands run, changes kept as layers, files taken out, images packed.

Every step has a key over all that goes into it. A key that is known gives what was kept; otherwise the step
runs once, alone among all sessions, and what it gave is kept under its key. Failures are not kept.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daggerw_engine.api.calls import key_of
from daggerw_engine.api.state import STAND_IN_LABEL, Config, ContainerState, Mount, Outcome
from daggerw_engine.errors import ExecError, StoreError
from daggerw_engine.files.changes import apply, copy_layer
from daggerw_engine.files.paths import check_kind, existing
from daggerw_engine.files.trees import Place
from daggerw_engine.run import sandbox
from daggerw_engine.run.layers import MOST_LAYERS, Upper
from daggerw_engine.run.mounts import Mounts
from daggerw_engine.run.network import NAME_SERVER
from daggerw_engine.store.buildah import option_list, tells_full

if TYPE_CHECKING:
    from daggerw_engine.api.session import Session


class Executor:
    """Runs what a container's evaluation needs, on one session's cache."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._turns = asyncio.Semaphore(os.cpu_count() or 1)

    async def committed(self, state: ContainerState) -> ContainerState:
        """Return the container with its changes in a layer, and no more layers than overlayfs takes."""
        if not state.changes:
            return await self._flattened(state)
        key, layers = state.rootfs_key, self._session.layers

        async def change(upper: Upper) -> None:
            async with layers.mounted(layers.lower(state), upper) as root:
                await asyncio.to_thread(apply, state.changes, root)

        await self._made(key, {"layers": [*state.layers, key], "image": state.image}, change)
        return await self._flattened(state.with_layer(key))

    async def _flattened(self, state: ContainerState) -> ContainerState:
        """Return a container of very many layers with one in the place of all."""
        if len(state.layers) < MOST_LAYERS:
            return state
        key, layers = key_of("flat", state.content), self._session.layers

        async def copy(upper: Upper) -> None:
            async with layers.mounted(layers.lower(state)) as root:
                await asyncio.to_thread(copy_layer, root, upper.changed)

        await self._made(key, {"layers": [key]}, copy)
        return replace(state, image=None, image_config=Config(), layers=(key,))

    async def _made(
        self, key: str, result: dict[str, object], fill: Callable[[Upper], Awaitable[None]]
    ) -> None:
        """Let `fill` make the layer `key`, unless it is kept with its result."""
        async with self._session.results.alone(key):
            if self._session.results.get(key) is None or not self._session.layers.has(key):
                async with self._session.layers.fresh() as upper:
                    await fill(upper)
                    self._session.layers.keep(key, upper)
                self._session.results.put(key, result)

    async def execute(
        self, state: ContainerState, command: Sequence[str], *, stdin: str, expect: str
    ) -> ContainerState:
        """Return the container after `command`; ExecError when its status isn't the expected one."""
        state = await self.committed(state)
        key = key_of("exec", state.content, state.surroundings, command, stdin, expect)
        with self._session.progress.step(f"exec {' '.join(command)}") as step:
            async with self._session.results.alone(key):
                done = self._kept(key, state)
                if done:
                    step.cached()
                    return done
                return await self._run(key, state, command, stdin, expect)

    def _kept(self, key: str, state: ContainerState) -> ContainerState | None:
        kept = self._session.results.get(key)
        if not kept or not self._session.layers.has(key):
            return None
        places = [self._session.trees.get(digest) for digest in kept["mounts"]]  # type: ignore[attr-defined]
        if not all(places):
            return None
        outcome = Outcome(**kept["outcome"])  # type: ignore[arg-type]
        return _after(key, state, outcome, [place for place in places if place])

    async def _run(
        self, key: str, state: ContainerState, command: Sequence[str], stdin: str, expect: str
    ) -> ContainerState:
        async with AsyncExitStack() as stack:
            for _, service in state.bindings:
                await stack.enter_async_context(self._session.services.used(service))
            await stack.enter_async_context(self._turns)
            upper, mounts, spec = await stack.enter_async_context(self.prepared(state))
            started = await sandbox.start(command, spec, reads=bool(stdin))
            done = self._session.scrubbed(await started.ended(stdin), state.secrets)
            outcome = Outcome(done.status, done.stdout, done.stderr, done.combined)
            _expect(outcome, command, expect)
            places = await mounts.left()
            self._session.layers.keep(key, upper)
        kept = {"outcome": vars(outcome), "mounts": [place.digest for place in places]}
        self._session.results.put(key, {**kept, "layers": [*state.layers, key], "image": state.image})
        return _after(key, state, outcome, places)

    @asynccontextmanager
    async def prepared(
        self, state: ContainerState, namespace: str | None = None
    ) -> AsyncIterator[tuple[Upper, Mounts, dict[str, Any]]]:
        """Yield where a command's changes go, its mounts, and what the runner is told."""
        state, layers = await self.committed(state), self._session.layers
        async with layers.fresh() as upper, Mounts.of(state, self._session, upper) as mounts:
            for name in ("root", "memory"):
                (upper.folder / name).mkdir()
            spec = {
                "network": namespace or self._session.network.namespace,
                "cache": str(layers.cache),
                "root": str(upper.folder / "root"),
                "memory": str(upper.folder / "memory"),
                "overlay": layers.options(layers.lower(state), upper),
                "mounts": [*self._names(state), *mounts.specification],
                "trust": self._session.trust.specification,
                "workdir": state.config.workdir or "/",
                "user": state.config.user,
                "env": {**state.env, **{name: secret.text for name, secret in state.secret_env}},
            }
            yield upper, mounts, spec

    def _names(self, state: ContainerState) -> list[dict[str, object]]:
        """Return the files from which a container's commands resolve names."""
        hosts = ["127.0.0.1 localhost"]
        for alias, service in state.bindings:
            hosts.append(f"{self._session.services.address(service)} {alias}")
        texts = {"/etc/hosts": "\n".join([*hosts, ""]), "/etc/resolv.conf": f"nameserver {NAME_SERVER}\n"}
        return [{"target": path, "text": text, "mode": 0o644} for path, text in texts.items()]

    async def extract(self, state: ContainerState, path: str, *, directory: bool) -> Place:
        """Return the folder or file at `path` in the container; PathError when there is none."""
        if mount := state.mount_at(path):
            below = path[len(mount.path) :].strip("/")
            found = mount.place.below(below) if below else mount.place
            check_kind(found.on_disk, path, directory=directory)
            return found
        state = await self.committed(state)
        key = key_of("extract", state.content, path)
        if (kept := self._session.results.get(key)) and (tree := self._session.trees.get(str(kept["tree"]))):
            return tree if directory else tree.below(Path(path).name)
        async with self._session.layers.mounted(self._session.layers.lower(state)) as root:
            tree = await asyncio.to_thread(self._taken, root, path, directory=directory)
        self._session.results.put(key, {"tree": tree.digest})
        return tree

    def _taken(self, root: Path, path: str, *, directory: bool) -> Place:
        found, trees = existing(root, path), self._session.trees
        check_kind(found, path, directory=directory)
        return trees.ingest(found) if directory else trees.ingest_file(found, Path(path).name)

    def labels(self, state: ContainerState) -> tuple[tuple[str, str], ...]:
        """Return the container's labels, with the mark of the stand-in images that it came from."""
        marks = ((STAND_IN_LABEL, " ".join(sorted(state.stand_ins))),) if state.stand_ins else ()
        return (*state.config.labels, *marks)

    async def tarball(self, state: ContainerState, *, compress: bool) -> Place:
        """Return the image as an OCI layout in a tar archive, `image.tar`."""
        labels = self.labels(state)
        key = key_of("archive", state.rootfs_key, state.config, labels, compress)
        async with self._session.results.alone(key):
            if (kept := self._session.results.get(key)) and (
                tree := self._session.trees.get(str(kept["tree"]))
            ):
                return tree.below("image.tar")
            with self._session.progress.step("pack image"):
                tree = await self._packed(await self.committed(state), labels, compress)
            self._session.results.put(key, {"tree": tree.digest})
        return tree.below("image.tar")

    async def _packed(
        self, state: ContainerState, labels: Iterable[tuple[str, str]], compress: bool
    ) -> Place:
        folder = self._session.trees.new_folder()
        async with self._session.store.working(await self._imaged(state)) as working:
            await working.configure(_options(state, labels))
            await working.pack(folder / "image.tar", compress=compress)
        return self._session.trees.adopt(folder)

    async def _imaged(self, state: ContainerState) -> str | None:
        """Return the image in Buildah's store with the container's file system, made layer by layer."""
        image, store = state.image, self._session.store
        for layer in state.layers:
            key = key_of("image of layer", image, layer)
            kept = self._session.results.get(key)
            if not kept or not store.has(str(kept["image"])):
                async with store.working(image) as working:
                    await asyncio.to_thread(
                        copy_layer, self._session.layers.path(layer), store.changed(working.name)
                    )
                    kept = {"image": await working.commit()}
                self._session.results.put(key, kept)
            image = str(kept["image"])
        return image


def _expect(outcome: Outcome, command: Sequence[str], expect: str) -> None:
    """Raise ExecError when a command has not ended as expected; StoreError when the disk is full.

    A command that a signal ended is never expected, as in Dagger.
    """
    succeeded, killed = outcome.exit_code == 0, 128 <= outcome.exit_code < 192
    if not killed and (expect == "ANY" or succeeded == (expect == "SUCCESS")):
        return
    if tells_full(outcome.stderr):
        raise StoreError.full(f"exec {' '.join(command)}")
    raise ExecError(tuple(command), outcome.exit_code, outcome.stdout, outcome.stderr)


def _after(key: str, state: ContainerState, outcome: Outcome, places: Iterable[Place]) -> ContainerState:
    """Return the container after a command, with what it left of its writable mounts."""
    left = iter(places)
    mounts = tuple(replace(m, source=_left(m, next(left))) if m.is_kept else m for m in state.mounts)
    return replace(state.with_layer(key), outcome=outcome, mounts=mounts)


def _left(mount: Mount, tree: Place) -> Place:
    assert isinstance(mount.source, Place)
    before = mount.source.on_disk
    return tree if before.is_dir() else tree.below(before.name)


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
