"""Operations on environments, whatever runs there: deploy, promote, roll back, history."""

import tempfile
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path

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
from oci import reference
from oci.reference import VERSION, Image, Release, parse_image, parse_release
from oci.repository import Repository
from releasing import smoke
from releasing.registry_access import RegistryAccess
from releasing.verify import Verified, verify_release
from signing.verification import Signatures

_MARGIN = 600  # seconds that a step may take besides being watched


@dataclass(frozen=True)
class Operations:
    """All that is done to a project's environments: by their targets, and with what registries have."""

    project: str
    environments: Environments
    access: RegistryAccess
    reach: Reach
    steps: Steps
    signatures: Signatures

    async def deploy(self, name: str, image: str) -> str:
        """Bring an image to all of an environment's traffic and return what is live.

        A version alone is one of the project's image in the environment's registry.
        """
        environment = self.environments.find(name)
        if VERSION.fullmatch(image):
            image = str(_image_of_version(environment, self.project, image))
        async with self.reach.open_target(environment) as (target, client):
            release = await self._resolve(image)
            await self._deploy(environment, target, client, release)
            return f"live: {(await target.look()).live}"

    async def promote(self, origin: str, name: str) -> str:
        """Bring what runs well in one environment to another and return what is live there."""
        first, second = self.environments.find(origin), self.environments.find(name)
        async with self.reach.open_target(first) as (target, _):
            release = healthy(await target.look(), target.name)
        release = await self._copy(release, second)
        async with self.reach.open_target(second) as (target, client):
            await self._deploy(second, target, client, release)
            return f"live: {(await target.look()).live}"

    async def rollback(self, name: str, version: str | None) -> str:
        """Restore what was good before in an environment and return what is live."""
        environment = self.environments.find(name)
        async with self.reach.open_target(environment) as (target, client):
            if restored := restorable(await target.look(), version):
                await self._verify(restored)
            deployment = await self._deployment(environment, target, client)
            async with self._alerts(environment, target, f"the rollback to {version or 'what was before'}"):
                live = await deployment.rollback(version, takeover=self.reach.operator.takeover)
            return f"live: {live or 'nothing'}"

    async def history(self, name: str | None = None) -> str:
        """Return what was deployed in an environment, and what became of it; without a name, in every one.

        Raises TargetError with the histories that could be read when a target fails to respond.
        """
        if name:
            return await self._report(self.environments.find(name))
        reports, failed = [], []
        for each in self.environments.names:
            try:
                reports.append(f"{each}: {await self._report(self.environments.find(each))}")
            except PipelineError as error:
                failed.append(f"{each}: {error.message}")
        if failed:
            raise TargetError("\n".join([*reports, "history: some environments could not be read", *failed]))
        return "\n".join(reports)

    async def _report(self, environment: Environment) -> str:
        async with self.reach.open_target(environment) as (target, _):
            return report(target.name, await target.look())

    async def _deploy(
        self, environment: Environment, target: Target, client: Retrying, release: Release
    ) -> None:
        rows = golden(release, (await self._verify(release)).provenance)
        common = environment.common
        judge = Judge(rows, client.http, self.steps.note, common.step_seconds, common.limits)
        deployment = await self._deployment(environment, target, client)
        async with self._alerts(environment, target, f"the deployment of {release.image.tag}"):
            await deployment.deploy(release, judge, takeover=self.reach.operator.takeover)

    async def _verify(self, release: Release) -> Verified:
        """Return what was found true of a release; raises NotVerified unless all is as it has to be."""
        with self.steps.step(f"verify {release}"), tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "image.tar"
            async with self.access.open(release.image) as repository:
                found = await verify_release(repository, release, self.signatures, archive)
            for line in found.report.splitlines()[1:]:
                self.steps.note(line.strip())
        return found

    def _alerts(
        self, environment: Environment, target: Target, what: str
    ) -> AbstractAsyncContextManager[None]:
        alerts = Alerts(self.reach.operator.alertmanager, self.steps.note)
        return alerts.about(what, Place(environment.name, target.name))

    async def _deployment(self, environment: Environment, target: Target, client: Retrying) -> Deployment:
        lease = max(environment.common.step_seconds, target.lag) + _MARGIN
        return Deployment(target, await self.reach.owner(client), self.steps, lease)

    async def _resolve(self, text: str) -> Release:
        """Return the release behind a name; a tag is resolved once, and its digest is printed."""
        image = parse_image(text)
        async with self.access.open(image or parse_release(text).image) as repository:
            if image:
                release = Release(image, await _digest(repository, image))
                self.steps.note(f"{text} is {release.digest}")
            else:
                release = parse_release(text)
            said = await version(repository, release)
        if release.image.tag not in ("", said):
            raise InvalidReference(f"image: {release} says that it is {said!r}; give the tag that it has")
        return replace(release, image=replace(release.image, tag=said))

    async def _copy(self, release: Release, to: Environment) -> Release:
        """Return a release where an environment pulls from, with its digest and all that is about it."""
        if not to.common.registry:
            return release
        name = release.image.repository.rpartition("/")[2]
        image = reference.image(to.common.registry, name, release.image.tag)
        if image == release.image:
            return release
        found = await self._verify(release)
        with self.steps.step(f"copy {release} to {image}"):
            async with (
                self.access.open(release.image) as there,
                self.access.open(image) as here,
            ):
                signatures = await self.signatures.manifests(there, release, found.provenance)
                await here.copy(there, release.digest, image.tag, [*found.documents, *signatures])
        return Release(image, release.digest)


async def smoke_test(url: str, identity: Identity | None) -> str:
    """Return the responses of a service at any URL; a private one gets an ID token for its address.

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
    return parse_release(seen.live)


def restorable(seen: Seen, version: str | None) -> Release | None:
    """Return what a rollback restores, None when there is nothing good."""
    attempt = seen.journal.attempt
    gone = attempt.release if attempt and version is None else seen.live
    entry = seen.journal.good(gone, version)
    return parse_release(entry.release) if entry else None


def _image_of_version(environment: Environment, project: str, version: str) -> Image:
    """Return the image of a version in an environment's registry; raises InvalidEnvironment without one."""
    if not environment.common.registry:
        raise InvalidEnvironment(
            f"{FILE}, line {environment.line}: [{environment.name}] has no registry to find {version} "
            "in; name it there, or give the whole name that `dagger call publish` printed"
        )
    return reference.image(environment.common.registry, project, version)


async def _digest(repository: Repository, image: Image) -> str:
    found = await repository.digest(image.tag)
    if found is None:
        raise InvalidReference(f"image: there is no {image}; `dagger call images` lists what there is")
    return found
