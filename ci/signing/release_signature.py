"""The signature of a release that is published: made once, with the job's identity, where it may be public.

Sigstore's public log shows for ever which repository signed. So a public repository signs by default,
a private one only with --sign-private.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from keyless.oidc_sources import Given, identity_token
from net.retry_policy import Retrying
from net.tokens import Token
from oci.reference import Release
from oci.repository import Repository
from signing.policy import Policy
from signing.signer import sign
from signing.verification import Signatures

AUDIENCE = "sigstore"
_VISIBILITY = ("repository_visibility", "project_visibility")  # GitHub's and GitLab's claims


@dataclass(frozen=True)
class Consent:
    """Consent to sign a release: a token meant for Sigstore, or the agreement of a private repository."""

    token: Token | None = None
    private: bool = False


@dataclass(frozen=True)
class Signing:
    """Signing of releases: the consent to it, and the trust and policy that signatures are checked by."""

    signatures: Signatures
    consent: Consent = Consent()

    async def bundle(
        self,
        repository: Repository,
        release: Release,
        statement: bytes,
        given: Given,
        client: Retrying,
        note: Callable[[str], None],
    ) -> bytes | None:
        """Return the bundle to attach to a release; None where a valid one is, or where none is to be made.

        Raises IdentityError, SigningFailed, or NotVerified when the policy would not accept the new one.
        """
        token = self.consent.token or await _request_token(given, client)
        if why := self._refusal(release, token):
            note(f"not signed: {why}")
        if why or token is None:
            return None
        if await self._is_signed(repository, release, statement, token):
            note("signed already")
            return None
        bundle = await sign(self.signatures.trust, token, statement, client)
        note(await self.signatures.verify(bundle, release, statement, self.signatures.policy))
        return bundle

    def _refusal(self, release: Release, token: Token | None) -> str | None:
        """Return why a release is not signed, None when it is to be."""
        if release.image.local:
            return "this is the local registry"
        if token is None:
            return "the CI system issues no token for Sigstore; give --sigstore-token"
        return None if self.consent.token else refusal(token.claims(), private=self.consent.private)

    async def _is_signed(
        self, repository: Repository, release: Release, statement: bytes, token: Token
    ) -> bool:
        """Return whether the policy's signer or, without a policy, this job has signed a release already."""
        policy = self.signatures.policy or Policy.of_token(token.claims())
        if policy is None:
            return False
        async for _ in self.signatures.find_accepted(repository, release, statement, policy, []):
            return True
        return False


def refusal(claims: Mapping[str, object], *, private: bool) -> str | None:
    """Return why the owner of a token may not want to be in the public log; None when they may sign."""
    visibility = next((claims[name] for name in _VISIBILITY if name in claims), "unknown")
    if private or visibility == "public":
        return None
    return f"the repository is {visibility}, the public log would show its name; give --sign-private to agree"


async def _request_token(given: Given, client: Retrying) -> Token | None:
    """Return a token for Sigstore where the CI system issues tokens for any audience."""
    return await identity_token(given, AUDIENCE, client) if given.url else None
