"""The pipeline's functions, and refusals before any request to the engine."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import dagger
import pytest
from dagger import DefaultPath, Doc, Ignore

from building import source_files
from conditions.attribute_condition import Condition
from errors import InvalidData, InvalidFault, InvalidIdentity, InvalidReference, PipelineError
from main import Ci

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
FUNCTIONS = Ci.__dagger_module__.get_object("Ci").functions  # type: ignore[attr-defined]


class Text(dagger.File):
    """A file that has only a text."""

    def __init__(self, text: str) -> None:
        """Need no engine."""
        self.text = text

    async def contents(self, **lines: int | None) -> str:
        """Return its text."""
        return self.text


class Untouchable(dagger.Directory):
    """A source of which nothing may be used but the project's settings."""

    def __init__(self) -> None:
        """Need no engine."""

    def file(self, path: str) -> dagger.File:
        """Return the settings, else fail the test."""
        assert path == "pyproject.toml"
        return Text((ROOT / path).read_text())

    def filter(self, **which: object) -> Untouchable:
        """Fail the test."""
        raise AssertionError("a file of the source was requested")


class Unread(dagger.GitRepository):
    """A repository that fails at any request."""

    def __init__(self) -> None:
        """Need no engine."""

    def head(self) -> dagger.GitRef:
        """Fail the test."""
        raise AssertionError("the repository's head was requested")


@pytest.fixture
def pipeline() -> Ci:
    """Return the pipeline over a source that must not be used."""
    # mypy does not see that the SDK makes a dataclass of the class.
    return Ci(source=Untouchable())  # type: ignore[call-arg]


def test_users_can_call_these_functions_and_no_others() -> None:
    assert set(FUNCTIONS) == {
        *("test", "test_pipeline", "lint", "check", "train", "build", "serve", "publish", "registry"),
        *("rehearse", "doctor", "explain", "setup_google", "images"),
        *("digest", "compare", "release", "verify", "scan", "update", "benchmark"),
        "lock",
        *("deploy", "promote", "rollback", "history", "smoke"),
    }


def test_what_is_checked_can_be_called_as_dagger_check_but_not_twice() -> None:
    assert {name for name, found in FUNCTIONS.items() if found.check} == {"test", "test_pipeline", "lint"}
    for name in ("test", "test_pipeline", "lint"):
        assert not FUNCTIONS[name].parameters  # a check takes none


def test_the_tests_of_the_machinery_are_in_folders_that_there_are() -> None:
    assert all((ROOT / folder).is_dir() for folder in source_files.MACHINERY_TESTS)
    assert "tests/release" not in source_files.MACHINERY_TESTS


def test_what_needs_a_host_is_run_by_the_script_for_one() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert all(folder in script for folder in source_files.HOST_TESTS)


def test_longer_tests_are_commands_of_the_contributors_page() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    assert all(f"`python -m {folder.replace('/', '.')}" in page for folder in source_files.LONGER_TESTS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_says_in_one_line_what_it_does(name: str) -> None:
    doc = inspect.getdoc(getattr(Ci, name))
    assert doc
    assert "\n" not in doc
    assert doc.endswith(".")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_is_documented(name: str) -> None:
    hints = get_type_hints(getattr(Ci, name), include_extras=True)
    for argument in inspect.signature(getattr(Ci, name)).parameters:
        if argument != "self":
            assert get_origin(hints[argument]) is Annotated
            assert any(isinstance(item, Doc) for item in get_args(hints[argument]))


def test_what_has_an_effect_outside_or_sends_requests_outside_is_never_cached() -> None:
    outside = (
        *("publish", "rehearse", "doctor", "setup_google", "images", "verify", "scan", "update", "benchmark"),
        "lock",
        *("deploy", "promote", "rollback", "history", "smoke"),
    )
    of_a_commit = ("digest", "compare", "release")
    policies = {name: found.cache_policy for name, found in FUNCTIONS.items() if found.cache_policy}
    assert policies == dict.fromkeys(outside, "never") | dict.fromkeys(of_a_commit, "session")


def test_the_source_is_the_repository_without_what_is_not_allowed() -> None:
    metadata = get_args(get_type_hints(Ci, include_extras=True)["source"])
    assert DefaultPath(".") in metadata
    patterns = next(item.patterns for item in metadata if isinstance(item, Ignore))
    assert patterns[0] == "*"
    assert not [pattern for pattern in patterns if pattern in ("!.git", "!.", "!*", "!**")]
    assert "**/gha-creds-*.json" in patterns[-5:]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda it: it.publish("v1.0", Unread()), InvalidReference, "tag: "),
        (lambda it: it.publish("v1.0.0", Unread(), "localhost:5001"), InvalidReference, "registry: "),
        (lambda it: it.build("latest"), InvalidReference, "'latest' moves"),
        (lambda it: it.serve("v1"), InvalidReference, "'v1' is not"),
        (lambda it: it.rehearse(Unread(), "v1.0.0", ["sts:5"]), InvalidFault, "'sts:5' is no fault"),
        (lambda it: it.verify("r.test/m:v1.0.0"), InvalidReference, "'r.test/m:v1.0.0' is not HOST/NAME"),
        (lambda it: it.doctor("v1.0.0"), InvalidIdentity, "arguments of publish that say who releases"),
    ],
    ids=["publish tag", "publish registry", "build", "serve", "rehearse", "verify", "doctor"],
)
async def test_wrong_arguments_are_refused_before_anything_starts(
    pipeline: Ci, call: Callable[[Ci], Awaitable[object]], error: type[PipelineError], message: str
) -> None:
    with pytest.raises(error, match=message):
        await call(pipeline)


def test_explain_prints_what_ends_a_known_error(pipeline: Ci) -> None:
    assert "  fix: " in pipeline.explain("denied: Unauthenticated request")


class Source(dagger.Directory):
    """This repository's files, with a trained model's card among them."""

    def __init__(self, card: str = "") -> None:
        """Need no engine."""
        self.card = card

    def file(self, path: str) -> dagger.File:
        """Return an object with the file's text."""
        return Text(self.card if path == "model/card.json" else (ROOT / path).read_text())

    def filter(self, **which: object) -> Source:
        """Return the same."""
        return self

    def docker_build(self, *, target: str | None = "", **how: object) -> Any:
        """Return the name of an image's target in its place, and for the model these files."""
        return self if target == "model" else target

    def with_workdir(self, path: str) -> Source:
        """Return the same."""
        return self


@pytest.mark.parametrize(
    ("card", "target"), [('{"portable": {"nodes": 3}}', "runtime"), ('{"portable": null}', "runtime-full")]
)
async def test_build_takes_the_image_that_the_trained_model_needs(card: str, target: str) -> None:
    built: object = await Ci(source=Source(card)).build("v1.0.0")  # type: ignore[call-arg]
    assert built == target


async def test_a_table_without_its_hash_is_refused_before_anything_is_built() -> None:
    source = Source()
    text = '[tool.milestone2]\nname = "m"\ndata = "gs://bucket/rows.csv"\n'
    source.file = lambda path: Text(text)  # type: ignore[method-assign]
    with pytest.raises(InvalidData, match="gs://bucket/rows.csv needs its SHA-256"):
        await Ci(source=source).train()  # type: ignore[call-arg]


async def test_setup_google_prints_the_script_with_the_condition_of_the_repository() -> None:
    pipeline = Ci(source=Source())  # type: ignore[call-arg]
    script = await pipeline.setup_google("my-project", "some/body", repository_id="12", owner_id="34")
    assert f"CONDITION={quote(str(Condition.of('12', '34')))}" in script


def test_no_call_waits_for_the_package_that_signs_unless_it_signs_or_verifies() -> None:
    program = "import main, sys; print(sorted({'cryptography', 'requests', 'sigstore'} & set(sys.modules)))"
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=ROOT / "ci", capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
