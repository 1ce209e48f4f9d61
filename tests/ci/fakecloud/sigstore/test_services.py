"""The fake Sigstore's refusals: Fulcio's, Rekor's and the timestamp authority's."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from rfc3161_client import TimestampRequestBuilder, VerifierBuilder, decode_timestamp_response
from rfc3161_client.base import HashAlgorithm

from fakecloud.identity.keys import KeyRing
from fakecloud.sigstore import merkle_tree
from fakecloud.sigstore.fulcio import Fulcio
from fakecloud.sigstore.paths import FULCIO, REKOR, TIMESTAMPS
from tests.ci.sigstore_lab import JOB, Lab, sigstore_lab

CREDENTIALS = "There was an error processing the credentials for this request"
IDENTITY = "There was an error processing the identity token"
UNPARSED = "The certificate signing request could not be parsed"
INSECURE = "The public key supplied in the request is insecure"
STATEMENT = b'{"_type":"https://in-toto.io/Statement/v1"}'


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with sigstore_lab() as lab:
        yield lab


def signing_request(key: Any = None) -> bytes:
    """Return a certificate signing request in PEM."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    signed = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(Encoding.PEM)


def ask(lab: Lab, token: str | None, request: bytes | None = None) -> httpx.Response:
    """Ask for a certificate."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    pem = base64.b64encode(request or signing_request()).decode()
    return httpx.post(
        f"{lab.base}{FULCIO}", json={"certificateSigningRequest": pem}, headers=headers, timeout=60
    )


def forge(lab: Lab, ring: KeyRing | None = None, changed: Mapping[str, object] | None = None) -> str:
    """Return a token with some of its claims changed, and without those that are None."""
    claims = {**jwt.decode(lab.token().reveal(), options={"verify_signature": False}), **(changed or {})}
    present, now = {name: value for name, value in claims.items() if value is not None}, time.time()
    return (ring or lab.github.ring).sign(present, now=now, until=now + 300)


def test_a_certificate_says_what_the_token_says_and_lasts_ten_minutes(lab: Lab) -> None:
    chain = ask(lab, lab.token().reveal()).raise_for_status().json()["signedCertificateEmbeddedSct"]["chain"]
    leaf, issuer, root = (x509.load_pem_x509_certificate(each.encode()) for each in chain["certificates"])
    leaf.verify_directly_issued_by(issuer)
    issuer.verify_directly_issued_by(root)
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds() == 600
    assert not list(leaf.subject)
    values = {each.oid.dotted_string: each.value for each in leaf.extensions}
    plain = [values[f"1.3.6.1.4.1.57264.1.{number}"].public_bytes() for number in (1, 2, 3, 4, 5, 6)]
    assert plain == [
        b"https://token.actions.githubusercontent.com",
        b"push",
        JOB.commit.encode(),
        b"CI",
        b"rehearsal/milestone2",
        b"refs/tags/v1.0.0",
    ]
    assert {f"1.3.6.1.4.1.57264.1.{number}" for number in range(8, 23)} <= values.keys()


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "https://iam.googleapis.com/projects/1"},
        {"aud": ["sigstore"]},
        {"aud": {"sigstore": 1}},
        {"iss": "https://gitlab.com"},
        {"job_workflow_ref": None},  # as another provider's has none
        {"exp": 1},
        {"exp": "later"},
        {"nbf": 2**40},
    ],
)
def test_a_token_that_is_not_for_sigstore_has_no_certificate(lab: Lab, changed: dict[str, object]) -> None:
    answer = ask(lab, forge(lab, changed=changed))
    assert (answer.status_code, answer.json()["message"]) == (401, IDENTITY)


def test_a_token_of_a_foreign_key_or_none_has_no_certificate(lab: Lab) -> None:
    for token, why in ((forge(lab, KeyRing()), IDENTITY), ("a.b.c", IDENTITY), (None, CREDENTIALS)):
        answer = ask(lab, token)
        assert (answer.status_code, answer.json()) == (401, {"code": 16, "message": why})


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (b"no PEM", UNPARSED),
        (signing_request(rsa.generate_private_key(65537, 2048)), INSECURE),
        (signing_request(ec.generate_private_key(ec.SECP384R1())), INSECURE),
    ],
    ids=["none", "rsa", "p384"],
)
def test_a_request_without_a_key_on_p256_has_no_certificate(lab: Lab, request_: bytes, why: str) -> None:
    answer = ask(lab, lab.token().reveal(), request_)
    assert (answer.status_code, answer.json()["message"]) == (400, why)


def test_a_request_that_proves_no_possession_has_no_certificate(lab: Lab) -> None:
    der = bytearray(x509.load_pem_x509_csr(signing_request()).public_bytes(Encoding.DER))
    der[-1] ^= 1
    pem = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    answer = ask(lab, lab.token().reveal(), pem)
    assert answer.json()["message"] == "The signature supplied in the request could not be verified"


def test_a_body_that_is_no_request_is_refused(lab: Lab) -> None:
    headers = {"Authorization": f"Bearer {lab.token().reveal()}"}
    for body in (b"", b"[]", b'{"certificateSigningRequest": 1}'):
        answer = httpx.post(f"{lab.base}{FULCIO}", content=body, headers=headers, timeout=60)
        assert (answer.status_code, answer.json()["message"]) == (400, UNPARSED)


def make_proposal(lab: Lab, **changed: object) -> dict[str, Any]:
    """Return an entry as clients propose it, with parts of its content changed."""
    key = ec.generate_private_key(ec.SECP256R1())
    fulcio: Fulcio = lab.sigstore.fulcio
    claims = jwt.decode(lab.token().reveal(), options={"verify_signature": False})
    certificate = fulcio.certificate(key.public_key(), claims).public_bytes(Encoding.PEM)
    kind = "application/vnd.in-toto+json"
    message = f"DSSEv1 {len(kind)} {kind} {len(STATEMENT)} ".encode() + STATEMENT
    signature = key.sign(message, ec.ECDSA(hashes.SHA256()))
    encoded = [base64.b64encode(each).decode() for each in (STATEMENT, signature, certificate)]
    envelope = {"payload": encoded[0], "payloadType": kind, "signatures": [{"sig": encoded[1]}]}
    content = {"envelope": json.dumps(envelope), "verifiers": encoded[2:]} | changed
    return {"apiVersion": "0.0.1", "kind": "dsse", "spec": {"proposedContent": content}}


def add(lab: Lab, entry: object) -> httpx.Response:
    return httpx.post(f"{lab.base}{REKOR}/api/v1/log/entries", json=entry, timeout=60)


def test_an_entry_is_taken_once(lab: Lab) -> None:
    entry = make_proposal(lab)
    [(name, taken)] = add(lab, entry).raise_for_status().json().items()
    body = json.loads(base64.b64decode(taken["body"]))
    assert body["spec"]["payloadHash"]["value"] == hashlib.sha256(STATEMENT).hexdigest()
    assert len(name) == 80
    again = add(lab, entry)
    assert (again.status_code, again.json()["code"]) == (409, 409)


def test_an_entry_whose_signature_is_not_its_verifier_s_is_refused(lab: Lab) -> None:
    other = make_proposal(lab)["spec"]["proposedContent"]["verifiers"]
    changes: list[dict[str, object]] = [
        {"verifiers": other},
        {"verifiers": []},
        {"envelope": "{}"},
        {"envelope": "no JSON"},
    ]
    for changed in changes:
        answer = add(lab, make_proposal(lab, **changed))
        assert answer.status_code == 400
        assert answer.json()["message"] == "error processing entry: could not verify envelope"


@pytest.mark.parametrize("entry", [{}, [], {"kind": "dsse", "spec": {"proposedContent": {}}}])
def test_what_is_no_entry_is_refused(lab: Lab, entry: object) -> None:
    assert add(lab, entry).json()["message"] == "error processing entry: proposed content is malformed"


def test_an_entry_of_another_kind_is_refused(lab: Lab) -> None:
    answer = add(lab, {**make_proposal(lab), "kind": "hashedrekord"})
    assert answer.json()["message"] == "error processing entry: entry kind 'hashedrekord' is not supported"


def timestamp(lab: Lab, content: bytes) -> httpx.Response:
    return httpx.post(f"{lab.base}{TIMESTAMPS}/api/v1/timestamp", content=content, timeout=60)


def test_a_timestamp_is_of_the_message_and_by_the_authority_s_certificate(lab: Lab) -> None:
    query = TimestampRequestBuilder(hash_algorithm=HashAlgorithm.SHA256).data(b"signature").build()
    assert query.nonce
    reply = decode_timestamp_response(timestamp(lab, query.as_bytes()).raise_for_status().content)
    authority = lab.sigstore.timestamps.authority
    builder = VerifierBuilder().tsa_certificate(authority.issuer.certificate)
    verifier = builder.add_root_certificate(authority.root.certificate).nonce(query.nonce).build()
    assert verifier.verify_message(reply, b"signature")


@pytest.mark.parametrize("content", [b"", b"\x30\x00", b"no DER"])
def test_what_is_no_query_has_no_timestamp(lab: Lab, content: bytes) -> None:
    answer = timestamp(lab, content)
    assert (answer.status_code, answer.json()["message"]) == (400, "Error generating timestamp response")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9])
def test_a_proof_of_inclusion_leads_from_every_leaf_to_the_root(size: int) -> None:
    leaves = [merkle_tree.leaf_hash(bytes([number])) for number in range(size)]
    for index, leaf in enumerate(leaves):
        assert root_of(leaf, index, size, merkle_tree.inclusion(leaves, index)) == merkle_tree.root(leaves)


def root_of(found: bytes, index: int, size: int, proof: list[bytes]) -> bytes:
    """Return the root that a proof leads to, as RFC 9162 verifies it (section 2.1.3.2)."""
    last = size - 1
    for each in proof:
        if index & 1 or index == last:
            found = hashlib.sha256(b"\1" + each + found).digest()
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            found = hashlib.sha256(b"\1" + found + each).digest()
        index, last = index >> 1, last >> 1
    assert last == 0
    return found
