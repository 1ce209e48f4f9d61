"""Directory.dockerBuild: a Dockerfile built by Buildah, its base images resolved as `from` resolves them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from daggerw_engine.api.calls import key_of
from daggerw_engine.api.secret import Secret
from daggerw_engine.api.state import ContainerState, with_pair
from daggerw_engine.errors import EngineError, ExecError
from daggerw_engine.files.trees import Place
from daggerw_engine.run.process import Completed
from daggerw_engine.store.buildah import option_list, run_inside, store_error, tells_full
from daggerw_engine.store.images import Image

if TYPE_CHECKING:
    from daggerw_engine.api.session import Session

FROM = re.compile(
    r"^(?P<head>\s*FROM\s+(?:--\S+\s+)*)(?P<name>\S+)(?P<tail>(?:\s+AS\s+(?P<alias>\S+))?\s*)$", re.I | re.M
)
ARG = re.compile(r"\s*ARG\s", re.I)
NAME = re.compile(r"(?<=\s)\w+(?==|\s|$)")
ARGUMENT_LABEL = "io.dagger.embedded.arguments"
FAILED_STEP = re.compile(r"building at STEP \"(?P<step>.*?)\": .*?exit status (?P<status>\d+)", re.DOTALL)


@dataclass(frozen=True)
class DockerBuild:
    """What to build: a context, the Dockerfile in it, build arguments, the target stage, and secrets."""

    context: Place
    dockerfile: str
    arguments: tuple[tuple[str, str], ...]
    target: str
    secrets: tuple[Secret, ...] = ()

    async def run(self, session: Session) -> ContainerState:
        """Return the built container; ExecError when a RUN step failed."""
        text = self.context.below(self.dockerfile).on_disk.read_text()
        bases = {name: await session.images.get(name) for name in base_images(text)}
        stand_ins = frozenset(mark for base in bases.values() for mark in base.stand_ins)
        text = with_bases(text, {name: base.image for name, base in bases.items()})
        text = with_arguments(text, dict(self.arguments))
        secrets = [(secret.name, secret.key) for secret in self.secrets]
        key = key_of("build", self.context.key, text, self.arguments, self.target, secrets)
        with session.progress.step(f"build {self.dockerfile}") as step:
            async with session.results.alone(key):
                kept = session.results.get(key)
                image = str(kept["image"]) if kept else ""
                if image and session.store.has(image):
                    step.cached()
                else:
                    image = await self._built(session, text)
                    session.results.put(key, {"image": image})
        return self._state(key, await session.images.described(image, stand_ins))

    def _state(self, key: str, built: Image) -> ContainerState:
        labels = with_pair(built.config.labels, ARGUMENT_LABEL, None)
        return ContainerState(
            content=key,
            image=built.image,
            image_config=built.config,
            config=replace(built.config, labels=labels),
            stand_ins=built.stand_ins,
        )

    async def _built(self, session: Session, text: str) -> str:
        folder = session.trees.new_folder()
        dockerfile = folder / "Dockerfile"
        dockerfile.write_text(text)
        ids = folder / "image"
        options = ["--layers", "--pull-never", "--file", str(dockerfile), "--iidfile", str(ids)]
        options += option_list("--build-arg", dict(self.arguments))
        options += ["--target", self.target] if self.target else []
        options += [item for volume in session.trust.build_volumes() for item in ("--volume", volume)]
        variables = {f"DAGGER_SECRET_{number}": secret for number, secret in enumerate(self.secrets)}
        options += [f"--secret=id={secret.name},env={name}" for name, secret in variables.items()]
        words = session.store.command("build", *options, str(self.context.on_disk))
        environment = {
            **session.store.environment,
            "CONTAINERS_CONF": str(session.resolver()),
            **{name: secret.text for name, secret in variables.items()},
        }
        done = await run_inside((*session.network.prefix, *words), environment)
        if done.status:
            raise self._failure(session.scrubbed(done, self.secrets))
        return ids.read_text().strip().removeprefix("sha256:")

    def _failure(self, done: Completed) -> EngineError:
        if tells_full(done.stderr) or not (failed := FAILED_STEP.search(done.stderr)):
            return store_error("build", done)
        return ExecError((failed["step"],), int(failed["status"]), done.stdout, done.stderr)


def base_images(dockerfile: str) -> list[str]:
    """Return the images that a Dockerfile starts from; neither stages nor `scratch`."""
    stages: set[str] = {"scratch"}
    found: list[str] = []
    for match in FROM.finditer(dockerfile):
        if match["name"].lower() not in stages and match["name"] not in found:
            found.append(match["name"])
        if match["alias"]:
            stages.add(match["alias"].lower())
    return found


def with_bases(dockerfile: str, ids: Mapping[str, str]) -> str:
    """Return the Dockerfile with the store's image ids in place of its base images."""
    return FROM.sub(lambda m: f"{m['head']}{ids.get(m['name'], m['name'])}{m['tail']}", dockerfile)


def with_arguments(dockerfile: str, values: Mapping[str, str]) -> str:
    """Return the Dockerfile with a label behind each ARG of a stage that tells its given value.

    Buildah 1.28 looks for a cached layer by the instructions' texts alone, ARG left out: without the label,
    what was made with another value would be taken. The label is no part of what was built.
    """
    lines, in_stage = [], False
    for line in dockerfile.splitlines():
        lines.append(line)
        in_stage = in_stage or bool(FROM.match(line))
        if in_stage and ARG.match(line):
            given = [[name, values[name]] for name in NAME.findall(line) if name in values]
            lines += [f"LABEL {ARGUMENT_LABEL}={key_of(given)}"] if given else []
    return "\n".join([*lines, ""])
