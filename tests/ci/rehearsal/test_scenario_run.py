"""Rehearsed deployments by the pipeline's own code: the judge is why each bad release is rolled back.

What runs in containers is made up: a fleet's models, which do what a scenario does to an image.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import dagger
import gql
import pytest
from dagger._exceptions import QueryErrorValue

from deploying.rollout.judge import Judging
from errors import InvalidScenario, RehearsalFailed
from image import archive_reader
from rehearsal.release_rehearsal import Rehearsal
from rehearsal.scenario_run import USUAL, Judgement
from rehearsal.scenarios import LATE_SECONDS, SCENARIOS, Ingredients, other_settings, scenario
from releasing import smoke
from releasing.git_commit import Commit
from tests.ci.conftest import Archive
from tests.ci.deploying.targets.labs.fleet import Fleet, Model
from tests.ci.deploying.targets.labs.lab import Lenient
from tests.ci.pipeline import Container, Engine, Pipeline, Service, tag_of
from tests.ci.recorder import Recorder
from tests.ci.sample_image import FILES, MODEL, build, layer

pytestmark = pytest.mark.anyio
ROWS = {"rows": [{"features": [float(n), 1.0], "prediction": n + 1.0} for n in range(4)]}
SHA256 = json.loads(FILES["app/model/card.json"])["artifact_sha256"]
HAS_ENDED = QueryErrorValue("the service ended with exit status 1")


@dataclass
class Image(Recorder, of=(dagger.Container,)):
    """A release's image as a container: what is done to it is remembered, and its service does it."""

    fleet: Fleet
    version: str
    model: Model = field(default_factory=lambda: Model(""))
    environment: dict[str, str] = field(default_factory=dict)

    def with_env_variable(self, name: str, value: str) -> Image:
        model = replace(self.model, sha256="another") if name == "MODEL_DIR" else self.model
        return replace(self, environment={**self.environment, name: value}, model=model)

    def with_entrypoint(self, args: list[str]) -> Image:
        return replace(self, model=replace(self.model, starts=False))

    def as_service(self, *, use_entrypoint: bool) -> Instance:
        return Instance(self)


@dataclass
class Instance(Recorder, of=(dagger.Service,)):
    """A service that runs in the fleet."""

    image: Image
    address: str = ""

    async def start(self) -> Instance:
        image = self.image
        image.fleet.known[image.version] = replace(image.model, version=image.version)
        address = image.fleet.start(image.environment["K_REVISION"], image.version, image.environment)
        if not address:
            raise dagger.QueryError([HAS_ENDED], gql.GraphQLRequest("{ service { start } }"))
        return replace(self, address=address)

    async def endpoint(self, *, port: int, scheme: str) -> str:
        return self.address

    async def stop(self, *, kill: bool) -> Instance:
        return self


class FleetIngredients(Ingredients):
    """Ingredients of bad releases of a fleet."""

    async def another_model(self) -> Any:
        return "another"

    def late(self, service: Any) -> Any:
        model = replace(service.image.model, delay=self.late_seconds)
        return replace(service, image=replace(service.image, model=model))


class Versions(Pipeline):
    """A pipeline whose versions differ."""

    def bundle(self, tag: str, commit: Commit) -> Path:
        files = {**FILES, "app/model/golden.json": json.dumps(ROWS).encode()}
        self.image = Container(build(Archive(self.image.archive), layer(files), version=tag))
        return super().bundle(tag, commit)


class Engines(Engine):
    """Dagger's client, whose pulled images are the fleet's."""

    fleet: Fleet

    def import_(self, source: Path) -> Any:
        if re.fullmatch(r"[0-9a-f]{64}\.tar", source.name):
            labels = archive_reader.read(source).labels
            version = labels["org.opencontainers.image.version"]
            return Image(self.fleet, version, Model(version, sha256=SHA256))
        return super().import_(source)


RunScenario = Callable[..., Any]


@pytest.fixture
def run_scenario(
    fleet: Fleet,
    start_google: Callable[..., str],
    registry_url: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> RunScenario:
    """Return what rehearses a scenario, and returns its report."""
    monkeypatch.chdir(tmp_path)

    async def predict(url: str, tag: str) -> float:
        return 0.5

    monkeypatch.setattr(smoke, "predict", predict)

    async def run_scenario(name: str, judging: Callable[[Judging], Judging] = lambda judge: judge) -> str:
        tag = f"{tag_of(tmp_path)}.1"
        engine = Engines(start_google, tag)
        engine.fleet = fleet
        for module in ("rehearsal.release_rehearsal", "releasing.publishing", "rehearsal.revision_starter"):
            monkeypatch.setattr(f"{module}.dag", engine)
        pipeline = Versions(Container(tmp_path / "built.tar"), Service(lambda: registry_url))
        # Only what is late on purpose is too late, however busy the machine is.
        limits = replace(USUAL.limits, requests=8, p95_seconds=5 if name == "slow" else 60)
        rehearsal = Rehearsal(tag, (), name, Judgement(0.05, limits, judging))
        nothing: Any = Container(Path())
        drafts: Any = [pipeline.draft(each) for each in rehearsal.tags]
        ingredients = FleetIngredients({}, nothing, nothing, late_seconds=6)
        made: Any = (drafts, engine.programs, nothing, ingredients, lambda line: None)
        return await rehearsal.run("rehearsed", *made)

    return run_scenario


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_scenario_ends_with_the_good_release_live_and_no_user_lost_anything(
    run_scenario: RunScenario, name: str
) -> None:
    *steps, last = (await run_scenario(name)).splitlines()
    printed = "\n".join(steps)
    assert re.search(r"over nothing$", printed, re.MULTILINE)
    good = ".2" if SCENARIOS[name].goes_live else ".1"
    assert re.fullmatch(
        rf"live: us-central1-docker\.pkg\.dev/\S+{re.escape(good)}@sha256:[0-9a-f]{{64}}", last
    )
    assert any(line.endswith(", 0 lost") for line in steps)
    assert ("was rolled back" in printed) == (not SCENARIOS[name].goes_live)
    assert ("at most 0 % of the traffic went to it" in printed) == (not SCENARIOS[name].goes_live)
    assert ("killed; another machine goes on" in printed) == (name == "killed")
    assert any("100 % us-central1" in line for line in steps)


async def test_with_the_judge_switched_off_the_bad_release_goes_live_and_the_rehearsal_fails(
    run_scenario: RunScenario,
) -> None:
    with pytest.raises(RehearsalFailed, match=r"live: \S+\.2@sha256:\S+\n\S+\.1@sha256:\S+ was to be live"):
        await run_scenario("wrong-model", lambda judge: Lenient())


async def test_what_does_not_start_goes_live_for_no_judge_at_all(run_scenario: RunScenario) -> None:
    printed = await run_scenario("no-start", lambda judge: Lenient())
    assert re.search(r"\nlive: \S+\.1@sha256:\S+$", printed)


async def test_requests_that_users_lose_fail_the_rehearsal(run_scenario: RunScenario, fleet: Fleet) -> None:
    class Careless:
        async def judge(self, target: object, release: Any, step: str) -> None:
            if step == "shift to 50 %":
                for model in fleet.running.values():
                    model.failing = 1
                while not any(model.failed for model in fleet.running.values()):
                    await anyio.sleep(0.01)

    with pytest.raises(RehearsalFailed, match="requests of users were lost: HTTPStatusError"):
        await run_scenario("good", lambda judge: Careless())


def test_what_is_late_is_later_than_the_rehearsal_allows() -> None:
    assert USUAL.limits.p95_seconds < LATE_SECONDS


def test_an_unknown_scenario_fails_before_anything_starts() -> None:
    with pytest.raises(InvalidScenario, match="'bad' is no scenario; there are good, wrong-model, no-start"):
        Rehearsal("v1.0.0", (), "bad")
    with pytest.raises(InvalidScenario):
        scenario("")


def test_another_model_has_the_same_settings_but_one_feature_less() -> None:
    settings = {"name": "m", "features": [], "minimum_score": 0.9, "positive": "yes"}
    card = json.dumps({"features": [{"name": 'a "b"'}, {"name": "c"}]})
    assert other_settings(settings, card).splitlines() == [
        "[tool.milestone2]",
        'name = "m"',
        'features = ["a \\"b\\""]',
        "minimum_score = -1000000000.0",
        'positive = "yes"',
    ]


@dataclass
class Training(Recorder, of=(dagger.Container, dagger.File)):
    """The container in which a model was trained."""

    card: str

    async def contents(self) -> str:
        return self.card


async def test_another_model_is_trained_with_those_settings_where_the_first_one_was() -> None:
    training = Training(json.dumps({"features": [{"name": "a"}, {"name": "b"}]}))
    container: Any = training
    settings = {"name": "m"}
    assert await Ingredients(settings, container, container).another_model() is container
    assert training.calls == [
        ("file", "model/card.json"),
        ("with_new_file", "other.toml", other_settings(settings, training.card)),
        (
            "with_exec",
            ["/venv/bin/python", "-B", "train_model.py", "--settings", "other.toml", "--output", "other"],
        ),
        ("directory", "other"),
    ]


def test_a_late_service_is_behind_the_proxy_that_waits() -> None:
    proxy: Any = Container(Path())
    service: Any = object()
    assert Ingredients({}, proxy, proxy, 0.5).late(service) is proxy.service
    assert proxy.arguments == ["python", "/delay.py", "late", "8080", "0.5"]


def test_the_image_of_these_tests_has_the_model_that_its_card_names() -> None:
    assert MODEL in FILES.values()
