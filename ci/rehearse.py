"""A whole release with no account and no network: to the stand-in for GitHub and Google, and back from it."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import dagger
from dagger import dag

import reference
import verify
from endpoints import Endpoints
from errors import PipelineError, RehearsalFailed
from identity import Given
from principal import Identity, Provider
from registry import Repository
from rehearsal import addresses, faults
from rehearsal.world import Job, usual_world
from release import REGISTRY_PORT, Allowed, Pipeline, opened, release, tried
from revision import Commit
from steps import Steps
from tokens import Token

FILES = ["ci/*.py", "ci/rehearsal"]
_TICKET = "/run/request-token"


@dataclass(frozen=True)
class Rehearsal:
    """The rehearsal of one version's release, with what shall go wrong in it."""

    tag: str
    faults: Sequence[str]

    def __post_init__(self) -> None:
        """Raise InvalidReference or InvalidFault before anything starts."""
        reference.release_tag(self.tag)
        for fault in self.faults:
            faults.parse(fault)

    async def run(
        self,
        pipeline: Pipeline,
        name: str,
        commit: Commit,
        programs: dagger.Container,
        registry: dagger.Container,
    ) -> str:
        """Return the steps with their times, and in the last line what was released.

        The programs are a container with FILES and what they need. Raises RehearsalFailed with the steps so
        far, or what a container ended with.
        """
        report: list[str] = []
        steps = Steps(report.append)
        try:
            released = await self._released(pipeline, name, commit, steps, programs, registry)
        except PipelineError as error:
            failed = f"rehearsal: {self.tag} would not be released"
            raise RehearsalFailed("\n".join([failed, *report, str(error)])) from error
        return "\n".join([*report, str(released)])

    async def _released(
        self,
        pipeline: Pipeline,
        name: str,
        commit: Commit,
        steps: Steps,
        programs: dagger.Container,
        registry: dagger.Container,
    ) -> reference.Release:
        ticket = Token(secrets.token_urlsafe())
        world = usual_world(ticket.reveal(), Job(ref=f"refs/tags/{self.tag}"))
        target = reference.destination(world.repository.uri, self.tag).image(name)
        stand_in = self._stand_in(programs, registry, ticket)
        with steps.step("start a registry, and a stand-in for GitHub and Google"):
            await stand_in.start()
        try:
            base = await stand_in.endpoint(port=addresses.PORT, scheme="http")
            given = Given(addresses.request_url(base), ticket)
            provider = Provider.of(world.provider.resource)
            elsewhere = Endpoints.of(addresses.endpoints(base, world))
            identity = Identity(provider, world.service_account, given, elsewhere)
            with steps.step("train"):
                await pipeline.train().sync()
            allowed = Allowed(stand_in=True, dirty=True)
            released = await release(pipeline, target, commit, identity, steps, allowed)
            async with opened(pipeline, target, identity) as repository:
                await _returned(repository, released, steps)
            return released
        finally:
            await stand_in.stop()

    def _stand_in(
        self, programs: dagger.Container, registry: dagger.Container, ticket: Token
    ) -> dagger.Service:
        """Return the stand-in in front of a registry that has nothing yet, however often this is run."""
        fresh = registry.with_env_variable("REHEARSAL", secrets.token_hex()).as_service(use_entrypoint=True)
        command = ["python", "-m", "rehearsal", "--registry-url", f"http://registry:{REGISTRY_PORT}"]
        command += ["--request-token-file", _TICKET, "--tag", self.tag]
        command += [word for fault in self.faults for word in ("--fault", fault)]
        return (
            programs.with_env_variable("PYTHONPATH", "ci")
            .with_service_binding("registry", fresh)
            .with_mounted_secret(_TICKET, dag.set_secret("request-token", ticket.reveal()))
            .with_exposed_port(addresses.PORT)
            .as_service(args=command)
        )


async def _returned(repository: Repository, released: reference.Release, steps: Steps) -> None:
    """Pull what was released by its digest, hold it against all that is said of it, run it and ask it."""
    with steps.step(f"pull and verify {released.digest}"):
        await verify.verified(repository, released)
    files = dag.current_module().workdir(".", include=[str(verify.ARCHIVE)])
    image = dag.container().import_(files.file(str(verify.ARCHIVE)))
    with steps.step("run it and call /predict"):
        await tried(image, released.image.tag)
