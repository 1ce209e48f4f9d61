"""The project's settings: [tool.milestone2] of pyproject.toml."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from errors import InvalidReference


@dataclass(frozen=True)
class Project:
    """The project's name, which its image has, too, and all of its settings."""

    name: str
    settings: Mapping[str, object]

    @classmethod
    def of(cls, pyproject: str) -> Self:
        """Return the project of a pyproject.toml; raises InvalidReference when it has no name."""
        try:
            settings = tomllib.loads(pyproject)["tool"]["milestone2"]
            name = settings["name"]
        except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
            raise InvalidReference(
                f"pyproject.toml: has no [tool.milestone2] name for the image: {error!r}"
            ) from error
        if not isinstance(name, str):
            raise InvalidReference(f"pyproject.toml: [tool.milestone2] name is {name!r}; write it as text")
        return cls(name, settings)
