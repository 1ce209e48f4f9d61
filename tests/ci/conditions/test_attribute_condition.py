"""The attribute condition: what it says, and which clause a token's claims fail."""

from __future__ import annotations

import celpy
import pytest
from celpy.adapter import json_to_cel

from advice.attribute_mapping import MAPPING
from conditions.attribute_condition import Condition
from errors import InvalidCondition

CLAIMS = {
    "repository_id": "123",
    "repository_owner_id": "45",
    "ref_type": "tag",
    "ref": "refs/tags/v1.0.0",
    "runner_environment": "github-hosted",
    "event_name": "push",
    "workflow_ref": "acme/model/.github/workflows/milestone2-ci.yml@refs/tags/v1.0.0",
    "run_id": "678",
}
CONDITION = Condition.of("123", "45")
TEXT = (
    "assertion.repository_id=='123' && assertion.repository_owner_id=='45' && assertion.ref_type=='tag' "
    "&& assertion.ref.startsWith('refs/tags/v') && assertion.runner_environment=='github-hosted' "
    "&& assertion.event_name=='push' "
    "&& assertion.workflow_ref.contains('/.github/workflows/milestone2-ci.yml@refs/tags/v')"
)
BREACHES = {
    "repository_id": "124",
    "repository_owner_id": "46",
    "ref_type": "branch",
    "ref": "refs/heads/v1",
    "runner_environment": "self-hosted",
    "event_name": "workflow_dispatch",
    "workflow_ref": "acme/model/.github/workflows/other.yml@refs/tags/v1.0.0",
}


def in_cel(expression: str, claims: dict[str, str]) -> object:
    """Return what an independent implementation of CEL makes of an expression."""
    environment = celpy.Environment()
    program = environment.program(environment.compile(expression))
    return program.evaluate({"assertion": json_to_cel(claims)})


def test_condition_names_numeric_ids_version_tags_and_github_s_machines() -> None:
    assert str(CONDITION) == TEXT


def test_condition_is_read_back_as_it_is_written() -> None:
    assert Condition.parse(TEXT) == CONDITION
    assert Condition.parse(TEXT.replace("==", " != ").replace("'", '"')).failing_clauses(CLAIMS) == [
        clause for clause in Condition.parse(TEXT.replace("==", "!=")).clauses if clause.test == "!="
    ]


def test_condition_holds_for_a_version_tag_of_the_repository() -> None:
    assert CONDITION.failing_clauses(CLAIMS) == []
    assert in_cel(TEXT, CLAIMS)


@pytest.mark.parametrize("claim", BREACHES)
def test_each_clause_fails_alone_here_as_in_cel(claim: str) -> None:
    claims = CLAIMS | {claim: BREACHES[claim]}
    assert [clause.claim for clause in CONDITION.failing_clauses(claims)] == [claim]
    assert CONDITION.verdict(claims).endswith(f" fails on {BREACHES[claim]!r}")
    assert not in_cel(TEXT, claims)


@pytest.mark.parametrize("claims", [{}, {"ref_type": 1}, {"ref_type": "Tag"}], ids=str)
def test_a_claim_that_is_missing_no_text_or_of_other_case_fails(claims: dict[str, object]) -> None:
    assert Condition.parse("assertion.ref_type=='tag'").failing_clauses(claims)


@pytest.mark.parametrize("number", ["", "0", "12a", "1'||true||'", "\u0661"])
def test_condition_refuses_an_id_that_is_no_number(number: str) -> None:
    with pytest.raises(InvalidCondition, match=r"is no repository id; take the number that `gh api"):
        Condition.of(number, "45")
    with pytest.raises(InvalidCondition, match="is no owner id"):
        Condition.of("123", number)


@pytest.mark.parametrize(
    "text",
    ["", "true", f"{TEXT} &&", "assertion.ref == 'a' || true", "assertion.ref.startsWith('a'", "x.ref=='a'"],
)
def test_condition_refuses_what_it_does_not_understand(text: str) -> None:
    with pytest.raises(InvalidCondition, match="not understood here; write clauses such as"):
        Condition.parse(text)


def test_the_mapped_subject_stays_below_google_s_127_bytes() -> None:
    subject = in_cel(MAPPING["google.subject"], CLAIMS)
    assert subject == "123:678"
