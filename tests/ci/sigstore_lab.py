"""A Sigstore of one's own behind a port, a job of GitHub's that signs there, and a provenance to sign."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.applications import Starlette

from fakecloud.fake_app import respond_to_refusal
from fakecloud.identity.github import GitHub
from fakecloud.sigstore.sigstore_services import Sigstore, signing_config
from fakecloud.state.fixtures import Job, usual_setup
from fakecloud.state.ledger import Clock
from fakecloud.state.refusals import Refusal
from net.retry_policy import patient
from net.tokens import Token
from oci.reference import Image, Release
from signing.policy import Policy
from signing.signer import sign
from signing.trust import Trust
from signing.verification import Signatures
from tests.ci.connections import serve

DIGEST, COMMIT, TAG = f"sha256:{'a' * 64}", "c" * 40, "v1.0.0"
JOB = Job(commit=COMMIT, visibility="public")
POLICY = Policy(JOB.repository_id, JOB.owner_id)
UNSIGNED = Signatures(Trust("", ""))  # demands no signature
RELEASE = Release(Image("us-central1-docker.pkg.dev", "project/models/milestone2", TAG), DIGEST)


def provenance(digest: str = DIGEST, tag: str = TAG, commit: str = COMMIT) -> bytes:
    """Return as much of a provenance as its signature depends on."""
    definition: dict[str, object] = {
        "externalParameters": {"tag": tag},
        "resolvedDependencies": [{"digest": {"gitCommit": commit}, "name": "commit"}],
    }
    subject = [{"digest": {"sha256": digest.removeprefix("sha256:")}, "name": "milestone2"}]
    statement: dict[str, object] = {"_type": "https://in-toto.io/Statement/v1"}
    statement |= {"predicate": {"buildDefinition": definition}, "subject": subject}
    statement["predicateType"] = "https://slsa.dev/provenance/v1"
    return json.dumps(statement).encode()


@dataclass
class Lab:
    """A Sigstore and what trusts it."""

    sigstore: Sigstore
    github: GitHub
    base: str
    signatures: Signatures = field(init=False)

    def __post_init__(self) -> None:
        """Trust this Sigstore, and whom the policy names."""
        self.signatures = Signatures(self.trust(), POLICY)

    def trust(self, **changed: Any) -> Trust:
        """Return the trust in this Sigstore, with parts of its root changed."""
        root = self.sigstore.trusted_root(self.base) | changed
        return Trust(json.dumps(root), json.dumps(signing_config(self.base)))

    def token(self, audience: str = "sigstore", job: Job = JOB) -> Token:
        """Return an identity token of a job."""
        return Token(replace(self.github, setup=replace(self.github.setup, job=job)).token(audience))

    async def sign(self, statement: bytes = provenance(), job: Job = JOB) -> bytes:
        """Return a job's bundle of a statement."""
        async with patient() as client:
            return await sign(self.trust(), self.token(job=job), statement, client)


@contextmanager
def sigstore_lab(now: Callable[[], float] = time.time, **parts: Any) -> Iterator[Lab]:
    """Start a Sigstore by a clock, with some of its parts exchanged, and yield it."""
    setup = usual_setup("the-request-token", JOB)
    github = GitHub(setup, Clock())
    sigstore = replace(Sigstore.of(setup.issuer, github.ring, now), **parts)
    app = Starlette(routes=sigstore.routes, exception_handlers={Refusal: respond_to_refusal})
    with serve(app) as address:
        yield Lab(sigstore, github, address)
