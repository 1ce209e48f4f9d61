"""Settings of the service from environment variables."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from app.cpu_quota import usable_processors
from app.errors import SettingsError
from app.settings import Limits, Settings
from tests.conftest import ROOT


def test_settings_have_defaults_for_what_is_unset_or_empty() -> None:
    defaults = Settings(port=8080, model_version="v0.0.0-dev", model_dir=Path("model"))
    assert Settings.from_environment({}) == defaults
    assert Settings.from_environment({"PORT": "", "MODEL_VERSION": "", "LIMIT_IN_FLIGHT": ""}) == defaults


def test_settings_are_read_from_the_environment() -> None:
    environment = {
        "PORT": "80",
        "MODEL_VERSION": "v1.2.3",
        "IMAGE_DIGEST": "sha256:abc",
        "MODEL_DIR": "/srv/model",
        "GOOGLE_CLOUD_PROJECT": "my-project",
        "HOT_PATH": "0",
        "ACCESS_LOG": "0",
        "LIMIT_BODY_BYTES": "1000",
        "HOME": "/",
    }
    assert Settings.from_environment(environment) == Settings(
        port=80,
        model_version="v1.2.3",
        image_digest="sha256:abc",
        model_dir=Path("/srv/model"),
        project="my-project",
        hot_path=False,
        access_log=0,
        limits=Limits(body_bytes=1000),
    )


def test_workers_are_a_number_or_as_many_as_processors_may_be_used() -> None:
    assert Settings.from_environment({"WORKERS": "3"}).workers == 3
    assert Settings.from_environment({"WORKERS": "auto"}).workers == usable_processors()


def test_vertex_s_settings_win() -> None:
    vertex = {"AIP_HTTP_PORT": "7080", "AIP_PREDICT_ROUTE": "/v1/m:predict", "AIP_HEALTH_ROUTE": "/v1/m"}
    settings = Settings.from_environment(vertex | {"PORT": "80"})
    assert (settings.port, settings.predict_route, settings.health_route) == (7080, "/v1/m:predict", "/v1/m")


@pytest.mark.parametrize("name", [field.name for field in fields(Limits)])
def test_every_limit_is_a_variable(name: str) -> None:
    limits = Settings.from_environment({f"LIMIT_{name.upper()}": "12"}).limits
    assert limits == Limits(**{name: 12})


@pytest.mark.parametrize("port", ["http", "-1", "65536", "8080.0", "٨٠", "9" * 5000])
def test_settings_refuse_a_port_that_is_none(port: str) -> None:
    with pytest.raises(SettingsError, match="PORT is .* a number from 0 to 65535"):
        Settings.from_environment({"PORT": port})


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("AIP_HTTP_PORT", "x", "a number from 0 to 65535"),
        ("AIP_PREDICT_ROUTE", "predict", "a path that starts with a slash"),
        ("AIP_HEALTH_ROUTE", "/a?b", "a path that starts with a slash"),
        ("AIP_HEALTH_ROUTE", "/{name}", "a path that starts with a slash"),
        ("HOT_PATH", "yes", "0 or 1"),
        ("WORKERS", "0", "a number from 1 to 64 or auto"),
        ("WORKERS", "many", "a number from 1 to 64 or auto"),
        ("ACCESS_LOG", "0.5", "a number from 0 to 10000"),
        ("LIMIT_CONNECTIONS", "0", "a number from 1 to 1000000000"),
        *(
            (name, "v\udcff", "text in UTF-8")
            for name in ("MODEL_VERSION", "IMAGE_DIGEST", "MODEL_DIR", "GOOGLE_CLOUD_PROJECT")
        ),
    ],
)
def test_settings_refuse_what_cannot_be_used(name: str, value: str, expected: str) -> None:
    with pytest.raises(
        SettingsError, match=f"settings: {name} is {re.escape(repr(value))}; set it to {expected}"
    ):
        Settings.from_environment({name: value})


def test_only_the_main_program_reads_the_environment() -> None:
    knowing = {path.name for path in (ROOT / "app").glob("*.py") if "os.environ" in path.read_text()}
    assert knowing == {"__main__.py"}
