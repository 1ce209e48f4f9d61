"""Models of a table with every kind of column, trained once."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from sklearn.neighbors import KNeighborsClassifier

from tests.training.project import Project, make
from tests.training.tables.mixed_table import LENIENT, MIXED, ROOMS, make_pipeline_for


@pytest.fixture
def mixed_project(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project with a table of every kind of column, and an estimator for it."""
    make(monkeypatch, make_pipeline_for(KNeighborsClassifier(3), handle_unknown="ignore"))
    return project.file("data.csv", MIXED).settings(**LENIENT)


@pytest.fixture(scope="session")
def mixed_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model that ignores unknown categories, and what training said in output.txt."""
    return train_mixed(tmp_path_factory.mktemp("mixed"), handle_unknown="ignore")


@pytest.fixture(scope="session")
def refusing_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model that refuses unknown categories, with more settings of a column."""
    return train_mixed(tmp_path_factory.mktemp("refusing"), {"columns": {"rooms": ROOMS}})


def train_mixed(folder: Path, settings: Mapping[str, Any] = MappingProxyType({}), **encoder: str) -> Path:
    """Train on the table with this encoder of categories; return the model's folder."""
    project = Project(folder).file("data.csv", MIXED).settings(**LENIENT, **settings)
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stdout(io.StringIO()) as output:
        make(patched, make_pipeline_for(KNeighborsClassifier(3), **encoder))
        assert project.train() == 0
    (folder / "model/output.txt").write_text(output.getvalue())
    return folder / "model"
