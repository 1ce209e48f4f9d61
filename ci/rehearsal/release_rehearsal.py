"""Rehearsal of a release, without account or network: to the fake cloud, and back from it."""

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import dagger
from dagger import dag

from errors import PipelineError, RehearsalFailed
from fakecloud import addresses
from fakecloud.sigstore import paths
from fakecloud.state import faults
from fakecloud.state.fixtures import Job, usual_setup, with_deployers
from keyless.endpoints import Endpoints
from keyless.google_identity import Identity, Provider
from keyless.oidc_sources import Given
from net.retry_policy import patient
from net.step_log import Steps
from net.tokens import Token
from oci import reference
from oci.repository import Repository
from rehearsal import refused_runs
from rehearsal.scenario_run import USUAL, FakeCloud, Judgement, ScenarioRun
from rehearsal.scenarios import Ingredients, scenario
from releasing import verify
from releasing.publishing import PLATFORM, Draft, try_image
from releasing.registry_access import PORT, RegistryAccess
from signing.policy import Policy
from signing.release_signature import Consent, Signing
from signing.trust import Trust
from signing.verification import Signatures

FILES = ["ci/errors.py", "ci/advice", "ci/conditions", "ci/fakecloud"]
_TICKET, _KEY = "/run/request-token", "/run/control-key"


@dataclass(frozen=True)
class Rehearsal:
    """The rehearsal of one version's release, with what shall go wrong in it.

    With a scenario it is deployed, and then another version over it.
    """

    tag: str
    faults: Sequence[str]
    scenario: str = ""
    judgement: Judgement = USUAL

    def __post_init__(self) -> None:
        """Raise InvalidReference, InvalidFault or InvalidScenario before anything starts."""
        reference.release_tag(self.tag)
        for fault in self.faults:
            faults.parse(fault)
        if self.scenario:
            scenario(self.scenario)

    @property
    def tags(self) -> tuple[str, str]:
        """The version that is released, and the one that a scenario deploys over it."""
        return self.tag, reference.next_free(self.tag, {self.tag})

    async def run(
        self,
        name: str,
        drafts: Sequence[Draft],
        programs: dagger.Container,
        registry: dagger.Container,
        ingredients: Ingredients,
        tell: Callable[[str], None],
    ) -> str:
        """Return the steps with their times, and in the last line what was released, or is live.

        Each step is also printed when it starts and when it ends.

        There is a draft for each of the tags. The programs are a container with FILES and what they need.
        Raises RehearsalFailed with the steps so far, or what a container ended with.
        """
        report: list[str] = []

        def tell_and_keep(line: str) -> None:
            tell(line)
            report.append(line)

        steps = Steps(tell_and_keep, tell)
        try:
            async with self._start_fake_cloud(programs, registry, steps) as cloud:
                targets = [reference.image(cloud.setup.repository.uri, name, tag) for tag in self.tags]
                last = await self._run(ScenarioRun(ingredients, steps, cloud), drafts, targets)
        except PipelineError as error:
            failed = f"rehearsal: {self.tag} would not be released"
            raise RehearsalFailed("\n".join([failed, *report, error.message])) from error
        return "\n".join([*report, last])

    async def _run(
        self, run: ScenarioRun, drafts: Sequence[Draft], targets: Sequence[reference.Image]
    ) -> str:
        """Return what was released, or is live when there is a scenario."""
        first = await run.release(drafts[0], targets[0])
        async with run.cloud.access.open(targets[0]) as repository:
            await _verify_published(repository, first, run)
        with run.steps.step("check that other runs are refused"):
            await refused_runs.check(run.cloud, self.tag, run.steps.note)
        if not self.scenario:
            return str(first)
        second = await run.release(drafts[1], targets[1])
        return f"live: {await run.deploy(first, second, scenario(self.scenario), self.judgement)}"

    @asynccontextmanager
    async def _start_fake_cloud(
        self, programs: dagger.Container, registry: dagger.Container, steps: Steps
    ) -> AsyncIterator[FakeCloud]:
        """Start the fake cloud, in front of a registry that is empty at each run."""
        ticket, key = Token(secrets.token_urlsafe()), Token(secrets.token_urlsafe())
        job = Job(ref=f"refs/tags/{self.tag}")
        setup = with_deployers(usual_setup(ticket.reveal(), job, key.reveal()))
        fresh = registry.with_env_variable("REHEARSAL", secrets.token_hex()).as_service(use_entrypoint=True)
        stand_in = (
            programs.with_env_variable("PYTHONPATH", "ci")
            .with_service_binding("registry", fresh)
            .with_mounted_secret(_TICKET, dag.set_secret("request-token", ticket.reveal()))
            .with_mounted_secret(_KEY, dag.set_secret("control-key", key.reveal()))
            .with_exposed_port(addresses.PORT)
            .as_service(args=self._command())
        )
        with steps.step("start a registry, and a stand-in for GitHub and Google"):
            await stand_in.start()
        try:
            base = await stand_in.endpoint(port=addresses.PORT, scheme="http")
            given = Given(addresses.request_url(base), ticket)
            elsewhere = Endpoints.of(addresses.endpoints(base, setup))
            provider = Provider.of(setup.provider.resource)
            identity = Identity(provider, setup.service_account, given, elsewhere)
            signing = await _make_signing(base, setup.job)
            yield FakeCloud(base, key, setup, identity, RegistryAccess(identity, fresh), signing)
        finally:
            await stand_in.stop()

    def _command(self) -> list[str]:
        command = ["python", "-m", "fakecloud", "--registry-url", f"http://registry:{PORT}"]
        command += ["--request-token-file", _TICKET, "--control-key-file", _KEY, "--tag", self.tag]
        return command + [word for fault in self.faults for word in ("--fault", fault)]


async def _make_signing(base: str, job: Job) -> Signing:
    """Return how a job signs by the fake Sigstore, whose log is not public."""
    async with patient() as client:
        files = [
            (await client.http.get(f"{base}{path}")).raise_for_status().text
            for path in (paths.TRUSTED_ROOT, paths.SIGNING_CONFIG)
        ]
    policy = Policy(job.repository_id, job.owner_id)
    return Signing(Signatures(Trust(*files), policy), Consent(private=True))


async def _verify_published(repository: Repository, released: reference.Release, run: ScenarioRun) -> None:
    """Pull the release by its digest, verify it, run it, and request a prediction."""
    steps, signatures = run.steps, run.cloud.signing.signatures
    with steps.step(f"pull and verify {released.digest}"):
        await verify.verify_release(repository, released, signatures)
    files = dag.current_module().workdir(".", include=[str(verify.ARCHIVE)])
    image = dag.container(platform=PLATFORM).import_(files.file(str(verify.ARCHIVE)))
    with steps.step("run it and call /predict"):
        await try_image(image, released.image.tag)
