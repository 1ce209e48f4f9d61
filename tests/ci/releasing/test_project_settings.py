"""Project settings, and refusals of wrong ones."""

import pytest

from errors import InvalidReference
from releasing.project_settings import Project


def test_a_project_is_named_by_its_settings() -> None:
    project = Project.of('[tool.milestone2]\nname = "churn"\nfeatures = []')
    assert (project.name, project.settings) == ("churn", {"name": "churn", "features": []})


@pytest.mark.parametrize("text", ["", "[tool.milestone2]", "tool = 1", "not toml"])
def test_settings_without_a_name_are_refused(text: str) -> None:
    with pytest.raises(InvalidReference, match="has no \\[tool.milestone2\\] name"):
        Project.of(text)


def test_a_name_that_is_not_text_is_refused() -> None:
    with pytest.raises(InvalidReference, match="name is 3; write it as text"):
        Project.of("[tool.milestone2]\nname = 3")
