"""Signatures as the sigstore package verifies them, and every reason to refuse one."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from errors import InvalidTrust, NotVerified
from fakecloud.sigstore.certificate_authority import Authority
from fakecloud.sigstore.certificate_log import CertificateLog
from fakecloud.sigstore.keys import authority, log_instance
from fakecloud.sigstore.rekor import Rekor
from fakecloud.sigstore.timestamp_authority import TimestampAuthority
from fakecloud.state.fixtures import Job
from signing.policy import Policy
from signing.trust import Trust
from signing.verification import Signatures
from tests.ci.sigstore_lab import COMMIT, JOB, POLICY, RELEASE, Lab, provenance, sigstore_lab
from tests.conftest import ROOT

pytestmark = pytest.mark.anyio
Document = dict[str, Any]
NAME = "https://github.com/rehearsal/milestone2/.github/workflows/milestone2-ci.yml@refs/tags/v1.0.0"


async def refusal(signatures: Signatures, bundle: bytes, statement: bytes = provenance()) -> str:
    """Return why a bundle of the usual release is refused."""
    with pytest.raises(NotVerified, match=r"^signature: us-central1-docker.pkg.dev/") as raised:
        await signatures.verify(bundle, RELEASE, statement, signatures.policy)
    return raised.value.problem


async def test_a_signature_says_who_signed_and_where_the_log_has_it(lab: Lab) -> None:
    found = await lab.signatures.verify(await lab.sign(), RELEASE, provenance(), POLICY)
    assert found.startswith(f"signature: {NAME}, entry ")


async def test_a_bundle_has_a_promise_a_proof_and_a_timestamp(lab: Lab) -> None:
    material = json.loads(await lab.sign())["verificationMaterial"]
    entry = material["tlogEntries"][0]
    assert entry["inclusionPromise"]
    assert len(entry["inclusionProof"]["hashes"]) >= 2
    assert len(material["timestampVerificationData"]["rfc3161Timestamps"]) == 1


@pytest.mark.parametrize(
    ("job", "clause"),
    [
        (replace(JOB, repository_id="7"), "repository id: the certificate says '7', the policy demands"),
        (replace(JOB, owner_id="7"), "owner id: the certificate says '7', the policy demands '1001'"),
        (replace(JOB, ref="refs/tags/v1.0.1"), "ref: the certificate says 'refs/tags/v1.0.1'"),
        (replace(JOB, ref="refs/heads/main"), "ref: the certificate says 'refs/heads/main'"),
        (
            replace(JOB, commit="d" * 40),
            f"commit: the certificate says '{'d' * 40}', the policy demands '{COMMIT}'",
        ),
        (replace(JOB, runner_environment="self-hosted"), "runner: the certificate says 'self-hosted'"),
    ],
)
async def test_a_signature_of_another_job_is_refused_by_the_clause(lab: Lab, job: Job, clause: str) -> None:
    assert clause in await refusal(lab.signatures, await lab.sign(job=job))


async def test_a_signature_of_another_workflow_is_refused_by_three_clauses(lab: Lab) -> None:
    message = await refusal(
        lab.signatures, await lab.sign(job=replace(JOB, workflow=".github/workflows/x.yml"))
    )
    for clause in ("build signer", "build configuration", "name"):
        assert f"{clause}: the certificate says 'https://github.com/re" in message


async def test_a_signature_by_another_issuer_s_token_is_refused_by_the_clause(lab: Lab) -> None:
    elsewhere = Signatures(lab.trust(), replace(POLICY, issuer="https://gitlab.com"))
    message = await refusal(elsewhere, await lab.sign())
    assert "issuer: the certificate says 'https://token.actions.githubusercontent.com'" in message


async def test_all_clauses_that_fail_are_reported(lab: Lab) -> None:
    message = await refusal(Signatures(lab.trust(), Policy("7", "8")), await lab.sign())
    assert [line.partition(":")[0].strip() for line in message.splitlines()[1:]] == [
        "repository id",
        "owner id",
    ]


async def test_a_replayed_bundle_is_refused_as_of_another_image_and_statement(lab: Lab) -> None:
    other = provenance(f"sha256:{'b' * 64}")
    replayed = await lab.sign(other)
    message = await refusal(lab.signatures, replayed)
    assert f"subject: it is sha256:{'b' * 64}, not {RELEASE.digest}" in message
    assert "payload: it is not the provenance that is attached to the image" in message
    with_its_own = await refusal(lab.signatures, replayed, other)
    assert "payload:" not in with_its_own
    assert "subject: it is sha256:bbb" in with_its_own


def change_bundle(bundle: bytes, change: Callable[[Document], object]) -> bytes:
    """Return a bundle after a change."""
    document = json.loads(bundle)
    change(document)
    return json.dumps(document).encode()


def entry(bundle: Document) -> Document:
    found: Document = bundle["verificationMaterial"]["tlogEntries"][0]
    return found


def flip_text(text: str) -> str:
    """Return bytes in base64 with another last bit."""
    content = bytearray(base64.b64decode(text))
    content[-1] ^= 1
    return base64.b64encode(content).decode()


def flip(document: Document, name: str) -> None:
    document[name] = flip_text(document[name])


def without_time(bundle: Document) -> None:
    del entry(bundle)["inclusionPromise"], bundle["verificationMaterial"]["timestampVerificationData"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda it: entry(it).pop("inclusionProof"), "inclusionProof"),
        (lambda it: entry(it)["inclusionProof"].pop("checkpoint"), "entry must contain inclusion proof"),
        (lambda it: entry(it)["inclusionProof"]["hashes"].pop(), "inclusion proof has wrong size"),
        (
            lambda it: flip(entry(it)["inclusionProof"], "rootHash"),
            "inclusion proof contains invalid root hash",
        ),
        (
            lambda it: flip(entry(it)["inclusionPromise"], "signedEntryTimestamp"),
            "SET: invalid inclusion promise",
        ),
        (lambda it: entry(it).update(integratedTime=str(int(time.time()) + 86_400)), "cert is not valid"),
        (lambda it: entry(it).update(integratedTime="1"), "cert is not valid"),
        (without_time, "bundle must contain an inclusion promise or signed timestamp"),
        (lambda it: it["verificationMaterial"].update(tlogEntries=[]), "expected exactly one log entry"),
        (lambda it: it["verificationMaterial"].pop("certificate"), "certificate"),
        (
            lambda it: it["dsseEnvelope"].update(payload=base64.b64encode(b"{}").decode()),
            "DSSE: invalid signature",
        ),
        (lambda it: flip(it["dsseEnvelope"]["signatures"][0], "sig"), "DSSE: invalid signature"),
        (lambda it: it["dsseEnvelope"].update(payloadType="text/plain"), "DSSE: invalid signature"),
        (lambda it: it["dsseEnvelope"].update(signatures=[]), "exactly one signature"),
        (lambda it: it.pop("dsseEnvelope"), "dsse"),
        (lambda it: it.update(mediaType="text/plain"), "mediaType"),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
async def test_a_bundle_that_was_changed_is_refused(
    lab: Lab, change: Callable[[Document], object], why: str
) -> None:
    assert why.lower() in (await refusal(lab.signatures, change_bundle(await lab.sign(), change))).lower()


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"no JSON", b"\xff", b"[" * 100_000, b'{"a": 1e999}'])
async def test_what_is_no_bundle_is_refused(lab: Lab, content: bytes) -> None:
    assert await refusal(lab.signatures, content)


async def test_the_log_entry_of_another_signature_is_refused(lab: Lab) -> None:
    signed, later = await lab.sign(), json.loads(await lab.sign())  # an earlier one is before the certificate

    def swap(bundle: Document) -> None:
        entry(bundle).update(entry(later))

    assert "log entry" in await refusal(lab.signatures, change_bundle(signed, swap))


@pytest.mark.parametrize(
    ("part", "foreign", "why"),
    [
        ("tlogs", lambda key: [log_instance(Rekor(time.time).key, "http://log")], "checkpoint: "),
        ("ctlogs", lambda key: [log_instance(CertificateLog().key, "http://log")], "SCT verify failed"),
        (
            "certificateAuthorities",
            lambda name: [authority("http://ca", name, *chain(Authority.of_certificates(name)))],
            "failed to build timestamp certificate chain",
        ),
    ],
)
async def test_what_a_foreign_key_stands_for_is_refused(
    lab: Lab, part: str, foreign: Callable[[str], list[Document]], why: str
) -> None:
    trust = lab.trust(**{part: foreign("fulcio")})
    assert why in await refusal(Signatures(trust, POLICY), await lab.sign())


def chain(found: Authority) -> tuple[bytes, bytes]:
    return found.issuer.der, found.root.der


async def test_a_foreign_timestamp_alone_is_no_time(lab: Lab) -> None:
    foreign = authority("http://tsa", "timestamps", *chain(Authority.of_timestamps("timestamps")))
    signatures = Signatures(lab.trust(timestampAuthorities=[foreign]), POLICY)
    bundle = change_bundle(await lab.sign(), lambda it: entry(it).pop("inclusionPromise"))
    assert "not enough sources of verified time" in await refusal(signatures, bundle)


async def test_a_certificate_that_had_expired_when_it_signed_is_refused() -> None:
    def late() -> float:
        return time.time() + 660

    with sigstore_lab(rekor=Rekor(late), timestamps=TimestampAuthority(late)) as lab:
        assert "cert is not valid at validation time" in await refusal(lab.signatures, await lab.sign())


async def test_trust_that_is_no_trusted_root_is_refused_with_the_command_that_writes_one() -> None:
    with pytest.raises(InvalidTrust, match="dagger call update` writes both"):
        Trust("{}", "{}").client()
    with pytest.raises(InvalidTrust, match=r"deploy/sigstore/trusted_root.json"):
        Trust("no JSON", "{}").client()


def test_the_pinned_files_are_those_of_the_pinned_package() -> None:
    from sigstore._utils import read_embedded

    site = "https://tuf-repo-cdn.sigstore.dev"
    folder = ROOT / "deploy/sigstore"
    assert (folder / "trusted_root.json").read_bytes() == read_embedded("trusted_root.json", site)
    assert (folder / "signing_config.json").read_bytes() == read_embedded("signing_config.v0.2.json", site)
    files = [(folder / name).read_text() for name in ("trusted_root.json", "signing_config.json")]
    assert Trust(*files).client()
