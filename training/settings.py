"""What is trained: the table `[tool.milestone2]` in pyproject.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import BadData


class Settings(BaseModel):
    """The table `[tool.milestone2]`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    name: str = Field(pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$")
    data: str
    target: str
    features: list[str] = []
    positive: str | None = None
    minimum_score: float = Field(le=1)


def read_settings(path: Path) -> Settings:
    """Return the settings of a TOML file. Raises BadData."""
    try:
        return Settings.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))["tool"]["milestone2"])
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise BadData(f"{path}: [tool.milestone2] {name}: {first['msg']}") from error
    except (KeyError, TypeError) as error:
        raise BadData(f"{path}: no table [tool.milestone2]") from error
    except (OSError, ValueError) as error:
        raise BadData(f"{path}: not readable as TOML: {error}") from error
