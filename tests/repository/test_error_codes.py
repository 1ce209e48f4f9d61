"""Error codes: one a class, unique, and in the tree of the module's docstring."""

from __future__ import annotations

import re
from types import ModuleType

import pytest

from app.connections.error_responses import ANSWERS
from app.errors import NotReady, RequestError
from errors import PipelineError, RegistryDenied, TagTaken
from tests.repository.error_codes import GROUPS, MODULES, error_classes, own_codes


def test_every_class_has_a_code_of_its_own() -> None:
    classes = [each for module in MODULES for each in error_classes(module)]
    assert [each.__name__ for each in classes if "code" not in vars(each)] == []
    assert len(set(own_codes())) == len(classes)
    assert set(own_codes()) > GROUPS


@pytest.mark.parametrize("code", own_codes())
def test_a_code_is_a_room_and_words(code: str) -> None:
    assert re.fullmatch(r"[a-z]+\.[a-z]+(_[a-z]+)*", code)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.__name__))
def test_a_docstring_draws_the_tree_that_there_is(module: ModuleType) -> None:
    drawn = re.findall(r"(\w+) +([a-z]+\.\w+)$", module.__doc__ or "", re.MULTILINE)
    codes = {each.__name__: str(vars(each)["code"]) for each in error_classes(module)}
    assert sorted(drawn) == sorted((name, code) for name, code in codes.items() if code not in GROUPS)


def test_the_code_of_an_http_response_is_the_one_of_its_error() -> None:
    for error, (_, code) in ANSWERS.items():
        assert error.code == f"service.{code}" or error is NotReady
    assert {*RequestError.__subclasses__()} <= {*ANSWERS}


def test_an_error_of_the_pipeline_ends_with_its_code() -> None:
    error = TagTaken("registry: v1.0.0 is taken")
    assert str(error) == "registry: v1.0.0 is taken\nrunbook: registry.tag_taken"
    assert error.message == error.problem == "registry: v1.0.0 is taken"


def test_an_error_of_the_pipeline_completes_a_known_problem_with_cause_and_fix() -> None:
    error = RegistryDenied("denied: Unauthenticated request")
    problem, cause, fix = error.message.splitlines()
    assert (problem, cause[:9], fix[:7]) == (error.problem, "  cause: ", "  fix: ")


def test_names_and_claims_complete_the_advice() -> None:
    error = PipelineError("invalid_target", {"aud": "here", "jti": "x"}, provider="github")
    assert "  claims: aud='here'\n" in error.message
    assert "github" in error.message


def test_a_problem_with_a_fix_gets_no_other_one() -> None:
    inner = RegistryDenied("denied: Unauthenticated request")
    assert PipelineError(f"verify: {inner.message}").message.count("  fix: ") == 1
