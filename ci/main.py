"""The pipeline: what `dagger call` and `./daggerw call` offer for this project."""

import secrets
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeVar

import dagger
from dagger import DefaultPath, Doc, Ignore, Name, dag, object_type

from building import benchmark, images, linters, tools
from building.source_files import MODEL_FILES, REPOSITORY_TESTS, SERVICE_TESTS, SOURCE
from building.tools import PLATFORM
from deploying.environments import FILE as ENVIRONMENTS
from deploying.environments import Environments
from deploying.operations import Operations, smoke_test
from deploying.shared_arguments import consenting, identified, operated
from deploying.target_connections import Operator, Reach
from errors import InvalidIdentity
from image import conformance, release_files
from keyless import explanation, setup_script
from keyless.doctor import Doctor, Signer, report
from keyless.endpoints import Endpoints
from keyless.google_identity import Identity
from keyless.setup_script import Setup
from net.concurrency import together
from net.retry_policy import patient
from net.step_log import Steps
from oci import reference, registry_listing
from rehearsal import release_rehearsal, scenarios
from releasing import pins, publishing, registry_access, scan, verify
from releasing.git_commit import Commit
from releasing.project_settings import Project
from releasing.registry_access import RegistryAccess
from signing.release_signature import Consent, Signing
from signing.trust import Trust
from signing.verification import Signatures
from training_data import kept_table
from training_data.address import TableAddress

if TYPE_CHECKING:
    Method = TypeVar("Method", bound=Callable[..., object])

    # The SDK's decorator loses a method's type in mypy, and its overloads lack `cache`.
    def function(*, cache: str | None = None) -> Callable[[Method], Method]: ...
    def checks(method: Method) -> Method: ...
else:
    from dagger import check as checks
    from dagger import function

BASE = "python:3.11.16-slim-bookworm@sha256:2e32f7d302adc1c37428355c1e646897c0c53f4fd60b6a551245fb90ee129f91"
REGISTRY = "registry:3.0.0@sha256:6c5666b861f3505b116bb9aa9b25175e71210414bd010d92035ff64018f9457e"
TEST_REGISTRY = "http://registry:5000"

Tag = Annotated[str, Doc("The version to release: vMAJOR.MINOR.PATCH, also with a pre-release suffix")]
Git = Annotated[dagger.GitRepository, DefaultPath("/"), Doc("The repository, for its commit")]
EnvironmentName = Annotated[str, Doc("The environment: a table of deploy/environments.toml")]
Named = Annotated[
    str, Doc("HOST/NAME:TAG@sha256:…, as publish prints it; without a digest it is looked up once")
]
Registry = Annotated[str, Doc("Where to push to: HOST[:PORT][/PATH]; localhost:5000 is the local registry")]


@object_type
class Ci:
    """Train, test, build, release and serve the model of this repository."""

    source: Annotated[dagger.Directory, DefaultPath("."), Ignore(SOURCE), Doc("The project's folder")]

    @function()
    @checks
    async def test(self) -> str:
        """Test what a release depends on: the service with this model, and the team's own tests."""
        source, files = await self._with_table(), self._team_files()
        await images.build_parts(source)
        model = images.build_model(source)
        await together(model.sync, files.sync)
        return await tools.prepare_team_tests(files, model.directory("model")).stdout()

    @function()
    @checks
    async def test_pipeline(self) -> str:
        """Test the machinery: the service with any model, training, the pipeline, and this repository."""
        prepared, registry = self._prepare(), _registry()
        needed = [*MODEL_FILES, "docker", "pytest.ini", "tests/*.py", *SERVICE_TESTS]
        service = prepared.with_directory(".", self.source.filter(include=needed))
        served = registry.as_service(use_entrypoint=True)
        pipeline = prepared.with_directory(".", self.source).with_service_binding("registry", served)
        pytest = ["pytest", "--progress", "--numprocesses=auto", "--maxprocesses=4", "--dist=worksteal"]
        measured = ["--cov=app", "--cov=train_model", "--cov=training"]
        others = [*REPOSITORY_TESTS, "--cov=ci", f"--registry-url={TEST_REGISTRY}"]
        reports, _ = await together(
            lambda: together(
                service.with_exec([*pytest, *SERVICE_TESTS, *measured]).stdout,
                pipeline.with_exec([*pytest, *others]).stdout,
            ),
            registry.sync,  # at once; the tests would only start it after all packages are there
        )
        return "\n".join(reports)

    @function()
    @checks
    async def lint(self) -> str:
        """Check code, types, Dockerfile, shell scripts and workflow, and print each tool's verdict."""
        checked = self._prepare().with_directory(".", self.source)
        return (await linters.lint(checked, linters.LINTERS).stdout()).strip()

    @function()
    async def check(self) -> str:
        """Lint, test and test-pipeline: everything, and print all reports."""
        return "\n".join(await together(self.lint, self.test, self.test_pipeline))

    @function()
    @identified
    async def train(self, *, identity: Identity | None) -> dagger.Directory:
        """Train the model and return the folder with the model and its card."""
        return images.build_model(await self._with_table(identity)).directory("model")

    @function()
    async def build(self, tag: Tag = "v0.0.0-dev") -> dagger.Container:
        """Build the image of one version, with scikit-learn only if the model needs it."""
        version, source = reference.release_tag(tag), await self._with_table()
        return await images.build_image(source, version, (await self._project()).name)

    @function(cache="session")
    async def release(self, git: Git, tag: Tag = "v0.0.0-dev") -> dagger.Directory:
        """Build one version into files: the image as it is published, and what proves where it comes from."""
        return (await self._build_bundle(tag, git)).directory(release_files.FOLDER)

    @function(cache="session")
    async def digest(
        self,
        git: Git,
        tag: Tag = "v0.0.0-dev",
        twice: Annotated[
            bool, Doc("Build it twice without any cache, and fail when the digests differ")
        ] = False,
    ) -> str:
        """Print the digest that one version has wherever this commit is built, without publishing it."""
        if not twice:
            return (await (await self._build_bundle(tag, git)).stdout()).strip()
        commit = await Commit.of(git)
        one, other = [self._bundle(await self._build_again(tag), commit) for _ in range(2)]
        await images.compare_images(self._programs(), one.file(images.IMAGE), other.file(images.IMAGE))
        return (await one.stdout()).strip()

    @function(cache="session")
    async def compare(
        self,
        git: Git,
        other: Annotated[dagger.File, Doc("The other image, as an OCI layout in a tar archive")],
        tag: Tag = "v0.0.0-dev",
    ) -> str:
        """Say which file of which layer differs, and how, from another build of one version."""
        ours = (await self._build_bundle(tag, git)).file(images.IMAGE)
        return await images.compare_images(self._programs(), ours, other)

    @function(cache="never")
    async def scan(
        self,
        git: Git,
        tag: Tag = "v0.0.0-dev",
        advisories: Annotated[
            list[dagger.File] | None,
            Doc("Advisories in OSV's format: records in JSON, or a zip of them"),
        ] = None,
        url: Annotated[list[str] | None, Doc("URL of such a file")] = None,
        fail_on: Annotated[str, Doc("Severity that fails the scan: low, medium, high or critical")] = "high",
    ) -> str:
        """Scan one version for known vulnerabilities; fail at or above a severity."""
        made = await self._build_bundle(tag, git)
        programs = self._prepare().with_file(scan.PROGRAM, self.source.file(scan.PROGRAM))
        bill = made.file(f"{release_files.FOLDER}/{release_files.SBOM}")
        return await scan.scan(programs, bill, advisories or (), url or (), fail_on)

    @function(cache="never")
    async def update(
        self,
        images: Annotated[bool, Doc("Also look up moved digests at the image registries")] = True,
    ) -> dagger.Changeset:
        """Return the changes that raise all pins within their constraints; print which base images moved."""
        found = await pins.find_moved((BASE, REGISTRY)) if images else []
        for each in found:
            _tell(str(each))
        raised = await pins.compile_lists(self.source, self._installer(), "--upgrade")
        return (await pins.repin(raised, found)).changes(self.source)

    @function(cache="never")
    async def lock(
        self,
        add: Annotated[
            list[str] | None, Doc("Packages to add to features/requirements.in: lightgbm, xgboost-cpu, …")
        ] = None,
    ) -> dagger.Changeset:
        """Return the changes that pin what the lists of packages name; other pins stay as they are."""
        named = await pins.with_packages(self.source, add or ())
        return (await pins.compile_lists(named, self._installer())).changes(self.source)

    @function()
    async def serve(self, tag: Tag = "v0.0.0-dev") -> dagger.Service:
        """Serve the image of one version on port 8080."""
        return publishing.as_service(await self.build(tag))

    @function()
    def registry(self) -> dagger.Service:
        """Serve the local registry, which keeps what is published to it, on port 5000."""
        kept = dag.cache_volume("registry")
        return _registry().with_mounted_cache("/var/lib/registry", kept).as_service(use_entrypoint=True)

    @function(cache="never")
    async def benchmark(
        self,
        rounds: Annotated[int, Doc("How often each is measured")] = 5,
        seconds: Annotated[int, Doc("How long each load lasts")] = 4,
    ) -> dagger.Directory:
        """Measure the image beside others on two cores: results.json, tables in Markdown, and plot.png."""
        image, model = await self.build(), await self.train()
        made = (self._prepare(), self.source, image, model, _base())
        return benchmark.measure(*made, rounds=rounds, seconds=seconds).directory("/out")

    @function(cache="never")
    @identified
    @consenting
    async def publish(
        self,
        tag: Tag,
        git: Git,
        registry: Registry = reference.LOCAL_REGISTRY,
        allow_stand_in: Annotated[
            bool, Doc("Push to a remote registry even what was built on a stand-in for a base image")
        ] = False,
        *,
        identity: Identity | None,
        consent: Consent,
    ) -> str:
        """Lint, test, build, try, sign and push one version, and print its name with its digest."""
        name = (await self._project()).name
        target = reference.image(registry, name, tag)
        if not target.local:
            conformance.check_machine(await dag.default_platform())
        draft = self._draft(name, tag, await Commit.of(git), await self._with_table(identity))
        access, allowed = self._access(identity), publishing.Allowed(stand_in=allow_stand_in)
        signing = Signing(await self._signatures(), consent)
        steps = Steps(_tell, _tell)
        return str(await publishing.release(draft, target, access, steps, allowed, signing))

    @function(cache="never")
    async def rehearse(
        self,
        git: Git,
        tag: Tag = "v1.0.0",
        fault: Annotated[
            list[str] | None,
            Doc("Faults to inject: sts:503x2, iam:timeout, registry:reset, clock:+90s, …"),
        ] = None,
        scenario: Annotated[
            str, Doc("Deploy it, too, and another over it: good, wrong-model, no-start, slow, killed")
        ] = "",
    ) -> str:
        """Release one version to a fake GitHub and Google, pull it, run it and send requests to it."""
        rehearsal = release_rehearsal.Rehearsal(tag, fault or (), scenario)
        project, commit = await self._project(), await Commit.of(git)
        source = await self._with_table()
        drafts = [self._draft(project.name, each, commit, source) for each in rehearsal.tags]
        programs = self._prepare().with_directory(".", self.source.filter(include=release_rehearsal.FILES))
        ingredients = self._ingredients(project, source)
        return await rehearsal.run(project.name, drafts, programs, _registry(), ingredients, _tell)

    @function(cache="never")
    @identified
    @operated
    async def deploy(
        self, environment: EnvironmentName, image: Named, *, identity: Identity | None, operator: Operator
    ) -> str:
        """Bring a published image to an environment in steps, each judged, and print what is live."""
        return await (await self._operations(identity, operator)).deploy(environment, image)

    @function(cache="never")
    @identified
    @operated
    async def promote(
        self,
        origin: Annotated[str, Name("from"), Doc("The environment where it runs well")],
        to: Annotated[str, Doc("The environment to bring it to")],
        *,
        identity: Identity | None,
        operator: Operator,
    ) -> str:
        """Bring what runs well in one environment to another, with its digest, and print what is live."""
        return await (await self._operations(identity, operator)).promote(origin, to)

    @function(cache="never")
    @identified
    @operated
    async def rollback(
        self,
        environment: EnvironmentName,
        to: Annotated[str | None, Doc("The version to restore; the last good one otherwise")] = None,
        *,
        identity: Identity | None,
        operator: Operator,
    ) -> str:
        """Restore what was good before in an environment, without building, and print what is live."""
        return await (await self._operations(identity, operator)).rollback(environment, to)

    @function(cache="never")
    @identified
    @operated
    async def history(
        self,
        environment: Annotated[
            str | None, Doc("A table of deploy/environments.toml; all of them otherwise")
        ] = None,
        *,
        identity: Identity | None,
        operator: Operator,
    ) -> str:
        """List what was deployed, what is live where, and why the last one was rolled back."""
        return await (await self._operations(identity, operator)).history(environment)

    @function(cache="never")
    @identified
    async def smoke(
        self, url: Annotated[str, Doc("The service's base URL")], *, identity: Identity | None
    ) -> str:
        """Send requests as users do to a service anywhere, with an ID token when it is private."""
        return await smoke_test(url, identity)

    @function(cache="never")
    @identified
    async def doctor(
        self,
        tag: Tag = "v0.0.0-dev",
        registry: Registry = reference.LOCAL_REGISTRY,
        condition: Annotated[
            str | None, Doc("The provider's attribute condition, when it is not the one of setup-google")
        ] = None,
        *,
        identity: Identity | None,
    ) -> str:
        """Check every step of a release before building anything, and print the findings."""
        reference.release_tag(tag)
        address = reference.registry_address(registry)
        if identity is None:
            raise InvalidIdentity("provider: give doctor the arguments of publish that say who releases")
        async with patient() as client:
            machine, signatures = await dag.default_platform(), await self._signatures()
            policy, services = signatures.policy, signatures.trust.services
            ids = (policy.repository_id, policy.owner_id) if policy else (None, None)
            doctor = Doctor(identity, address, client, condition, machine, Signer(services, *ids))
            return report(await doctor.examine())

    @function()
    def explain(self, text: Annotated[str, Doc("An error, or a log with one in it")]) -> str:
        """Explain the known errors of releases in a text: why they come and what ends them."""
        return explanation.explain(text)

    @function(cache="never")
    async def setup_google(
        self,
        project: Annotated[str, Doc("The id of the Google Cloud project")],
        repository: Annotated[str, Doc("The GitHub repository that releases: OWNER/NAME")],
        location: Annotated[str, Doc("Where Artifact Registry keeps the images")] = Setup.location,
        images: Annotated[str, Doc("The image repository there")] = Setup.repository,
        pool: Annotated[str, Doc("The workload identity pool")] = Setup.pool,
        provider: Annotated[str, Doc("The pool's provider")] = Setup.provider,
        service_account: Annotated[
            str, Doc("The service account's name, '' to do without one")
        ] = Setup.service_account,
        runtime_account: Annotated[
            str, Doc("The account that the service runs as on Cloud Run, '' to deploy nothing there")
        ] = Setup.runtime_account,
        staging_account: Annotated[str, Doc("The account that deploys to staging")] = Setup.staging_account,
        production_account: Annotated[
            str, Doc("The account that deploys to production, for jobs in that environment only")
        ] = Setup.production_account,
        region: Annotated[str, Doc("Where Cloud Run runs the services")] = Setup.region,
        staging_service: Annotated[str, Doc("Staging's Cloud Run service")] = Setup.staging_service,
        production_service: Annotated[str, Doc("Production's Cloud Run service")] = Setup.production_service,
        repository_id: Annotated[str, Doc("The GitHub repository's number, when it is private")] = "",
        owner_id: Annotated[str, Doc("Its owner's number, when it is private")] = "",
    ) -> str:
        """Print the script that sets Google up for releases, once; nothing of it is run."""
        accounts = (service_account, runtime_account, staging_account, production_account)
        services = (region, staging_service, production_service)
        setup = Setup(project, repository, location, images, pool, provider, *accounts, *services)
        if not (repository_id and owner_id):
            async with patient() as client:
                repository_id, owner_id = await setup_script.github_ids(
                    repository, Endpoints().github, client
                )
        template = await self.source.file("deploy/google/setup.sh").contents()
        return setup_script.script(template, setup, repository_id, owner_id)

    @function(cache="never")
    @identified
    async def images(
        self, registry: Registry = reference.LOCAL_REGISTRY, *, identity: Identity | None
    ) -> str:
        """List what a registry has of this image: tags, digests, age and size."""
        image = reference.image(registry, (await self._project()).name, "v0.0.0-dev")
        async with self._access(identity).open(image) as repository:
            return await registry_listing.list_releases(repository)

    @function(cache="never")
    @identified
    async def verify(
        self,
        image: Annotated[str, Doc("HOST/NAME[:TAG]@sha256:…, as publish prints it")],
        *,
        identity: Identity | None,
    ) -> str:
        """Verify a published image against its SBOM, provenance, labels and signature."""
        published = reference.parse_release(image)
        async with self._access(identity).open(published.image) as repository:
            return str(await verify.verify_release(repository, published, await self._signatures()))

    async def _project(self) -> Project:
        return Project.of(await self.source.file("pyproject.toml").contents())

    def _access(self, identity: Identity | None) -> RegistryAccess:
        return RegistryAccess(identity, self.registry())

    async def _operations(self, identity: Identity | None, operator: Operator) -> Operations:
        name = (await self._project()).name
        environments, signatures = await self._environments(), await self._signatures()
        reach = Reach(self.source, _base(), identity, operator)
        steps = Steps(_tell, _tell)
        return Operations(name, environments, self._access(identity), reach, steps, signatures)

    async def _environments(self) -> Environments:
        return Environments.of(await self.source.file(ENVIRONMENTS).contents())

    async def _signatures(self) -> Signatures:
        return Signatures(await Trust.read(self.source), (await self._environments()).policy())

    async def _build_again(self, tag: str) -> dagger.Container:
        """Return the image of one version with no step from a cache: the first one reads another comment."""
        first = "requirements-uv.txt"
        text = f"{await self.source.file(first).contents()}# {secrets.token_hex()}\n"
        source = (await self._with_table()).with_new_file(first, text)
        return await images.build_image(source, reference.release_tag(tag), (await self._project()).name)

    async def _build_bundle(self, tag: str, git: dagger.GitRepository) -> dagger.Container:
        """Return the container that made one version of the commit into files, in release_files.FOLDER."""
        commit = await Commit.of(git)
        return self._bundle(await self.build(tag), commit)

    def _bundle(self, image: dagger.Container, commit: Commit) -> dagger.Container:
        return images.bundle_image(self._programs(), image, commit, BASE)

    async def _with_table(self, identity: Identity | None = None) -> dagger.Directory:
        """Return the source with the table to train on, which is fetched if it is not in Git, nor kept."""
        table = TableAddress.of((await self._project()).settings)
        programs = _base()
        return await kept_table.add_table(self.source, table, programs, identity)

    def _draft(self, name: str, tag: str, commit: Commit, source: dagger.Directory) -> publishing.Draft:
        """Return what one version is released from; the source has the table to train on."""
        files = self._team_files()
        lint = linters.lint(files, linters.PYTHON_LINTERS)
        model = images.build_model(source).directory("model")
        built = images.build_images(source, tag, name)
        bundles = {target: self._bundle(image, commit) for target, image in built.items()}
        test = tools.prepare_team_tests(files, model)
        return publishing.Draft(commit, partial(images.build_parts, source), lint, test, model, bundles)

    def _ingredients(self, project: Project, source: dagger.Directory) -> scenarios.Ingredients:
        """Return what a rehearsal's bad releases are made with."""
        program = self.source.file(scenarios.DELAY_PROGRAM)
        proxy = _base().with_file(scenarios.DELAY_PATH, program)
        return scenarios.Ingredients(project.settings, images.build_model(source), proxy)

    def _team_files(self) -> dagger.Container:
        return tools.prepare_team_files(self.source, images.build_packages(self.source))

    def _prepare(self) -> dagger.Container:
        return tools.prepare_development(self.source, _base())

    def _installer(self) -> dagger.Container:
        return tools.prepare_installer(self.source, _base())

    def _programs(self) -> dagger.Container:
        return tools.prepare_programs(self.source, _base())


def _base() -> dagger.Container:
    return dag.container(platform=PLATFORM).from_(BASE)


def _registry() -> dagger.Container:
    # Version 3 sends traces to a collector by default, and logs that there is none.
    quiet = dag.container(platform=PLATFORM).from_(REGISTRY).with_env_variable("OTEL_TRACES_EXPORTER", "none")
    return quiet.with_exposed_port(registry_access.PORT)


def _tell(line: str) -> None:
    print(line, file=sys.stderr)
