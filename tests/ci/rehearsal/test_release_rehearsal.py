"""Releases, and their rehearsals, by the pipeline's own code; only what runs in containers is made up."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from errors import (
    DirtyRefused,
    IdentityError,
    InvalidFault,
    InvalidIdentity,
    InvalidReference,
    RegistryError,
    RehearsalFailed,
    StandInRefused,
)
from image import archive_reader
from keyless.endpoints import Endpoints
from keyless.google_identity import Identity, Provider
from keyless.oidc_sources import Given
from net.step_log import Steps
from oci import reference, registry_listing
from oci.image_download import pull
from oci.repository import connect
from rehearsal import release_rehearsal
from rehearsal.release_rehearsal import Rehearsal
from releasing import smoke
from releasing.git_commit import Commit
from releasing.publishing import Allowed
from releasing.publishing import release as made_release
from signing.release_signature import Signing
from tests.ci.connections import job_identity
from tests.ci.pipeline import COMMIT, Container, Engine, Pipeline, Service, tag_of
from tests.ci.sample_image import FILES, build, layer
from tests.ci.sigstore_lab import UNSIGNED

if TYPE_CHECKING:
    from fakecloud.state.fixtures import CloudSetup
    from tests.ci.conftest import Archive

pytestmark = pytest.mark.anyio
WORKFLOW = "https://github.com/rehearsal/milestone2/.github/workflows/milestone2-ci.yml"
TIMES = re.compile(r"^ +\d+\.\d s  ", re.MULTILINE)
Rehearse = Callable[..., Any]


@pytest.fixture
def predictions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Return the tags whose images were sent a prediction request; each succeeds, in a folder of its own."""
    predictions: list[str] = []

    async def predict(url: str, tag: str) -> float:
        predictions.append(tag)
        return 0.5

    monkeypatch.setattr(smoke, "predict", predict)
    monkeypatch.setattr("releasing.publishing.dag", Engine(lambda setup: "", "v1.0.0"))
    monkeypatch.chdir(tmp_path)
    return predictions


@pytest.fixture
def pipeline(archive: Archive, registry_url: str, tmp_path: Path) -> Pipeline:
    """Return a pipeline whose image no other test has."""
    archive.path = tmp_path / "built.tar"
    image = build(archive, layer({**FILES, "app/own": bytes(tmp_path)}), version=tag_of(tmp_path))
    return Pipeline(Container(image), Service(lambda: registry_url))


@pytest.fixture
def rehearse(
    pipeline: Pipeline,
    predictions: list[str],
    start_google: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Rehearse:
    """Return what rehearses a version's release with faults, and the engine that it ran on."""

    async def rehearse(tag: str, *faults: str) -> tuple[str, Engine]:
        engine = Engine(start_google, tag, *faults)
        monkeypatch.setattr(release_rehearsal, "dag", engine)
        monkeypatch.setattr("releasing.publishing.dag", engine)
        rehearsal = Rehearsal(tag, faults)
        drafts = [pipeline.draft(each) for each in rehearsal.tags]
        made: Any = (drafts, engine.programs, Container(Path()), None, lambda line: None)
        try:
            return await rehearsal.run("rehearsed", *made), engine
        finally:
            assert not engine.programs.service.running

    return rehearse


async def release(
    pipeline: Pipeline,
    target: reference.Image,
    identity: Identity | None = None,
    printed: Callable[[str], None] = print,
    *,
    commit: Commit = COMMIT,
    **allowed: bool,
) -> reference.Release:
    """Release from a pipeline that has no engine."""
    draft, access = pipeline.draft(target.tag, commit), pipeline.access(identity)
    return await made_release(draft, target, access, Steps(printed), Allowed(**allowed), Signing(UNSIGNED))


def image(registry: str, tag: str) -> reference.Image:
    return reference.image(registry, "rehearsed", tag)


async def test_a_rehearsal_ends_with_what_it_released(
    rehearse: Rehearse, pipeline: Pipeline, predictions: list[str], tmp_path: Path
) -> None:
    tag = tag_of(tmp_path)
    report, engine = await rehearse(tag)
    *steps, last = TIMES.sub("", report).splitlines()
    name, digest = last.split("@")
    assert name == f"us-central1-docker.pkg.dev/rehearsal-project/models/rehearsed:{tag}"
    assert steps == [
        "start a registry, and a stand-in for GitHub and Google",
        "lint",
        "mint a token for us-central1-docker.pkg.dev",
        "train",
        "build",
        "test",
        "try the image",
        f"          signature: {WORKFLOW}@refs/tags/{tag}, entry 5 of the log",
        "sign the provenance",
        f"push {name}",
        f"pull and verify {digest}",
        "run it and call /predict",
        "          refused: another workflow: assertion.workflow_ref.contains('/.github/workflows/milestone2-"
        "ci.yml@refs/tags/v') fails on 'rehearsal/milestone2/.github/workflows/other.yml@refs/tags/"
        f"{tag}'",
        "          refused: another event: assertion.event_name=='push' fails on 'workflow_dispatch'",
        "          refused: a branch: assertion.ref.startsWith('refs/tags/v') fails on 'refs/heads/main'",
        "          refused: production without its environment: attribute.environment/2002:none",
        "          refused: production from staging: attribute.environment/2002:staging",
        "check that other runs are refused",
    ]
    assert (pipeline.made, pipeline.checked) == (["train", f"build {tag}"], ["parts", "lint", "test"])
    assert predictions == [tag, tag]
    assert [file.name for file in engine.imported] == ["image.tar", "verified.tar"]


async def test_a_rehearsal_ends_with_the_explanation_of_what_does_not_pass(
    rehearse: Rehearse, tmp_path: Path
) -> None:
    with pytest.raises(RehearsalFailed) as raised:
        await rehearse(tag_of(tmp_path), "iam:403")
    steps, _, printed = TIMES.sub("", raised.value.message).partition(": failed\n")
    assert steps.splitlines()[-1] == "mint a token for us-central1-docker.pkg.dev"
    assert "iam: generateAccessToken of publisher@" in printed
    assert "  fix: " in printed


async def test_a_rehearsal_refuses_a_misspelt_fault_and_a_tag_that_is_no_version() -> None:
    with pytest.raises(InvalidFault, match="'sts' is no fault"):
        Rehearsal("v1.0.0", ["sts"])
    with pytest.raises(InvalidReference, match="'latest' moves"):
        Rehearsal("latest", [])


async def test_an_identity_is_of_no_use_to_the_local_registry(pipeline: Pipeline) -> None:
    identity: Any = object()
    with pytest.raises(InvalidIdentity, match="give --registry, too"):
        await release(pipeline, image("localhost:5000", "v1.0.0"), identity, stand_in=True)


async def test_a_release_without_the_identity_that_it_speaks_of_ends_before_anything_is_made(
    pipeline: Pipeline, setup: CloudSetup
) -> None:
    without_source = Identity(Provider.of(setup.provider.resource), None, Given(), Endpoints())
    target = image(setup.repository.uri, "v1.0.0")
    with pytest.raises(IdentityError, match=r"no identity is given[^$]*id-token: write"):
        await release(pipeline, target, without_source)
    assert not pipeline.made


async def test_what_is_made_from_a_stand_in_goes_to_a_remote_registry_only_if_allowed(
    pipeline: Pipeline,
    predictions: list[str],
    archive: Archive,
    google: str,
    setup: CloudSetup,
    tmp_path: Path,
) -> None:
    build(archive, version=tag_of(tmp_path), labels={archive_reader.STAND_IN_LABEL: "python:3.11"})
    target, identity = image(setup.repository.uri, tag_of(tmp_path)), job_identity(google, setup)
    printed: list[str] = []
    with pytest.raises(StandInRefused, match="--allow-stand-in"):
        await release(pipeline, target, identity)
    await release(pipeline, target, identity, printed.append, stand_in=True)
    assert "          allowed here: it is made from a stand-in for python:3.11" in printed
    assert await release(pipeline, image("localhost:5000", target.tag))


async def test_what_is_more_than_a_commit_goes_to_no_remote_registry_unless_rehearsed(
    pipeline: Pipeline, predictions: list[str], google: str, setup: CloudSetup, tmp_path: Path
) -> None:
    target, identity = image(setup.repository.uri, tag_of(tmp_path)), job_identity(google, setup)
    dirty = replace(COMMIT, dirty=True)
    with pytest.raises(DirtyRefused, match="changes that commit cccccccccccc has not, which only the local"):
        await release(pipeline, target, identity, commit=dirty)
    assert not pipeline.made
    printed: list[str] = []
    await release(pipeline, target, identity, printed.append, commit=dirty, dirty=True)
    assert printed[0] == "          allowed here: the work tree has changes that commit cccccccccccc has not"
    local = await release(pipeline, image("localhost:5000", target.tag), commit=dirty)
    assert await release(pipeline, local.image, None, printed.append, commit=dirty) == local
    assert any(line.endswith(f"is {local.digest} already; nothing to push") for line in printed)
    async with connect(pipeline.local.address, local.image.repository) as repository:
        pulled = await pull(repository, local.digest, tmp_path / "dirty.tar")
        assert pulled.labels["org.opencontainers.image.revision"] == f"{'c' * 40}-dirty"


async def test_images_are_listed_with_the_newest_first(
    archive: Archive, registry_url: str, tmp_path: Path
) -> None:
    now = datetime(2026, 7, 1, tzinfo=UTC)
    ages = {"v1.0.0": timedelta(days=2, hours=5), "v1.0.1": timedelta(minutes=90), "v1.0.2": timedelta(0)}
    async with connect(registry_url, f"listed/{tag_of(tmp_path)}") as repository:
        assert await registry_listing.list_releases(repository) == f"{repository.name}: no images"
        digests = {}
        for tag, age in ages.items():
            configuration = json.dumps({"created": (now - age).isoformat()}).encode()
            archive.index(archive.add_manifest(b"0" * 1_200_000, configuration=configuration))
            await repository.publish(built := archive_reader.read(archive.write()), tag)
            digests[tag] = built.digest
        assert (await registry_listing.list_releases(repository, now)).splitlines() == [
            f"v1.0.2  {digests['v1.0.2']}  0 s  1.2 MB",
            f"v1.0.1  {digests['v1.0.1']}  1 h  1.2 MB",
            f"v1.0.0  {digests['v1.0.0']}  2 d  1.2 MB",
        ]


async def test_an_image_that_does_not_say_when_it_was_made_is_not_listed(
    archive: Archive, registry_url: str, tmp_path: Path
) -> None:
    archive.index(archive.add_manifest(b"one"))
    async with connect(registry_url, f"dateless/{tag_of(tmp_path)}") as repository:
        await repository.publish(archive_reader.read(archive.write()), "v1.0.0")
        with pytest.raises(RegistryError, match=r"v1.0.0 is no plain image: KeyError\('created'\)"):
            await registry_listing.list_releases(repository)
