"""Evaluation of containers: execution of commands, and extraction of files.

Every step has a key over all its inputs. A known key returns the stored result; otherwise the step runs in
one session only, which stores the result under the key. Failures are not stored.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

from daggerw_engine.errors import ExecError, StoreError
from daggerw_engine.files.paths import check_kind, find_existing
from daggerw_engine.files.trees import Place
from daggerw_engine.keys import key_of
from daggerw_engine.progress import Progress
from daggerw_engine.run.network import Network
from daggerw_engine.run.preparation import Preparer
from daggerw_engine.run.services import Services
from daggerw_engine.scrub import scrub_output
from daggerw_engine.step import Step
from daggerw_engine.store.buildah import is_disk_full
from daggerw_engine.store.cache import Cache
from daggerw_engine.store.commits import Committer
from daggerw_engine.values.container import ContainerState, Outcome
from daggerw_engine.values.mounts import Mount


class Executor:
    """Executor of a container's steps, on one session's cache."""

    def __init__(
        self,
        cache: Cache,
        committer: Committer,
        preparer: Preparer,
        services: Services,
        network: Network,
        progress: Progress,
    ) -> None:
        self._cache, self._committer, self._preparer = cache, committer, preparer
        self._services, self._network, self._progress = services, network, progress
        self._turns = asyncio.Semaphore(os.cpu_count() or 1)

    async def execute(
        self, state: ContainerState, command: Sequence[str], *, stdin: str, expect: str
    ) -> ContainerState:
        """Return the container after `command`; ExecError when its status isn't the expected one."""
        state = await self._committer.commit(state)
        key = key_of("exec", state.content, state.surroundings, command, stdin, expect)
        with self._progress.step(f"exec {' '.join(command)}", "queued") as step:
            async with self._cache.results.alone(key):
                done = self._look_up(key, state)
                if done:
                    step.mark_cached()
                    return done
                return await self._run(key, state, command, stdin, expect, step)

    def _look_up(self, key: str, state: ContainerState) -> ContainerState | None:
        kept = self._cache.results.get(key)
        if not kept or not self._cache.layers.has(key):
            return None
        places = [self._cache.trees.get(digest) for digest in kept["mounts"]]  # type: ignore[attr-defined]
        if not all(places):
            return None
        outcome = Outcome(**kept["outcome"])  # type: ignore[arg-type]
        return _after(key, state, outcome, [place for place in places if place])

    async def _run(
        self, key: str, state: ContainerState, command: Sequence[str], stdin: str, expect: str, step: Step
    ) -> ContainerState:
        async with AsyncExitStack() as stack:
            bound = [await stack.enter_async_context(self._services.use(each)) for _, each in state.bindings]
            await stack.enter_async_context(self._turns)
            step.mark_running()
            peer = await stack.enter_async_context(self._network.command(bound))
            prepared = await stack.enter_async_context(self._preparer.prepare(state))
            async with prepared.start(command, peer.namespace, reads=bool(stdin)) as started:
                ended = await started.wait_until_done(stdin, step.hear)
            done = scrub_output(ended, (secret.text for secret in state.secrets))
            outcome = Outcome(done.status, done.stdout, done.stderr, done.combined)
            _expect(outcome, command, expect)
            places = await prepared.mounts.changed_contents()
            self._cache.layers.keep(key, prepared.mounts.upper)
        kept = {"outcome": vars(outcome), "mounts": [place.digest for place in places]}
        self._cache.results.put(key, {**kept, "layers": [*state.layers, key], "image": state.image})
        return _after(key, state, outcome, places)

    async def extract(self, state: ContainerState, path: str, *, directory: bool) -> Place:
        """Return the folder or file at `path` in the container; PathError when there is none."""
        if mount := state.mount_at(path):
            below = path[len(mount.path) :].strip("/")
            found = mount.place.below(below) if below else mount.place
            check_kind(found.on_disk, path, directory=directory)
            return found
        state = await self._committer.commit(state)
        key = key_of("extract", state.content, path)
        if (kept := self._cache.results.get(key)) and (tree := self._cache.trees.get(str(kept["tree"]))):
            return tree if directory else tree.below(Path(path).name)
        async with self._cache.layers.mount_layers(self._cache.layers.lower(state)) as root:
            tree = await asyncio.to_thread(self._take, root, path, directory=directory)
        self._cache.results.put(key, {"tree": tree.digest})
        return tree

    def _take(self, root: Path, path: str, *, directory: bool) -> Place:
        found, trees = find_existing(root, path), self._cache.trees
        check_kind(found, path, directory=directory)
        return trees.ingest(found) if directory else trees.ingest_file(found, Path(path).name)


def _expect(outcome: Outcome, command: Sequence[str], expect: str) -> None:
    """Raise ExecError when a command's status is not the expected one; StoreError for a full disk.

    As in Dagger, the end by a signal is never expected.
    """
    succeeded, killed = outcome.exit_code == 0, 128 <= outcome.exit_code < 192
    if not killed and (expect == "ANY" or succeeded == (expect == "SUCCESS")):
        return
    if is_disk_full(outcome.stderr):
        raise StoreError.full(f"exec {' '.join(command)}")
    raise ExecError(tuple(command), outcome.exit_code, outcome.stdout, outcome.stderr)


def _after(key: str, state: ContainerState, outcome: Outcome, places: Iterable[Place]) -> ContainerState:
    """Return the container after a command, with the changed writable mounts."""
    left = iter(places)
    mounts = tuple(replace(m, source=_source_after(m, next(left))) if m.is_kept else m for m in state.mounts)
    return replace(state.with_layer(key), outcome=outcome, mounts=mounts)


def _source_after(mount: Mount, tree: Place) -> Place:
    assert isinstance(mount.source, Place)
    before = mount.source.on_disk
    return tree if before.is_dir() else tree.below(before.name)
