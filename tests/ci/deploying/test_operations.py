"""Deploy, promote, roll back, history and smoke, on the fake cloud's Cloud Run."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from deploying.environments import Environments
from deploying.operations import Operations, healthy, restorable, smoke_test
from deploying.release_evidence import golden, version
from deploying.rollout.journal import Attempt, Entry, Journal, Lock
from deploying.rollout.target import Seen, Share
from deploying.target_connections import Operator, Reach
from errors import (
    InvalidEnvironment,
    InvalidIdentity,
    InvalidReference,
    NothingToRestore,
    NotVerified,
    RegistryError,
    ReleaseRejected,
    RolledBack,
    SmokeError,
    TargetError,
)
from fakecloud.state.fixtures import Job
from image import archive_reader, release_files
from keyless.google_identity import Identity
from net.retry_policy import patient
from net.step_log import Steps
from oci.reference import Image, Release
from oci.repository import connect
from releasing.publishing import attachments
from signing import bundles
from signing.verification import Signatures
from tests.ci.conftest import Archive
from tests.ci.deploying.targets.labs.cloud_run_lab import CloudRunLab, cloud_run_lab
from tests.ci.deploying.targets.labs.fleet import Fleet, Model
from tests.ci.pipeline import COMMIT, Container, Pipeline, Service, tag_of
from tests.ci.rehearsal.test_scenario_run import ROWS, SHA256
from tests.ci.sample_image import FILES, build, layer
from tests.ci.sigstore_lab import JOB, UNSIGNED, Lab, sigstore_lab

pytestmark = pytest.mark.anyio
ENVIRONMENT = """
[{name}]
target = "cloud-run"
project = "rehearsal-project"
region = "us-central1"
service = "{name}"
step_seconds = 0
lag = 0
limits = {{requests = 8, p95_seconds = 60}} # whatever else the machine does
"""
ENVIRONMENTS = "".join(ENVIRONMENT.format(name=name) for name in ("staging", "production"))


@dataclass
class Place:
    """Place where images are published, with operations on two environments."""

    lab: CloudRunLab
    identity: Identity
    folder: Path
    environments: str = ENVIRONMENTS
    project: str = "milestone2"
    printed: list[str] | None = None
    signatures: Signatures = UNSIGNED
    folders: dict[str, Path] = field(default_factory=dict)

    def operations(self, **operator: Any) -> Operations:
        """Return the operations of an operator."""
        self.printed = []
        nothing: Any = None
        who = Operator(**{"by": "tester", **operator})
        pipeline = Pipeline(Container(self.folder), Service(lambda: self.lab.registry_url))
        access, steps = pipeline.access(self.identity), Steps(self.printed.append)
        environments = Environments.of(self.environments)
        reach = Reach(nothing, nothing, self.identity, who)
        return Operations(self.project, environments, access, reach, steps, self.signatures)

    async def publish(self, tag: str, model: Model | None = None) -> Release:
        """Publish a release with what proves it, which does what a model says."""
        files = {**FILES, "app/model/golden.json": json.dumps(ROWS).encode()}
        archive = Archive(self.folder / f"{tag}.tar")
        own = Pipeline(Container(build(archive, layer(files), version=tag)), Service(lambda: ""))
        folder = own.bundle(tag, COMMIT)
        image = archive_reader.read(folder / "image.tar")
        repository = f"rehearsal-project/models/{tag_of(self.folder)}"
        async with connect(self.lab.registry_url, repository) as place:
            await replace(place, say=lambda line: None).publish(image, tag, attachments(image, folder))
        self.folders[image.digest] = folder
        self.lab.fleet.known[image.digest] = replace(model or Model(tag), sha256=SHA256)
        return Release(Image(self.lab.setup.repository.host, repository, tag), image.digest)

    async def sign(self, sigstore: Lab, release: Release, job: Job = JOB) -> bytes:
        """Attach a job's signature to a release and return it."""
        statement = (self.folders[release.digest] / "provenance.intoto.json").read_bytes()
        bundle = await sigstore.sign(statement, replace(job, ref=f"refs/tags/{release.image.tag}"))
        await self.attach(release, bundle)
        return bundle

    async def attach(self, release: Release, bundle: bytes) -> None:
        """Attach a bundle to a release."""
        image = archive_reader.read(self.folders[release.digest] / "image.tar")
        async with connect(self.lab.registry_url, release.image.repository) as place:
            parcels = [bundles.parcel(image.manifest, bundle)]
            await replace(place, say=lambda line: None).publish(image, release.image.tag, parcels)


@pytest.fixture
async def place(
    fleet: Fleet,
    start_google: Callable[..., str],
    registry_url: str,
    tmp_path: Path,
) -> Any:
    """Yield the place."""
    with cloud_run_lab(start_google, registry_url, fleet, tmp_path) as lab:
        async with patient() as client:
            yield Place(lab, lab.federation(client).identity, tmp_path)


async def test_an_image_is_deployed_by_its_digest_however_it_is_named(place: Place) -> None:
    release = await place.publish("v1.0.0")
    assert await place.operations().deploy("staging", f"{release.image}") == f"live: {release}"
    assert f"          {release.image} is {release.digest}" in (place.printed or [])
    untagged = f"{release.image.host}/{release.image.repository}@{release.digest}"
    with pytest.raises(
        InvalidEnvironment, match=r"line 3: \[staging\] has no registry to find v1.0.0 in; name it there"
    ):
        await place.operations().deploy("staging", "v1.0.0")
    host, (path, _, place.project) = release.image.host, release.image.repository.rpartition("/")
    registry = f'registry = "{host}/{path}"\n[production]'
    place.environments = place.environments.replace("[production]", registry)
    for name in (str(release), untagged, "v1.0.0"):
        assert await place.operations().deploy("staging", name) == f"live: {release}"
        assert any("nothing to do" in line for line in place.printed or [])
    wrong = str(release).replace(":v1.0.0@", ":v2.0.0@")
    with pytest.raises(InvalidReference, match="says that it is 'v1.0.0'; give the tag that it has"):
        await place.operations().deploy("staging", wrong)


async def test_what_there_is_not_is_not_deployed(place: Place) -> None:
    release = await place.publish("v1.0.0")
    with pytest.raises(
        InvalidReference, match="there is no .*:v9.9.9; `dagger call images` lists what there is"
    ):
        await place.operations().deploy("staging", str(replace(release.image, tag="v9.9.9")))
    with pytest.raises(InvalidReference, match="is not HOST/NAME"):
        await place.operations().deploy("staging", "milestone2")
    with pytest.raises(InvalidEnvironment, match=r"no environment 'moon'; there are: staging \(line \d+\)"):
        await place.operations().deploy("moon", str(release))


async def test_what_is_promoted_to_another_registry_is_copied_with_what_was_verified_about_it(
    place: Place, sigstore: Lab
) -> None:
    registry = f"us-central1-docker.pkg.dev/rehearsal-project/models/{tag_of(place.folder)}-copied"
    place.environments += f'registry = "{registry}"\n'
    release = await place.publish("v1.0.0")
    place.signatures = sigstore.signatures
    await place.attach(release, b"{}")
    await place.sign(sigstore, release, replace(JOB, repository_id="7"))
    await place.sign(sigstore, release)
    await place.operations().deploy("staging", str(release))
    live = await place.operations().promote("staging", "production")
    name = release.image.repository.rpartition("/")[2]
    assert live == f"live: {registry}/{name}:v1.0.0@{release.digest}"
    async with connect(place.lab.registry_url, f"{registry.partition('/')[2]}/{name}") as copied:
        kinds = Counter(each.kind for each in await copied.referrers(release.digest))
        assert kinds == Counter([*release_files.KINDS.values(), bundles.KIND])
    assert await place.operations().promote("staging", "production") == live


async def test_a_bad_release_is_not_promoted_and_history_says_why(place: Place) -> None:
    first = await place.publish("v1.0.0")
    bad = await place.publish("v1.1.0", Model("v1.1.0", offset=1))
    await place.operations().deploy("staging", str(first))
    with pytest.raises(RolledBack, match=r"judge: v1.1.0 is not fit at stage"):
        await place.operations().deploy("staging", str(bad))
    printed = (await place.operations().history("staging")).splitlines()
    assert printed[:2] == ["Cloud Run us-central1/staging", f"  100 % {first}"]
    assert f"rolled back  {bad}: judge: v1.1.0 is not fit at stage" in printed[2]
    assert printed[3].endswith(f"live         {first}")
    assert await place.operations().promote("staging", "production") == f"live: {first}"
    both = (await place.operations().history()).splitlines()
    assert (both[0], both[4]) == (f"staging: {printed[0]}", "production: Cloud Run us-central1/production")
    assert both[1] == both[5] == f"  100 % {first}"


async def test_history_fails_with_the_other_reports_when_an_environment_does_not_respond(
    place: Place,
) -> None:
    place.environments += '[nodes]\ntarget = "swarm"\nname = "milestone2"\n'
    with pytest.raises(TargetError, match="(?s)^staging: .*could not be read.*nodes: swarm: .*--docker"):
        await place.operations().history()


@pytest.fixture(scope="module")
def sigstore() -> Iterator[Lab]:
    with sigstore_lab() as lab:
        yield lab


async def test_only_what_is_signed_as_the_policy_demands_is_deployed_promoted_and_restored(
    place: Place, sigstore: Lab
) -> None:
    unsigned, first = await place.publish("v1.0.0"), await place.publish("v1.1.0")
    second = await place.publish("v1.2.0")
    await place.operations().deploy("staging", str(unsigned))
    await place.operations().deploy("production", str(unsigned))
    place.signatures = sigstore.signatures
    none = rf"signature: {re.escape(str(unsigned))} has none"
    with pytest.raises(NotVerified, match=none):
        await place.operations().promote("production", "staging")
    for release in (first, second):
        await place.sign(sigstore, release)
        await place.operations().deploy("staging", str(release))
        assert any(
            "entry" in line and f"@refs/tags/{release.image.tag}" in line for line in place.printed or []
        )
    assert await place.operations().promote("staging", "production") == f"live: {second}"
    assert await place.operations().rollback("staging", None) == f"live: {first}"
    for refused in (
        place.operations().deploy("staging", str(unsigned)),
        place.operations().rollback("staging", "v1.0.0"),
        place.operations().rollback("production", None),
    ):
        with pytest.raises(NotVerified, match=none):
            await refused
    assert (await place.operations().history("staging")).splitlines()[1] == f"  100 % {first}"


LOCK = Lock("me", "key", "a", "b")


@pytest.mark.parametrize(
    ("attempt", "version", "restored"),
    [
        (None, None, "v1.0.0"),
        (None, "v1.0.0", "v1.0.0"),
        (None, "v9.9.9", None),
        (Attempt("deploy", "r.test/m:v1.2.0@sha256:" + "c" * 64, "stage", "", LOCK), None, "v1.1.0"),
        (Attempt("rollback", "r.test/m:v1.1.0@sha256:" + "b" * 64, "restore", "", LOCK), None, "v1.0.0"),
    ],
)
def test_what_a_rollback_restores_is_known_before_it(
    attempt: Attempt | None, version: str | None, restored: str | None
) -> None:
    old, new = (f"r.test/m:{tag}@sha256:{letter * 64}" for tag, letter in (("v1.0.0", "a"), ("v1.1.0", "b")))
    entries = tuple(Entry(each, "live", "2026-07-01") for each in (new, old))
    found = restorable(Seen("1", Journal(attempt, entries), (Share(new, "", 100),)), version)
    assert (found.image.tag if found else None) == restored


async def test_who_deploys_is_called_as_they_say_or_as_their_identity_does(place: Place) -> None:
    for given, said in (("me", "me"), (None, "rehearsal/milestone2 run 1")):
        operations = place.operations(by=given)
        async with patient() as client:
            assert await operations.reach.owner(client) == said
    anonymous = replace(place.operations(by=None).reach, identity=None)
    async with patient() as client:
        assert await anonymous.owner(client) == "an operator without --by"


async def test_google_has_to_know_who_deploys(place: Place) -> None:
    operations = place.operations()
    anonymous = replace(operations, reach=replace(operations.reach, identity=None))
    with pytest.raises(InvalidIdentity, match="cloud run: Google has to know who deploys"):
        await anonymous.history("staging")


ENTRY = Entry("r.test/m:v1.0.0@sha256:" + "a" * 64, "live", "2026-07-01")
SHARE = Share(ENTRY.release, "", 100)


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (Seen(), "nothing is live, which was not judged there"),
        (Seen("1", Journal(), (SHARE,)), "which was not judged there"),
        (
            Seen("1", Journal(None, (replace(ENTRY, outcome="rolled back"),)), (SHARE,)),
            "was not judged there",
        ),
        (Seen("1", Journal(None, (ENTRY,)), (replace(SHARE, percent=50),) * 2), "50 % r.test"),
        (
            Seen("1", Journal(Attempt("deploy", "x", "stage", "", LOCK), (ENTRY,)), (SHARE,)),
            "x is still being",
        ),
    ],
)
def test_only_what_was_judged_and_has_all_traffic_is_healthy(seen: Seen, why: str) -> None:
    assert healthy(Seen("1", Journal(None, (ENTRY,)), (SHARE,)), "there").image.tag == "v1.0.0"
    with pytest.raises(NothingToRestore, match=why):
        healthy(seen, "there")


async def test_smoke_tests_a_service_anywhere_and_authenticates_to_a_private_one(place: Place) -> None:
    release = await place.publish("v1.0.0")
    await place.operations().deploy("staging", str(release))
    url = f"{place.lab.base}/run.app/staging"
    printed = (await smoke_test(f"{url}/", place.identity)).splitlines()
    assert printed[0] == "POST /predict answers 2.0 as version v1.0.0"
    assert printed[1:] == [
        "POST /predict with {} answers 400 invalid_input",
        "POST /predict with {'features': 'none'} answers 400 invalid_input",
        "GET /predict with None answers 405 method_not_allowed",
        "GET /nowhere with None answers 404 not_found",
    ]
    with pytest.raises(SmokeError, match="GET /model answered 403"):
        await smoke_test(url, None)
    instance = next(name for name in place.lab.fleet.running if name.startswith("staging"))
    assert (await smoke_test(f"{place.lab.fleet.base}/{instance}", None)).startswith("POST /predict answers")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{}", "has no readable provenance: KeyError"),
        (b"<", "has no readable provenance: JSONDecodeError"),
        (b"[" * 100_000, "has no readable provenance: ValueError"),
        (
            b'{"subject":[{"digest":{"sha256":"1"}}],"predicate":{"runDetails":{"byproducts":[]}}}',
            "is of sha256:1, and has no golden rows",
        ),
    ],
)
def test_what_proves_nothing_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(ReleaseRejected, match=why):
        golden(Release(Image("r.test", "m", "v1.0.0"), "sha256:2"), content)


async def test_an_image_that_has_no_version_is_refused(place: Place) -> None:
    archive = Archive(place.folder / "bare.tar")
    archive.index(archive.add_manifest(b"versionless"))
    image = archive_reader.read(archive.write())
    async with connect(place.lab.registry_url, "rehearsal-project/models/versionless") as published:
        await replace(published, say=lambda line: None).publish(image, "v1.0.0")
        with pytest.raises(RegistryError, match="has no label org.opencontainers.image.version"):
            await version(published, Release(Image("r.test", "m", ""), image.digest))


async def test_a_release_is_held_to_the_limits_of_its_environment(place: Place) -> None:
    release = await place.publish("v1.0.0")
    place.environments = ENVIRONMENTS.replace("p95_seconds = 60", "p95_seconds = 0", 1)
    with pytest.raises(RolledBack, match=r"p95 \S+ ms, more than 0\.0 ms"):
        await place.operations().deploy("staging", f"{release}")
