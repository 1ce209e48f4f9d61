"""The trained model on disk: `model.joblib` and its card, `card.json`, in one folder.

A joblib file is a pickle: reading it runs what is in it, and other library versions may read
something else from it. So the card names the file's SHA-256 and the versions, and both are
checked before the first byte is unpickled.
"""

from __future__ import annotations

import hashlib
import io
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, Protocol

import joblib
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import ArtifactError

MODEL_FILE, CARD_FILE = "model.joblib", "card.json"
LIBRARIES = ("joblib", "numpy", "scikit-learn", "scipy")
# Some estimator's pickle may need a Python of the same feature release, none a bug-fix release.
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

Task = Literal["classification", "regression"]


class Estimator(Protocol):
    """A scikit-learn estimator; `predict_proba` is only asked of two-class classifiers."""

    def fit(self, x: NDArray[np.float64], y: NDArray[Any], /) -> object:
        """Learn from rows of features and their targets."""

    def predict(self, x: NDArray[np.float64], /) -> NDArray[Any]:
        """Return one value a row: the number, or the index of the class."""

    def predict_proba(self, x: NDArray[np.float64], /) -> NDArray[np.float64]:
        """Return one row a row: the probability of each class."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Feature(_Frozen):
    """One input, in the order of the request's list, as seen in the training rows."""

    name: str
    minimum: float
    maximum: float
    quantiles: dict[str, float] = Field(description="Value by quantile, `0.5` being the median.")


class Card(_Frozen):
    """What the model is: its inputs and output, how good it is, and what made it."""

    name: str
    task: Task
    features: tuple[Feature, ...] = Field(min_length=1)
    target: str
    classes: tuple[str, ...] = Field(description="Empty for regression.")
    positive: str | None = Field(description="With two classes, the one whose probability is served.")
    metrics: dict[str, float] = Field(description="Measured on the rows held out of training.")
    rows: dict[str, int] = Field(description="Number of rows trained and tested on.")
    libraries: dict[str, str]
    data_sha256: str
    artifact_sha256: str


def installed_versions() -> dict[str, str]:
    """Return the versions that decide what a model file means, `python` included."""
    return {"python": PYTHON} | {name: _version(name) for name in LIBRARIES}


def serialize(estimator: Estimator) -> bytes:
    """Return the bytes of `model.joblib`."""
    buffer = io.BytesIO()
    joblib.dump(estimator, buffer)
    return buffer.getvalue()


def sha256(content: bytes) -> str:
    """Return the content's SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def save(folder: Path, content: bytes, card: Card) -> None:
    """Write a serialized model and its card into the folder, which is made when missing."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_FILE).write_bytes(content)
    (folder / CARD_FILE).write_text(card.model_dump_json(indent=2) + "\n", encoding="utf-8")


def load(folder: Path) -> tuple[Estimator, Card]:
    """Return the folder's model and card.

    Raises ArtifactError when a file is missing, the card is malformed, the model's SHA-256 or the
    library versions differ from the card's, or the model cannot be unpickled.
    """
    card = _card(folder / CARD_FILE)
    _check_versions(card)
    content = _read(folder / MODEL_FILE)
    if sha256(content) != card.artifact_sha256:
        raise ArtifactError(
            f"model: {folder / MODEL_FILE} has SHA-256 {sha256(content)}, its card says "
            f"{card.artifact_sha256}; train again, or restore the two files together"
        )
    return _unpickle(folder / MODEL_FILE, content), card


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"model: cannot read {path}: {error.strerror}; run `python train_model.py` or set MODEL_DIR"
        ) from error


def _card(path: Path) -> Card:
    try:
        return Card.model_validate_json(_read(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise ArtifactError(
            f"model: {path} is not a model card: {place}: {first['msg']}; train again"
        ) from error


def _check_versions(card: Card) -> None:
    installed = installed_versions()
    differing = [
        f"{name} {card.libraries.get(name, 'none')} (here {version})"
        for name, version in installed.items()
        if card.libraries.get(name) != version
    ]
    if differing:
        raise ArtifactError(
            f"model: trained with {', '.join(differing)}; train again with the installed versions"
        )


def _unpickle(path: Path, content: bytes) -> Estimator:
    try:
        estimator: Estimator = joblib.load(io.BytesIO(content))
    except Exception as error:  # a pickle runs foreign code, which can raise anything
        raise ArtifactError(f"model: cannot unpickle {path}: {type(error).__name__}: {error}") from error
    return estimator
