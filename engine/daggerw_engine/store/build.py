"""Directory.dockerBuild: build of a Dockerfile by Buildah, with base images resolved as by `from`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from daggerw_engine.errors import EngineError, ExecError
from daggerw_engine.files.trees import Place
from daggerw_engine.isolation import buildah_runtime, cgroups, crun
from daggerw_engine.keys import key_of
from daggerw_engine.process import Completed, Hear
from daggerw_engine.progress import Progress
from daggerw_engine.scrub import scrub_output
from daggerw_engine.store.buildah import is_disk_full, option_list, run_inside, store_error
from daggerw_engine.store.cache import Cache
from daggerw_engine.store.images import Image, Images
from daggerw_engine.values.config import with_pair
from daggerw_engine.values.container import ContainerState
from daggerw_engine.values.secret import Secret

FROM = re.compile(
    r"^(?P<head>\s*FROM\s+(?:--\S+\s+)*)(?P<name>\S+)(?P<tail>(?:\s+AS\s+(?P<alias>\S+))?\s*)$", re.I | re.M
)
ARG = re.compile(r"\s*ARG\s", re.I)
NAME = re.compile(r"(?<=\s)\w+(?==|\s|$)")
ARGUMENT_LABEL = "io.dagger.embedded.arguments"
FAILED_STEP = re.compile(r"building at STEP \"(?P<step>.*?)\": .*?exit status (?P<status>\d+)", re.DOTALL)


@dataclass(frozen=True)
class DockerBuild:
    """Inputs of a build: a context, the Dockerfile in it, build arguments, the target stage, and secrets."""

    context: Place
    dockerfile: str
    arguments: tuple[tuple[str, str], ...]
    target: str
    secrets: tuple[Secret, ...] = ()


class Builder:
    """Builder of Dockerfiles, each once.

    `network` yields the command prefix for a host on the session's network; `name_server` is that network's,
    and RUN steps can use the `volumes`.
    """

    def __init__(
        self,
        cache: Cache,
        images: Images,
        progress: Progress,
        *,
        network: Callable[[], AbstractAsyncContextManager[Sequence[str]]],
        name_server: str,
        volumes: Sequence[str],
    ) -> None:
        self._cache, self._images, self._progress = cache, images, progress
        self._network, self._name_server, self._volumes = network, name_server, volumes

    async def build(self, wanted: DockerBuild) -> ContainerState:
        """Return the built container; ExecError when a RUN step failed."""
        text = wanted.context.below(wanted.dockerfile).on_disk.read_text()
        names = base_images(text)
        bases = dict(zip(names, await asyncio.gather(*map(self._images.get, names)), strict=True))
        stand_ins = frozenset(mark for base in bases.values() for mark in base.stand_ins)
        text = with_bases(text, {name: base.image for name, base in bases.items()})
        text = with_arguments(text, dict(wanted.arguments))
        secrets = [(secret.name, secret.key) for secret in wanted.secrets]
        key = key_of("build", wanted.context.key, text, wanted.arguments, wanted.target, secrets)
        with self._progress.step(_title(wanted), "queued") as step:
            async with self._cache.results.alone(key):
                kept = self._cache.results.get(key)
                image = str(kept["image"]) if kept else ""
                if image and self._cache.store.has(image):
                    step.mark_cached()
                else:
                    step.mark_running()
                    image = await self._build(wanted, text, step.hear)
                    self._cache.results.put(key, {"image": image})
        return _state(key, await self._images.describe(image, stand_ins))

    async def _build(self, wanted: DockerBuild, text: str, hear: Hear) -> str:
        folder = self._cache.trees.new_folder()
        dockerfile = folder / "Dockerfile"
        dockerfile.write_text(text)
        ids = folder / "image"
        options = ["--layers", "--pull-never", "--file", str(dockerfile), "--iidfile", str(ids)]
        options += option_list("--build-arg", dict(wanted.arguments))
        options += ["--target", wanted.target] if wanted.target else []
        options += [item for volume in self._volumes for item in ("--volume", volume)]
        variables = {f"DAGGER_SECRET_{number}": secret for number, secret in enumerate(wanted.secrets)}
        options += [f"--secret=id={secret.name},env={name}" for name, secret in variables.items()]
        environment = {
            **self._cache.store.environment,
            "CONTAINERS_CONF": str(self._resolver()),
            **{name: secret.text for name, secret in variables.items()},
        }
        with cgroups.limit_container() as limits:
            shown = [folder / f"limits{number}" for number, _ in enumerate(limits.groups)]
            options += _isolation(folder, shown, limits.processes)
            words = self._cache.store.command("build", *options, str(wanted.context.on_disk))
            entering = crun.runtime_prefix(limits.groups, shown)
            async with self._network() as prefix:
                done = await run_inside((*prefix, *entering, *words), environment, hear=hear)
        if done.status:
            raise _failure(scrub_output(done, (secret.text for secret in wanted.secrets)))
        return ids.read_text().strip().removeprefix("sha256:")

    def _resolver(self) -> Path:
        """Return a Buildah configuration for the resolution of public names in Dockerfiles."""
        text = f'[containers]\ndns_servers = ["{self._name_server}"]\n'
        return self._cache.trees.write_file("containers.conf", text, 0o644).on_disk


def _title(wanted: DockerBuild) -> str:
    return " ".join(["build", wanted.dockerfile, *([f"target {wanted.target}"] if wanted.target else [])])


def _isolation(folder: Path, limits: Sequence[Path], processes: int) -> list[str]:
    """Return the options that isolate RUN steps as all commands are isolated.

    The runtime is in `folder`, and finds its cgroups at `limits`.
    """
    runtime = folder / "runtime"
    for place in limits:
        place.mkdir()
    runtime.write_text(buildah_runtime.script(folder / "state", limits, processes=processes))
    runtime.chmod(0o700)
    return ["--isolation=oci", f"--runtime={runtime}", "--network=host"]  # the host's is the session's there


def _state(key: str, built: Image) -> ContainerState:
    labels = with_pair(built.config.labels, ARGUMENT_LABEL, None)
    return ContainerState(
        content=key,
        image=built.image,
        image_config=built.config,
        config=replace(built.config, labels=labels),
        stand_ins=built.stand_ins,
    )


def _failure(done: Completed) -> EngineError:
    if is_disk_full(done.stderr) or not (failed := FAILED_STEP.search(done.stderr)):
        return store_error("build", done)
    return ExecError((failed["step"],), int(failed["status"]), done.stdout, done.stderr)


def base_images(dockerfile: str) -> list[str]:
    """Return the base images of a Dockerfile, without stages and `scratch`."""
    stages: set[str] = {"scratch"}
    found: list[str] = []
    for match in FROM.finditer(dockerfile):
        if match["name"].lower() not in stages and match["name"] not in found:
            found.append(match["name"])
        if match["alias"]:
            stages.add(match["alias"].lower())
    return found


def with_bases(dockerfile: str, ids: Mapping[str, str]) -> str:
    """Return the Dockerfile with its base images replaced by the store's image ids."""
    return FROM.sub(lambda m: f"{m['head']}{ids.get(m['name'], m['name'])}{m['tail']}", dockerfile)


def with_arguments(dockerfile: str, values: Mapping[str, str]) -> str:
    """Return the Dockerfile with a label after each ARG of a stage, with the ARG's given value.

    Buildah 1.28 finds a cached layer by the instructions' texts alone, without ARG: without the label it
    would reuse a layer built with another value. The label is not part of the result.
    """
    lines, in_stage = [], False
    for line in dockerfile.splitlines():
        lines.append(line)
        in_stage = in_stage or bool(FROM.match(line))
        if in_stage and ARG.match(line):
            given = [[name, values[name]] for name in NAME.findall(line) if name in values]
            lines += [f"LABEL {ARGUMENT_LABEL}={key_of(given)}"] if given else []
    return "\n".join([*lines, ""])
