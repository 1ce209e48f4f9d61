"""Scenarios of a rehearsal: the fault of its second release, added to the image from outside."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import dagger

from deploying.rollout.deployment import SHIFT
from deploying.rollout.judge import Judging
from deploying.rollout.target import Target
from errors import InvalidScenario
from oci.reference import Release
from releasing.publishing import PORT, as_service

# The program that delays requests, and where it lies in its container.
DELAY_PROGRAM, DELAY_PATH = "ci/rehearsal/delay_proxy.py", "/delay.py"
LATE_SECONDS = 7.0  # by which one request in four is later
_KILLED_AT = f"{SHIFT}25 %"
_MODEL = "/another-model"


@dataclass(frozen=True)
class Ingredients:
    """Ingredients of bad releases: the project's settings, and containers of training and proxy."""

    settings: Mapping[str, object]
    training: dagger.Container
    delay_proxy: dagger.Container
    late_seconds: float = LATE_SECONDS

    async def another_model(self) -> dagger.Directory:
        """Return the folder of a model that is not the release's."""
        card = await self.training.file("model/card.json").contents()
        changed = self.training.with_new_file("other.toml", other_settings(self.settings, card))
        command = ["/venv/bin/python", "-B", "train_model.py", "--settings", "other.toml"]
        return changed.with_exec([*command, "--output", "other"]).directory("other")

    def late(self, service: dagger.Service) -> dagger.Service:
        """Return a service that leads to another, one request in four some seconds later."""
        command = ["python", DELAY_PATH, "late", str(PORT), str(self.late_seconds)]
        proxy = self.delay_proxy.with_service_binding("late", service).with_exposed_port(PORT)
        return proxy.as_service(args=command)


Make = Callable[[dagger.Container, Ingredients], Awaitable[dagger.Service]]


@dataclass(frozen=True)
class Scenario:
    """Scenario: how the second release's image becomes a service, its expected end, and its judge."""

    make: Make
    goes_live: bool = False
    killed: bool = False


class Killed(BaseException):
    """Error that ends a deployment as the loss of its machine would: no further step is taken."""


@dataclass(frozen=True)
class Deadly:
    """Judge that kills the deployment in the middle of it."""

    inner: Judging

    async def judge(self, target: Target, release: Release, step: str) -> None:
        """Pass the step to the inner judge, but kill the deployment at one of them."""
        if step == _KILLED_AT:
            raise Killed
        await self.inner.judge(target, release, step)


async def _good(image: dagger.Container, ingredients: Ingredients) -> dagger.Service:
    return as_service(image)


async def _wrong_model(image: dagger.Container, ingredients: Ingredients) -> dagger.Service:
    model = await ingredients.another_model()
    return as_service(image.with_directory(_MODEL, model).with_env_variable("MODEL_DIR", _MODEL))


async def _no_start(image: dagger.Container, ingredients: Ingredients) -> dagger.Service:
    return as_service(
        image.with_entrypoint(["/venv/bin/python", "-c", "raise SystemExit('it does not start')"])
    )


async def _slow(image: dagger.Container, ingredients: Ingredients) -> dagger.Service:
    return ingredients.late(as_service(image))


SCENARIOS: Mapping[str, Scenario] = {
    "good": Scenario(_good, goes_live=True),
    "wrong-model": Scenario(_wrong_model),
    "no-start": Scenario(_no_start),
    "slow": Scenario(_slow),
    "killed": Scenario(_good, goes_live=True, killed=True),
}


def scenario(name: str) -> Scenario:
    """Return the scenario of a name; raises InvalidScenario."""
    if name not in SCENARIOS:
        raise InvalidScenario(f"rehearsal: {name!r} is no scenario; there are {', '.join(SCENARIOS)}")
    return SCENARIOS[name]


def other_settings(settings: Mapping[str, object], card: str) -> str:
    """Return settings of another model than a card's: without its last feature, however well it does."""
    names = [feature["name"] for feature in json.loads(card)["features"]]
    settings = {**settings, "features": names[:-1], "minimum_score": -1e9}
    # JSON writes texts, numbers and lists as TOML does.
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    return "\n".join(["[tool.milestone2]", *lines]) + "\n"
