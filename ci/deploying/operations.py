"""Deploy, promote, roll back, and tell: the operations on environments, whatever runs them."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

from deploying.alerts import Alerts, Place
from deploying.environments import FILE, Environment, Environments
from deploying.release_evidence import golden, version
from deploying.rollout.deployment import Deployment
from deploying.rollout.journal_report import report
from deploying.rollout.judge import Judge
from deploying.rollout.target import Seen, Target
from deploying.target_connections import Reach
from errors import InvalidEnvironment, InvalidReference, NothingToRestore, PipelineError, TargetError
from keyless.federation import Federation
from keyless.google_identity import Identity
from net.retry_policy import Retrying, patient
from net.step_log import Steps
from oci.reference import VERSION, Image, Release, destination, pinned, project_name, tagged
from oci.repository import Repository
from releasing import smoke
from releasing.publishing import Pipeline, opened

_MARGIN = 600  # seconds that a step may take besides being watched


@dataclass(frozen=True)
class Operations:
    """All that is done to environments: by their targets, and with what the pipeline's registries have."""

    pipeline: Pipeline
    reach: Reach
    steps: Steps

    async def deploy(self, name: str, image: str) -> str:
        """Bring an image to all of an environment's traffic and return what is live.

        A version alone is one of the environment's registry.
        """
        environment = await self._environment(name)
        if VERSION.fullmatch(image):
            image = str(await self._published(image, environment))
        async with self.reach.opened(environment) as (target, client):
            release = await self._resolved(image)
            await self._deploy(environment, target, client, release)
            return f"live: {(await target.look()).live}"

    async def promote(self, origin: str, name: str) -> str:
        """Bring what runs well in one environment to another and return what is live there."""
        first, second = await self._environment(origin), await self._environment(name)
        async with self.reach.opened(first) as (target, _):
            release = healthy(await target.look(), target.name)
        release = await self._copied(release, second)
        async with self.reach.opened(second) as (target, client):
            await self._deploy(second, target, client, release)
            return f"live: {(await target.look()).live}"

    async def rollback(self, name: str, version: str | None) -> str:
        """Restore what was good before in an environment and return what is live."""
        environment = await self._environment(name)
        async with self.reach.opened(environment) as (target, client):
            deployment = await self._deployment(environment, target, client)
            async with self._alerts(environment, target, f"the rollback to {version or 'what was before'}"):
                live = await deployment.rollback(version, takeover=self.reach.operator.takeover)
            return f"live: {live or 'nothing'}"

    async def history(self, name: str | None = None) -> str:
        """Return what was deployed in an environment, and what became of it; without a name, in every one.

        Raises TargetError with what there is to tell when not every one can be asked.
        """
        environments = await self._environments()
        if name:
            return await self._told(environments.named(name))
        told, failed = [], []
        for each in environments.tables:
            try:
                told.append(f"{each}: {await self._told(environments.named(each))}")
            except PipelineError as error:
                failed.append(f"{each}: {error}")
        if failed:
            raise TargetError("\n".join([*told, "history: not every environment can be asked", *failed]))
        return "\n".join(told)

    async def _told(self, environment: Environment) -> str:
        async with self.reach.opened(environment) as (target, _):
            return report(target.name, await target.look())

    async def _environments(self) -> Environments:
        return Environments.of(await self.reach.source.file(FILE).contents())

    async def _environment(self, name: str) -> Environment:
        return (await self._environments()).named(name)

    async def _deploy(
        self, environment: Environment, target: Target, client: Retrying, release: Release
    ) -> None:
        async with opened(self.pipeline, release.image, self.reach.identity) as repository:
            rows = await golden(repository, release)
        judge = Judge(rows, client.http, self.steps.note, environment.common.step_seconds)
        deployment = await self._deployment(environment, target, client)
        async with self._alerts(environment, target, f"the deployment of {release.image.tag}"):
            await deployment.deploy(release, judge, takeover=self.reach.operator.takeover)

    def _alerts(
        self, environment: Environment, target: Target, what: str
    ) -> AbstractAsyncContextManager[None]:
        alerts = Alerts(self.reach.operator.alertmanager, self.steps.note)
        return alerts.about(what, Place(environment.name, target.name))

    async def _deployment(self, environment: Environment, target: Target, client: Retrying) -> Deployment:
        lease = max(environment.common.step_seconds, target.lag) + _MARGIN
        return Deployment(target, await self.reach.owner(client), self.steps, lease)

    async def _published(self, version: str, environment: Environment) -> Image:
        if not environment.common.registry:
            raise InvalidEnvironment(
                f"{FILE}, line {environment.line}: [{environment.name}] has no registry to find {version} "
                "in; name it there, or give the whole name that `dagger call publish` printed"
            )
        pyproject = await self.reach.source.file("pyproject.toml").contents()
        return destination(environment.common.registry, version).image(project_name(pyproject))

    async def _resolved(self, text: str) -> Release:
        """Return the release that a name leads to; a tag is asked for once, and its digest told."""
        image = tagged(text)
        async with opened(self.pipeline, image or pinned(text).image, self.reach.identity) as repository:
            if image:
                release = Release(image, await _digest(repository, image))
                self.steps.note(f"{text} is {release.digest}")
            else:
                release = pinned(text)
            said = await version(repository, release)
        if release.image.tag not in ("", said):
            raise InvalidReference(f"image: {release} says that it is {said!r}; give the tag that it has")
        return replace(release, image=replace(release.image, tag=said))

    async def _copied(self, release: Release, to: Environment) -> Release:
        """Return a release where an environment pulls from, with its digest and all that is about it."""
        if not to.common.registry:
            return release
        name = release.image.repository.rpartition("/")[2]
        image = destination(to.common.registry, release.image.tag).image(name)
        if image == release.image:
            return release
        with self.steps.step(f"copy {release} to {image}"):
            async with (
                opened(self.pipeline, release.image, self.reach.identity) as there,
                opened(self.pipeline, image, self.reach.identity) as here,
            ):
                await here.copy(there, release.digest, image.tag)
        return Release(image, release.digest)


async def smoke_test(url: str, identity: Identity | None) -> str:
    """Return what a service anywhere answers; a private one is told who we are, by its address.

    Raises SmokeError when it does not answer as it has to.
    """
    address = url.rstrip("/")
    async with patient(30) as client:
        headers: Mapping[str, str] = {}
        if identity and (await client.http.get(f"{address}/model")).status_code in (401, 403):
            token = await Federation(identity, client).id_token(address)
            headers = {"Authorization": token.authorization()}
        return "\n".join(await smoke.contract(client.http, address, headers))


def healthy(seen: Seen, where: str) -> Release:
    """Return what has all of a target's traffic and was found fit there; else raise NothingToRestore."""
    good = [entry.release for entry in seen.journal.entries if entry.outcome == "live"]
    if seen.journal.attempt:
        raise NothingToRestore(
            f"{where}: {seen.journal.attempt.release} is still being deployed; wait for it"
        )
    if len(seen.shares) != 1 or seen.live not in good:
        raise NothingToRestore(
            f"{where}: {seen.live or 'nothing'} is live, which was not judged there; deploy it there first"
        )
    return pinned(seen.live)


async def _digest(repository: Repository, image: Image) -> str:
    found = await repository.digest(image.tag)
    if found is None:
        raise InvalidReference(f"image: there is no {image}; `dagger call images` lists what there is")
    return found
