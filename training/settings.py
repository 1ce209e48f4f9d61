"""What is trained: the table `[tool.milestone2]` in pyproject.toml."""

from __future__ import annotations

import codecs
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from app.errors import BadData
from app.modelling.artifact import Kind

STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _known_encoding(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise ValueError("Python knows no such encoding") from None


class CsvSettings(BaseModel):
    """The table `[tool.milestone2.csv]`: how the file is written; what isn't given is detected."""

    model_config = STRICT

    separator: str | None = Field(default=None, min_length=1, max_length=1)
    decimal: Literal[".", ","] | None = None
    encoding: Annotated[str, AfterValidator(_known_encoding)] | None = None
    na_values: list[str] | None = None


class ColumnSettings(BaseModel):
    """An entry of `[tool.milestone2.columns]`: what a column is, where that isn't seen from its values."""

    model_config = STRICT

    kind: Kind | None = None
    description: str | None = None
    unit: str | None = None


class Settings(BaseModel):
    """The table `[tool.milestone2]`."""

    model_config = STRICT

    name: str = Field(pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$")
    data: str
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    target: str
    features: list[str] = []
    positive: str | None = None
    minimum_score: float | None = Field(default=None, le=1)
    minimum: dict[str, float] = {}
    csv: CsvSettings = CsvSettings()
    columns: dict[str, ColumnSettings] = {}

    @property
    def is_fetched(self) -> bool:
        """Return whether the table is not in Git, but at an address."""
        return "://" in self.data


def read_settings(path: Path) -> Settings:
    """Return the settings of a TOML file. Raises BadData."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))["tool"]["milestone2"]
        settings = Settings.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise BadData(f"{path}: [tool.milestone2] {name}: {first['msg']}") from error
    except (KeyError, TypeError) as error:
        raise BadData(f"{path}: no table [tool.milestone2]") from error
    except (OSError, ValueError) as error:
        raise BadData(f"{path}: not readable as TOML: {error}") from error
    if settings.is_fetched and settings.sha256 is None:
        raise BadData(f"{path}: [tool.milestone2] sha256: {settings.data} needs that of its bytes")
    return settings
