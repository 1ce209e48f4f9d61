"""Verification of a release's signature, offline: by pinned trust, policy and attached provenance."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from errors import NotVerified
from image import provenance
from oci.reference import Release
from oci.repository import Repository
from signing import bundles
from signing.policy import Policy
from signing.trust import Trust

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_SHOWN = 5  # refused bundles
_ENVELOPE = 64 * 1024  # bytes of a bundle beside its payload, and more


@dataclass(frozen=True)
class Signatures:
    """Verifier of signatures; without a policy none is required."""

    trust: Trust
    policy: Policy | None = None

    async def check(self, repository: Repository, release: Release, statement: bytes) -> str:
        """Return what signed a release, given its provenance; raises NotVerified with the failing clauses."""
        if release.image.local:
            return "signature: none, as this is the local registry"
        if self.policy is None:
            return "signature: not demanded, as deploy/environments.toml has no table [signature]"
        problems: list[str] = []
        async for _, said in self.find_accepted(repository, release, statement, self.policy, problems):
            return said
        raise NotVerified(_refusal(problems) if problems else _explain_missing(release))

    async def manifests(self, repository: Repository, release: Release, statement: bytes) -> list[str]:
        """Return the manifests of the signatures that a copy of a release needs.

        It is one that the policy accepts; without a policy, all valid ones of any signer.
        """
        found = []
        async for digest, _ in self.find_accepted(repository, release, statement, self.policy, []):
            found.append(digest)
            if self.policy:
                break
        return found

    async def find_accepted(
        self,
        repository: Repository,
        release: Release,
        statement: bytes,
        policy: Policy | None,
        problems: list[str],
    ) -> AsyncIterator[tuple[str, str]]:
        """Yield each attached bundle that signs a release's provenance: its manifest's digest, what it says.

        Without a policy anybody may have signed. Why others were refused is added to the problems.
        """
        largest = 2 * len(statement) + _ENVELOPE  # the payload is in base64
        async for bundle in bundles.read_attached(repository, release.digest, largest):
            if bundle.problem:
                problems.append(f"signature: {bundle.digest}: {bundle.problem}")
                continue
            try:
                said = await self.verify(bundle.content, release, statement, policy)
            except NotVerified as error:
                problems.append(error.problem)
            else:
                yield bundle.digest, said

    async def verify(self, bundle: bytes, release: Release, statement: bytes, policy: Policy | None) -> str:
        """Return what one bundle says; raises NotVerified unless it signs this statement of this release."""
        verify = partial(_verify, self.trust, bundle, release, statement, policy)
        return await anyio.to_thread.run_sync(verify)


class _Anybody:
    """The policy that the library is given: clauses are compared later, all of them."""

    def verify(self, cert: "Certificate") -> None:
        """Accept a certificate."""


def _verify(trust: Trust, content: bytes, release: Release, statement: bytes, policy: Policy | None) -> str:
    from sigstore.models import Bundle
    from sigstore.verify import Verifier

    verifier = Verifier(trusted_root=trust.client().trusted_root)
    try:
        bundle = Bundle.from_json(content)
        kind, payload = verifier.verify_dsse(bundle, _Anybody())
        certificate = bundle.signing_certificate
        failing = [*_differences(kind, payload, release, statement)]
        if policy:
            failing += policy.failing_clauses(certificate, *_version_and_commit(statement))
    except Exception as error:  # a hostile bundle can make the library raise anything: it is refused
        raise NotVerified(f"signature: {release}: {_describe(error)}") from error
    if failing:
        raise NotVerified("\n  ".join([f"signature: {release}:", *failing]))
    entry = json.loads(bundle.to_json())["verificationMaterial"]["tlogEntries"][0]
    return f"signature: {_name(certificate)}, entry {entry['logIndex']} of the log"


def _differences(kind: str, payload: bytes, release: Release, statement: bytes) -> list[str]:
    """Return which of the clauses fail that bind a signature to an image and its provenance."""
    failing = []
    if kind != provenance.KIND:
        failing.append(f"payload type: it is {kind!r}, not {provenance.KIND!r}")
    subjects = _subjects(payload)
    if subjects != {release.digest}:
        failing.append(f"subject: it is {', '.join(sorted(subjects)) or 'nothing'}, not {release.digest}")
    if payload != statement:
        failing.append("payload: it is not the provenance that is attached to the image")
    return failing


def _subjects(payload: bytes) -> set[str]:
    return {f"sha256:{each['digest']['sha256']}" for each in json.loads(payload)["subject"]}


def _version_and_commit(statement: bytes) -> tuple[str, str]:
    """Return the version and the commit of a provenance."""
    definition: dict[str, Any] = json.loads(statement)["predicate"]["buildDefinition"]
    commits = [each for each in definition["resolvedDependencies"] if each["name"] == "commit"]
    return str(definition["externalParameters"]["tag"]), str(commits[0]["digest"]["gitCommit"])


def _name(certificate: "Certificate") -> str:
    from cryptography.x509 import SubjectAlternativeName

    names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    return ", ".join(str(each.value) for each in names)


def _describe(error: Exception) -> str:
    """Return what the library says in one short line."""
    message = " ".join(str(error).split()) or type(error).__name__
    return f"{message:.500}"


def _refusal(problems: list[str]) -> str:
    """Return why no bundle was accepted, by the first of them."""
    more = [f"and {len(problems) - _SHOWN} more bundles"] if len(problems) > _SHOWN else []
    return "\n".join([*problems[:_SHOWN], *more])


def _explain_missing(release: Release) -> str:
    return (
        f"signature: {release} has none, and deploy/environments.toml demands one in [signature]\n"
        "  fix: publish this version again by the workflow that the table names; a private repository also "
        "needs `--sign-private`, as the public log then shows its name"
    )
