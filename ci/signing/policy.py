"""Policy for signatures: which workflow of which repository may have signed a release, clause by clause.

A clause compares what Fulcio wrote into the certificate: https://github.com/sigstore/fulcio
(`docs/oid-info.md`). Names can get another owner, so repository and owner are compared by number.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

GITHUB = "https://token.actions.githubusercontent.com"
_ARC = "1.3.6.1.4.1.57264.1"
# By the names that errors use.
_EXTENSIONS = {
    "issuer": 8,
    "build signer": 9,
    "runner": 11,
    "repository": 12,
    "commit": 13,
    "ref": 14,
    "repository id": 15,
    "owner id": 17,
    "build configuration": 18,
}


@dataclass(frozen=True)
class Policy:
    """Policy for signatures: the table [signature] of deploy/environments.toml."""

    repository_id: str
    owner_id: str
    issuer: str = GITHUB
    workflow: str = ".github/workflows/milestone2-ci.yml"
    runner: str = "github-hosted"

    @classmethod
    def of_token(cls, claims: Mapping[str, object]) -> Self | None:
        """Return who signs with a token of GitHub's; None when it names no workflow."""
        workflow, at, _ = str(claims.get("workflow_ref")).partition("@")
        named = f"{claims.get('repository')}/"
        if not at or not workflow.startswith(named):
            return None
        return cls(
            str(claims.get("repository_id")),
            str(claims.get("repository_owner_id")),
            str(claims.get("iss")),
            workflow.removeprefix(named),
            str(claims.get("runner_environment")),
        )

    def failing_clauses(self, certificate: "Certificate", tag: str, commit: str) -> list[str]:
        """Return the clauses that a certificate does not fulfil, for one version of one commit."""
        said = _read_claims(certificate)
        signer = f"{said['repository']}/{self.workflow}@refs/tags/{tag}"
        demanded = {
            "issuer": self.issuer,
            "repository id": self.repository_id,
            "owner id": self.owner_id,
            "ref": f"refs/tags/{tag}",
            "commit": commit,
            "runner": self.runner,
            "build signer": signer,
            "build configuration": signer,
            "name": signer,
        }
        return [
            f"{clause}: the certificate says {said[clause]!r}, the policy demands {value!r}"
            for clause, value in demanded.items()
            if said[clause] != value
        ]


def _read_claims(certificate: "Certificate") -> dict[str, str | None]:
    """Return what a certificate says, None where it says nothing or no text; raises ValueError."""
    return {"name": _name(certificate), **dict(_texts(certificate))}


def _name(certificate: "Certificate") -> str | None:
    """Return the one name that the certificate is for; None when there are others, too."""
    from cryptography.x509 import ExtensionNotFound, SubjectAlternativeName, UniformResourceIdentifier

    try:
        names = list(certificate.extensions.get_extension_for_class(SubjectAlternativeName).value)
    except ExtensionNotFound:
        return None
    if len(names) != 1 or not isinstance(names[0], UniformResourceIdentifier):
        return None
    return names[0].value


def _texts(certificate: "Certificate") -> Iterator[tuple[str, str | None]]:
    from cryptography.hazmat import asn1

    found = {each.oid.dotted_string: each.value.public_bytes() for each in certificate.extensions}
    for name, number in _EXTENSIONS.items():
        content = found.get(f"{_ARC}.{number}")
        yield name, None if content is None else asn1.decode_der(str, content)
