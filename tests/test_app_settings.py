"""What the environment may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.errors import SettingsError
from app.settings import Settings


def test_settings_have_defaults_for_what_is_unset_or_empty() -> None:
    defaults = Settings(port=8080, model_version="v0.0.0-dev", model_dir=Path("model"))
    assert Settings.from_environment({}) == defaults
    assert Settings.from_environment({"PORT": "", "MODEL_VERSION": "", "MODEL_DIR": ""}) == defaults


def test_settings_are_read_from_the_environment() -> None:
    environment = {"PORT": "80", "MODEL_VERSION": "v1.2.3", "MODEL_DIR": "/srv/model", "HOME": "/"}
    assert Settings.from_environment(environment) == Settings(80, "v1.2.3", Path("/srv/model"))


@pytest.mark.parametrize("port", ["http", "-1", "65536", "8080.0", "٨٠", "9" * 5000])
def test_settings_refuse_a_port_that_is_none(port: str) -> None:
    with pytest.raises(SettingsError, match="PORT is .* a number from 0 to 65535"):
        Settings.from_environment({"PORT": port})
