"""Attribute condition of the workload identity provider: setup-google prints it, the rehearsal enforces it,
and doctor checks a token's claims against it.

The condition is a small part of CEL: clauses on one claim each, joined by &&.
https://docs.github.com/en/actions/reference/security/oidc lists the claims of GitHub's tokens.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from advice.attribute_mapping import WORKFLOW
from errors import InvalidCondition

_CLAUSE = re.compile(
    r"""\s*assertion\.(\w+)(?:\s*(==|!=)\s*|\.(startsWith|contains)\(\s*)(['"])([^'"\\]*)\4(\)?)\s*"""
)
_TESTS: dict[str, Callable[[str, str], bool]] = {
    "==": str.__eq__,
    "!=": str.__ne__,
    "startsWith": str.startswith,
    "contains": str.__contains__,
}


@dataclass(frozen=True)
class Clause:
    """One clause: a claim, how it is compared, and with what."""

    claim: str
    test: str
    value: str

    def __str__(self) -> str:
        if self.test.isalpha():
            return f"assertion.{self.claim}.{self.test}('{self.value}')"
        return f"assertion.{self.claim}{self.test}'{self.value}'"

    def holds(self, claims: Mapping[str, object]) -> bool:
        """Return whether the claims satisfy it; case counts, and only a text can."""
        claim = claims.get(self.claim)
        return isinstance(claim, str) and _TESTS[self.test](claim, self.value)


@dataclass(frozen=True)
class Condition:
    """Clauses that all have to hold."""

    clauses: tuple[Clause, ...]

    @classmethod
    def of(cls, repository_id: str, repository_owner_id: str) -> Self:
        """Return the condition for releases of one repository: pushed version tags, on GitHub's own machines.

        The workflow is the one of this pipeline. Its path is compared with no name of the repository, which
        may change; it can stand nowhere else in the claim, as no part of a Git ref begins with a dot.
        """
        for name, number in (("repository", repository_id), ("owner", repository_owner_id)):
            if not re.fullmatch(r"[1-9][0-9]*", number, re.ASCII):
                raise InvalidCondition(
                    f"condition: {number!r} is no {name} id; take the number that "
                    "`gh api repos/OWNER/NAME --jq '.id, .owner.id'` prints"
                )
        return cls(
            (
                Clause("repository_id", "==", repository_id),
                Clause("repository_owner_id", "==", repository_owner_id),
                Clause("ref_type", "==", "tag"),
                Clause("ref", "startsWith", "refs/tags/v"),
                Clause("runner_environment", "==", "github-hosted"),
                Clause("event_name", "==", "push"),
                Clause("workflow_ref", "contains", f"/{WORKFLOW}@refs/tags/v"),
            )
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the condition that a text says; raises InvalidCondition for CEL beyond such clauses."""
        return cls(tuple(_clause(part) for part in text.split("&&")))

    def __str__(self) -> str:
        return " && ".join(map(str, self.clauses))

    def failing_clauses(self, claims: Mapping[str, object]) -> list[Clause]:
        """Return the clauses that the claims do not satisfy."""
        return [clause for clause in self.clauses if not clause.holds(claims)]

    def verdict(self, claims: Mapping[str, object]) -> str:
        """Return which clauses fail and what the claims say instead, nothing when all hold."""
        return "; ".join(
            f"{each} fails on {claims.get(each.claim)!r}" for each in self.failing_clauses(claims)
        )


def _clause(text: str) -> Clause:
    match = _CLAUSE.fullmatch(text)
    if not match or bool(match[3]) != bool(match[6]):
        raise InvalidCondition(
            f"condition: {text.strip()!r} is not understood here; write clauses such as "
            "assertion.ref_type=='tag' or assertion.ref.startsWith('refs/tags/v'), joined by &&"
        )
    return Clause(match[1], match[2] or match[3], match[5])
