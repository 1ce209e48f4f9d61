"""Run of a scenario: a release, its deployment, and the deployment of another release over it."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from deploying.release_evidence import golden
from deploying.rollout.deployment import Deployment
from deploying.rollout.golden_rows import Golden
from deploying.rollout.journal_report import report
from deploying.rollout.judge import Judge, Judging
from deploying.rollout.target import Target
from deploying.rollout.verdict import Limits
from deploying.targets.cloud_run import CloudRun, Settings
from errors import RehearsalFailed, RolledBack
from fakecloud import addresses
from fakecloud.state.fixtures import CloudSetup
from keyless.federation import Federation
from keyless.google_identity import Identity
from net.concurrency import beside
from net.retry_policy import Retrying, patient
from net.step_log import Steps
from net.tokens import Token
from oci.reference import Image, Release
from oci.repository import Repository
from rehearsal.revision_starter import Starter
from rehearsal.scenarios import Deadly, Ingredients, Killed, Scenario
from rehearsal.simulated_users import Users
from releasing.publishing import Allowed, Draft, release
from releasing.registry_access import RegistryAccess
from releasing.verify import verify_release
from signing.release_signature import Signing

_RATE = 40  # requests of users a second
ENVIRONMENT = "production"  # of GitHub's, that deployments run in

Choose = Callable[[Judging], Judging]


@dataclass(frozen=True)
class Judgement:
    """Judgement of a rehearsal: how long a step lasts, its limits, and what may replace the judge."""

    step_seconds: float
    limits: Limits
    choose: Choose = lambda judge: judge


# The 95th percentile is several times that of a service on a machine that also does other work.
USUAL = Judgement(1, Limits(p95_seconds=6))


@dataclass(frozen=True)
class FakeCloud:
    """Fake cloud of a rehearsal: its address and key, and the job's access."""

    base: str
    key: Token
    setup: CloudSetup
    identity: Identity
    access: RegistryAccess
    signing: Signing

    @property
    def deployer(self) -> Identity:
        """Identity that deploys to production; Google grants it only to jobs of that environment."""
        return replace(self.identity, service_account=self.setup.deployers[ENVIRONMENT])

    async def start_run(self, tag: str, **job: str) -> None:
        """Have a job run for a tag from now on, which may also have another commit, environment or event."""
        run = {"ref": f"refs/tags/{tag}", **job}
        headers = {"Authorization": self.key.authorization()}
        async with patient() as client:
            url = f"{self.base}{addresses.CONTROL}/runs"
            (await client.http.post(url, json=run, headers=headers)).raise_for_status()


@dataclass(frozen=True)
class ScenarioRun:
    """Run of a scenario on a fake cloud: the releases, and their deployments."""

    ingredients: Ingredients
    steps: Steps
    cloud: FakeCloud

    async def release(self, draft: Draft, target: Image) -> Release:
        """Release a version, as its tag's own run."""
        await self.cloud.start_run(target.tag, commit=draft.commit.digest)
        cloud, allowed = self.cloud, Allowed(stand_in=True, dirty=True)
        return await release(draft, target, cloud.access, self.steps, allowed, cloud.signing)

    async def deploy(self, first: Release, second: Release, scenario: Scenario, by: Judgement) -> str:
        """Deploy a release and another over it, and return what is live.

        Raises RehearsalFailed unless that is the good one.
        """
        await self.cloud.start_run(second.image.tag, environment=ENVIRONMENT)
        access = RegistryAccess(self.cloud.deployer, self.cloud.access.local)
        async with patient() as client, access.open(second.image) as repository:
            made = {second.digest: lambda image: scenario.make(image, self.ingredients)}
            starter = Starter(self.cloud.base, self.cloud.key, client, repository, made)
            try:
                deployments = Deployments(self, client, repository, by)
                live = await beside(starter.run, partial(deployments.both, first, second, scenario))
            finally:
                await starter.stop()
        good = second if scenario.goes_live else first
        if live != str(good):
            raise RehearsalFailed(f"live: {live}\n{good} was to be live")
        return live


@dataclass(frozen=True)
class Deployments:
    """Deployments of a scenario's releases, the second over the first."""

    run: ScenarioRun
    client: Retrying
    repository: Repository
    by: Judgement
    rows: dict[Release, Golden] = field(default_factory=dict)

    async def both(self, first: Release, second: Release, scenario: Scenario) -> str:
        """Return what is live after both."""
        target, steps = self._target(first), self.run.steps
        await self._one(target, first)
        address = (await target.look()).address
        assert address, target
        users = Users(await self._golden(first), self.client.http, address, _RATE)
        await beside(users.run, partial(self._second, target, second, scenario))
        steps.note(str(users))
        if users.lost:
            raise RehearsalFailed(f"{len(users.lost)} requests of users were lost: {users.lost[0]}")
        seen = await target.look()
        for line in report(target.name, seen).splitlines():
            steps.note(line)
        return seen.live

    async def _second(self, target: Target, release: Release, scenario: Scenario) -> None:
        try:
            await self._one(target, release, killed=scenario.killed)
        except RolledBack as error:
            self.run.steps.note(error.problem.splitlines()[0])

    async def _golden(self, release: Release) -> Golden:
        """Return the golden rows of a release, which is verified first."""
        if release not in self.rows:
            signatures = self.run.cloud.signing.signatures
            with self.run.steps.step(f"verify {release.image.tag}"), TemporaryDirectory() as folder:
                found = await verify_release(self.repository, release, signatures, Path(folder) / "image.tar")
            self.rows[release] = golden(release, found.provenance)
        return self.rows[release]

    def _target(self, release: Release) -> Target:
        place, name = self.run.cloud.setup.repository, release.image.repository.rpartition("/")[2]
        settings = Settings(place.project, place.location, name, lag=0)
        return CloudRun.of(settings, Federation(self.run.cloud.deployer, self.client), self.client)

    async def _one(self, target: Target, release: Release, *, killed: bool = False) -> None:
        rows, steps = await self._golden(release), self.run.steps
        usual = Judge(rows, self.client.http, steps.note, self.by.step_seconds, self.by.limits)
        judge = self.by.choose(usual)
        if killed:
            with suppress(Killed):
                await Deployment(target, "a machine that dies", steps).deploy(release, Deadly(judge))
            steps.note("killed; another machine goes on")
        await Deployment(target, "the rehearsal", steps).deploy(release, judge, takeover=killed)
