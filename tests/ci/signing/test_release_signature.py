"""Signature of a published release: conditions for signing and for signing again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from errors import NotVerified, RegistryError
from fakecloud import addresses
from fakecloud.sigstore import paths
from fakecloud.state.fixtures import Job, usual_setup
from image import archive_reader, canonical_json
from image.archive_reader import INDEX, MANIFEST, Layout
from keyless.oidc_sources import Given
from net.retry_policy import Retrying, patient
from net.tokens import Token
from oci.manifests import Manifest
from oci.reference import Image, Release
from oci.repository import Repository, open_with
from signing import bundles
from signing.policy import Policy
from signing.release_signature import Consent, Signing, refusal
from signing.trust import Trust
from signing.verification import Signatures
from tests.ci.releaser import Releaser
from tests.ci.sigstore_lab import JOB, POLICY, TAG, provenance

if TYPE_CHECKING:
    from tests.ci.conftest import Archive

pytestmark = pytest.mark.anyio
NO_CONSENT = Consent()


@dataclass
class Publisher:
    """A job that signs an image in a registry, and its printed lines."""

    google: Releaser
    repository: Repository
    image: Layout
    printed: list[str] = field(default_factory=list)

    @property
    def release(self) -> Release:
        """The release, at a registry that is not local."""
        return Release(Image("us-central1-docker.pkg.dev", "project/m", TAG), self.image.digest)

    @property
    def statement(self) -> bytes:
        """The provenance."""
        return provenance(self.image.digest)

    def make_signing(self, policy: Policy | None = POLICY, consent: Consent = NO_CONSENT) -> Signing:
        """Return how the job signs."""
        files = (self.google.http.get(path).text for path in (paths.TRUSTED_ROOT, paths.SIGNING_CONFIG))
        return Signing(Signatures(Trust(*files), policy), consent)

    def make_given(self) -> Given:
        """Return what the CI system gives the job."""
        address = str(self.google.http.base_url).rstrip("/")
        return Given(addresses.request_url(address), Token(self.google.setup.request_token))

    async def bundle(
        self, signing: Signing, given: Given | None = None, release: Release | None = None
    ) -> bytes | None:
        """Return what the job would attach."""
        async with patient() as client:
            about = (self.repository, release or self.release, self.statement)
            return await signing.bundle(*about, given or self.make_given(), client, self.printed.append)

    async def attach(self, bundle: bytes) -> None:
        """Publish the image with a bundle."""
        await self.repository.publish(self.image, TAG, [bundles.parcel(self.image.manifest, bundle)])


@pytest.fixture
def publish_as(
    release_in: Callable[..., Releaser], repository: Repository, archive: Archive
) -> Callable[[Job], Publisher]:
    """Return what starts a fake cloud for a job."""
    archive.index(archive.add_manifest(b"one"))
    image = archive_reader.read(archive.write())
    return lambda job: Publisher(release_in(usual_setup("ticket", job)), repository, image)


async def test_a_public_repository_signs_and_keeps_its_signature(
    publish_as: Callable[[Job], Publisher],
) -> None:
    publisher = publish_as(JOB)
    bundle = await publisher.bundle(publisher.make_signing())
    assert bundle
    assert publisher.printed.pop().startswith("signature: https://github.com/rehearsal/milestone2/")
    await publisher.attach(bundle)
    for policy in (POLICY, None):  # without one it is held against the job's own token
        assert await publisher.bundle(publisher.make_signing(policy)) is None
        assert publisher.printed.pop() == "signed already"


async def test_a_signature_of_another_signer_is_no_reason_not_to_sign(
    publish_as: Callable[[Job], Publisher],
) -> None:
    stranger = publish_as(replace(JOB, repository_id="7"))
    foreign = await stranger.bundle(stranger.make_signing(None))
    assert foreign
    await stranger.attach(foreign)
    assert await stranger.bundle(stranger.make_signing(None)) is None
    with pytest.raises(NotVerified, match="repository id: the certificate says '7'"):
        await stranger.bundle(stranger.make_signing())
    publisher = replace(publish_as(JOB), printed=[])
    assert await publisher.bundle(publisher.make_signing())


async def test_what_the_policy_would_refuse_is_not_published(publish_as: Callable[[Job], Publisher]) -> None:
    publisher = publish_as(replace(JOB, ref="refs/heads/main", ref_type="branch"))
    with pytest.raises(NotVerified, match="ref: the certificate says 'refs/heads/main'"):
        await publisher.bundle(publisher.make_signing())


async def test_a_private_repository_signs_when_it_agrees_to(publish_as: Callable[[Job], Publisher]) -> None:
    publisher = publish_as(replace(JOB, visibility="private"))
    assert await publisher.bundle(publisher.make_signing()) is None
    why = "the repository is private, the public log would show its name; give --sign-private to agree"
    assert publisher.printed == [f"not signed: {why}"]
    assert await publisher.bundle(publisher.make_signing(consent=Consent(private=True)))


async def test_a_token_for_sigstore_is_agreement_enough(publish_as: Callable[[Job], Publisher]) -> None:
    publisher = publish_as(replace(JOB, visibility="private"))
    token = Token(publisher.google.identity("sigstore").json()["value"])
    assert await publisher.bundle(publisher.make_signing(consent=Consent(token)), Given())


async def test_who_has_no_token_for_sigstore_does_not_sign(publish_as: Callable[[Job], Publisher]) -> None:
    publisher = publish_as(JOB)
    google = Token(publisher.google.identity().json()["value"])
    for given in (Given(), Given(None, google)):
        assert await publisher.bundle(publisher.make_signing(), given) is None
        why = "not signed: the CI system issues no token for Sigstore; give --sigstore-token"
        assert publisher.printed.pop() == why


async def test_nothing_is_signed_for_the_local_registry(publish_as: Callable[[Job], Publisher]) -> None:
    publisher = publish_as(JOB)
    local = replace(publisher.release, image=Image("localhost:5000", "m", TAG))
    assert await publisher.bundle(publisher.make_signing(), release=local) is None
    assert publisher.printed == ["not signed: this is the local registry"]


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"repository_visibility": "public"}, None),
        ({"project_visibility": "public"}, None),
        ({"repository_visibility": "internal"}, "the repository is internal"),
        ({"project_visibility": "private"}, "the repository is private"),
        ({"repository_visibility": ["public"]}, "the repository is ['public']"),
        ({}, "the repository is unknown"),
    ],
)
def test_only_what_is_public_signs_by_itself(claims: Mapping[str, object], why: str | None) -> None:
    found = refusal(claims, private=False)
    assert found is None if why is None else str(found).startswith(why)
    assert refusal(claims, private=True) is None


def test_the_policy_of_a_token_is_its_own_job_s() -> None:
    assert Policy.of_token({**JOB.claims, "iss": POLICY.issuer}) == POLICY
    assert Policy.of_token({"iss": "https://gitlab.com", "sub": "project_path:a/b"}) is None
    assert Policy.of_token({**JOB.claims, "workflow_ref": "other/repository/w.yml@refs/tags/v1"}) is None


async def test_a_bundle_is_attached_as_cosign_attaches_it(publish_as: Callable[[Job], Publisher]) -> None:
    publisher = publish_as(JOB)
    await publisher.attach(b"{}")
    [found] = await publisher.repository.referrers(publisher.image.digest)
    manifest = Manifest("", await publisher.repository.manifest(found.digest)).document
    kind = "application/vnd.dev.sigstore.bundle.v0.3+json"
    annotations = {
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": "https://slsa.dev/provenance/v1",
    }
    assert manifest["artifactType"] == manifest["layers"][0]["mediaType"] == found.kind == kind
    assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    assert manifest["annotations"] == annotations
    fallback = await publisher.repository.manifest(publisher.image.digest.replace(":", "-"))
    assert Manifest("", fallback).document["manifests"][0]["annotations"] == annotations


def foreign(bundle: bytes, count: int) -> list[bytes]:
    """Return bundles without a signature, of the size of a real one."""
    return [bundle.replace(b'"signature', b'"%d", "signature' % number, 1) for number in range(count)]


async def test_one_valid_signature_among_many_others_is_enough(
    publish_as: Callable[[Job], Publisher],
) -> None:
    publisher = publish_as(JOB)
    bundle = await publisher.bundle(publisher.make_signing())
    assert bundle
    others = [b"{}", b"[" * 1000, *foreign(bundle, 25)]
    parcels = [bundles.parcel(publisher.image.manifest, each) for each in (*others, bundle)]
    await publisher.repository.publish(publisher.image, TAG, parcels)
    about = (publisher.repository, publisher.release, publisher.statement)
    signatures = publisher.make_signing().signatures
    assert "entry" in await signatures.check(*about)
    assert await signatures.manifests(*about) == [parcels[-1].manifest.digest]
    assert await publisher.bundle(publisher.make_signing()) is None


async def test_bundles_beyond_the_limit_of_bytes_are_not_read(
    publish_as: Callable[[Job], Publisher],
) -> None:
    publisher = publish_as(JOB)
    parcels = [bundles.parcel(publisher.image.manifest, b"%d" % each) for each in range(9)]
    await publisher.repository.publish(publisher.image, TAG, parcels)
    attached = bundles.read_attached(publisher.repository, publisher.image.digest, 100, most=8 * 16 * 1024)
    with pytest.raises(RegistryError, match="the first 8 of 9 bundles that are attached to sha256:"):
        assert [each async for each in attached]


def without_layers(manifest: dict[str, Any]) -> None:
    manifest["layers"] = 1


def of_a_blob_that_is_not_there(manifest: dict[str, Any]) -> None:
    manifest["layers"][0]["digest"] = f"sha256:{'f' * 64}"


def of_another_size(manifest: dict[str, Any]) -> None:
    manifest["layers"][0]["size"] = 1


@dataclass
class Lying:
    """A registry's answers with one document more that is attached to the image: a bundle that is broken."""

    real: httpx.AsyncHTTPTransport
    content: bytes

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer as the registry does, but for the list and the document."""
        digest = canonical_json.digest(self.content)
        if request.url.path.endswith(f"/manifests/{digest}"):
            return httpx.Response(200, headers={"Content-Type": MANIFEST}, content=self.content)
        answer = await self.real.handle_async_request(request)
        if "/manifests/sha256-" not in request.url.path:
            return answer
        document = json.loads(await answer.aread())
        described = {"artifactType": bundles.KIND, "digest": digest, "mediaType": MANIFEST}
        document["manifests"].insert(0, {**described, "size": len(self.content)})
        return httpx.Response(200, headers={"Content-Type": INDEX}, json=document)


@pytest.mark.parametrize("change", [without_layers, of_a_blob_that_is_not_there, of_another_size])
async def test_a_bundle_that_cannot_be_read_makes_no_valid_one_fail(
    publish_as: Callable[[Job], Publisher], change: Callable[[dict[str, Any]], None]
) -> None:
    publisher = publish_as(JOB)
    bundle = await publisher.bundle(publisher.make_signing())
    assert bundle
    await publisher.attach(bundle)
    manifest = bundles.parcel(publisher.image.manifest, b"{}").manifest.document
    change(manifest)
    async with httpx.AsyncHTTPTransport() as real:
        lying = Lying(real, json.dumps(manifest).encode())
        async with httpx.AsyncClient(transport=httpx.MockTransport(lying.answer), timeout=60) as http:
            wire = publisher.repository.wire
            repository = open_with(Retrying(http), str(wire.base), publisher.repository.name)
            assert len(await repository.referrers(publisher.image.digest)) == 2
            about = (repository, publisher.release, publisher.statement)
            assert "entry" in await publisher.make_signing().signatures.check(*about)


async def test_a_bundle_larger_than_any_of_this_provenance_is_not_read(
    publish_as: Callable[[Job], Publisher],
) -> None:
    publisher = publish_as(JOB)
    await publisher.attach(b" " * 200_000)
    about = (publisher.repository, publisher.release, publisher.statement)
    with pytest.raises(NotVerified, match="it has 200000 bytes, and a signature at most 6"):
        await publisher.make_signing().signatures.check(*about)


async def test_a_release_without_a_valid_signature_is_refused_where_a_policy_demands_one(
    publish_as: Callable[[Job], Publisher],
) -> None:
    publisher = publish_as(JOB)
    await publisher.repository.publish(publisher.image, TAG)
    about = (publisher.repository, publisher.release, publisher.statement)
    with pytest.raises(NotVerified, match=r"has none, and deploy/environments.toml demands one"):
        await publisher.make_signing().signatures.check(*about)
    assert "not demanded" in await publisher.make_signing(None).signatures.check(*about)
    await publisher.attach(b"{}")
    with pytest.raises(NotVerified, match="failed to load bundle"):
        await publisher.make_signing().signatures.check(*about)
