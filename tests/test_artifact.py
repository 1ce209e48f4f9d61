"""What the service refuses to load."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app import artifact
from app.errors import ArtifactError
from app.predictor import Predictor

Card = dict[str, Any]


@pytest.fixture
def folder(model_dir: Path, tmp_path: Path) -> Path:
    """Return a copy of the model, to be spoilt."""
    return Path(shutil.copytree(model_dir, tmp_path / "model"))


def edit_card(folder: Path, edit: Callable[[Card], object]) -> None:
    path = folder / artifact.CARD_FILE
    card = json.loads(path.read_text())
    edit(card)
    path.write_text(json.dumps(card))


def replace_model(folder: Path, content: bytes) -> None:
    """Put another model there, with a card that knows it."""
    (folder / artifact.MODEL_FILE).write_bytes(content)
    edit_card(folder, lambda card: card.update(artifact_sha256=artifact.sha256(content)))


def test_load_returns_what_save_wrote(model_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "made" / "when missing"
    artifact.save(folder, (model_dir / artifact.MODEL_FILE).read_bytes(), artifact.load(model_dir)[1])
    assert (folder / artifact.CARD_FILE).read_bytes() == (model_dir / artifact.CARD_FILE).read_bytes()
    assert artifact.load(folder)[1] == artifact.load(model_dir)[1]


@pytest.mark.parametrize("name", [artifact.MODEL_FILE, artifact.CARD_FILE])
def test_load_refuses_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(
        ArtifactError, match=f"cannot read .*{name}: No such file.*run `python train_model.py`"
    ):
        artifact.load(folder)


def test_load_refuses_an_altered_model_before_unpickling_it(folder: Path) -> None:
    (folder / artifact.MODEL_FILE).write_bytes(b"not even a pickle")
    with pytest.raises(ArtifactError, match="has SHA-256 .* its card says .*; train again"):
        artifact.load(folder)


def test_load_refuses_other_library_versions_before_reading_the_model(folder: Path) -> None:
    (folder / artifact.MODEL_FILE).unlink()
    edit_card(folder, lambda card: card["libraries"].update({"scikit-learn": "0.1", "python": "2.7"}))
    with pytest.raises(
        ArtifactError, match=r"trained with python 2\.7 \(here 3\.\d+\), scikit-learn 0\.1 \(here "
    ):
        artifact.load(folder)


def test_load_refuses_a_library_that_is_not_installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifact, "LIBRARIES", ("no-such-library",))
    edit_card(folder, lambda card: card["libraries"].update({"no-such-library": "1"}))
    with pytest.raises(ArtifactError, match=r"trained with no-such-library 1 \(here none\)"):
        artifact.load(folder)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda card: card.pop("classes"), "classes: Field required"),
        (lambda card: card.update(features=[]), "features: Tuple should have at least 1 item"),
        (lambda card: card.update(more=1), "more: Extra inputs"),
    ],
)
def test_load_refuses_a_malformed_card(folder: Path, edit: Callable[[Card], object], reason: str) -> None:
    edit_card(folder, edit)
    with pytest.raises(ArtifactError, match=f"is not a model card: {reason}"):
        artifact.load(folder)


def test_load_refuses_a_card_that_is_not_json(folder: Path) -> None:
    (folder / artifact.CARD_FILE).write_text("{")
    with pytest.raises(ArtifactError, match="is not a model card: the file: Invalid JSON"):
        artifact.load(folder)


def test_load_refuses_a_model_that_cannot_be_unpickled(folder: Path) -> None:
    replace_model(folder, b"not a pickle")
    with pytest.raises(ArtifactError, match=r"cannot unpickle .*model\.joblib: "):
        artifact.load(folder)


def test_predictor_refuses_a_model_that_does_not_predict_its_own_medians(folder: Path) -> None:
    replace_model(folder, artifact.serialize({"not": "an estimator"}))  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match="does not predict its card's medians: .*AttributeError"):
        Predictor.load(folder)


def test_predictor_refuses_a_card_of_another_number_of_features(folder: Path) -> None:
    edit_card(folder, lambda card: card["features"].pop())
    with pytest.raises(ArtifactError, match="does not predict its card's medians"):
        Predictor.load(folder)


def test_predictor_refuses_a_positive_class_that_is_none(folder: Path) -> None:
    edit_card(folder, lambda card: card.update(positive="unheard of"))
    with pytest.raises(ArtifactError, match="does not predict its card's medians"):
        Predictor.load(folder)
