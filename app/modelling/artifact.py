"""The trained model on disk: one folder that `train_model.py` writes and the service reads.

    card.json       what the model is; names the SHA-256 of the files that follow
    categories.json the categories that the model knows (columns.py); absent without a column of categories
    model.joblib    the scikit-learn estimator, a pickle: reading it runs what is in it (estimator.py)
    model.json      the same as plain numbers, if it is a small linear model (portable/json_format.py)
    model.bin       the same as plain numbers, if it is any other (docs/model-format.md); both are absent
                    when the model isn't portable: the card has the reason
    golden.json     rows of features with what the service predicts for them
    roc.svg, …      plots for people (PLOT_FILES)

Nothing here needs more than the standard library, as a service with a portable model has nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from app.errors import ArtifactError
from app.modelling import strict_json

CARD_FILE, MODEL_FILE, GOLDEN_FILE = "card.json", "model.joblib", "golden.json"
PORTABLE_FILE, BINARY_FILE, CATEGORIES_FILE = "model.json", "model.bin", "categories.json"
PLOT_FILES = ("roc.svg", "calibration.svg", "classes.svg", "residuals.svg")
MAX_CARD_BYTES = MAX_BYTES = 32 * 1024 * 1024  # of a card, and of a portable model in JSON
MAX_PICKLE_BYTES = 4 * 1024**3

Task = Literal["classification", "regression"]
Kind = Literal["number", "integer", "boolean", "category", "text"]


def describe(text: str) -> dict[str, str]:
    """Return the metadata that gives a dataclass's field this description in the OpenAPI document."""
    return {"description": text}


@dataclass(frozen=True)
class Bins:
    """Quantile bins of the training rows, to compare with requests."""

    edges: tuple[float, ...] = field(metadata=describe("Each bin's largest value, but the last bin's."))
    shares: tuple[float, ...] = field(
        metadata=describe("Share of the training rows in each bin; the rest of them lack a value.")
    )

    def index(self, value: float) -> int:
        """Return the number of the bin that holds the value, from 0."""
        return bisect_left(self.edges, value)


@dataclass(frozen=True)
class Feature:
    """One input, in the order of the request's list, as seen in the training rows.

    A boolean is described as the numbers 0 and 1, a category by its place in the list of categories that the
    model knows: `categories`, and behind them the rare ones, which no card names. The first bin of a category
    is that of unknown ones (-1), the last that of rare ones if there are any. A text has one bin.
    """

    name: str
    minimum: float | None = field(metadata=describe("Null for a category and for a text."))
    maximum: float | None = field(metadata=describe("Null for a category and for a text."))
    quantiles: dict[str, float] = field(
        metadata=describe("Value by quantile, `0.5` being the median; empty for a category and for a text.")
    )
    bins: Bins
    kind: Kind = "number"
    missing: bool = field(default=False, metadata=describe("Whether the model takes null for a value."))
    missing_share: float = field(
        default=0.0, metadata=describe("Share of the training rows without a value.")
    )
    categories: tuple[str, ...] = field(
        default=(), metadata=describe("The most frequent categories, the first of all first.")
    )
    rare: int = field(default=0, metadata=describe("Number of further categories, of few rows each."))
    unknown: bool = field(
        default=False, metadata=describe("Whether the model takes a category that it doesn't know.")
    )
    description: str | None = None
    unit: str | None = None
    importance: float | None = field(
        default=None,
        metadata=describe("How much of the first metric is lost when the column's values are shuffled."),
    )


@dataclass(frozen=True)
class Portable:
    """The portable model's file."""

    sha256: str
    format: int = field(metadata=describe("Version of the file's format."))
    nodes: int = field(metadata=describe("Number of its trees' nodes, or of its coefficients."))


@dataclass(frozen=True)
class Spelling:
    """Spelling of numbers and missing values in a file, where it isn't the usual one."""

    decimal: Literal[".", ","]
    missing: tuple[str, ...] = field(metadata=describe("What stands for a missing value."))


@dataclass(frozen=True)
class Card:
    """Description of the model: its inputs and output, its metrics, and the versions that made it."""

    name: str
    task: Task
    features: tuple[Feature, ...]
    target: str
    classes: tuple[str, ...] = field(metadata=describe("Empty for regression."))
    positive: str | None = field(metadata=describe("With two classes, the one whose probability is served."))
    metrics: dict[str, float] = field(metadata=describe("Measured on the rows held out of training."))
    rows: dict[str, int] = field(metadata=describe("Number of rows trained and tested on."))
    libraries: dict[str, str]
    data_sha256: str
    artifact_sha256: str
    portable: Portable | None
    not_portable: str | None = field(metadata=describe("Why scikit-learn serves the model."))
    golden_sha256: str
    categories_sha256: str | None = field(
        default=None,
        metadata=describe("SHA-256 of the list of all categories; null without categories."),
    )
    data_uri: str | None = field(
        default=None,
        metadata=describe("Where the data was fetched; null for a file of the repository."),
    )
    spelling: Spelling | None = field(
        default=None, metadata=describe("How the file trained on spells numbers and missing values.")
    )


def sha256(content: bytes | bytearray) -> str:
    """Return the content's SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def as_json(document: Any) -> bytes:
    """Return what can be read back without loss: doubles are written with all digits that matter."""
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def card_bytes(card: Card) -> bytes:
    """Return the content of a card's file."""
    return as_json(asdict(card))


def save(folder: Path, card: Card, files: Mapping[str, bytes | bytearray]) -> None:
    """Write a card and what belongs to it into the folder, which is made when missing.

    An earlier model's files go, so that none is taken for one of this model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in (MODEL_FILE, PORTABLE_FILE, BINARY_FILE, GOLDEN_FILE, CATEGORIES_FILE, *PLOT_FILES):
        (folder / old).unlink(missing_ok=True)
    for name, content in {**files, CARD_FILE: card_bytes(card)}.items():
        (folder / name).write_bytes(content)


def load_card(folder: Path) -> Card:
    """Return the folder's card. Raises ArtifactError when it is missing or malformed."""
    path = folder / CARD_FILE
    card = strict_json.read(Card, strict_json.parse(read_file(path, MAX_CARD_BYTES), str(path)), str(path))
    if not card.features:
        raise ArtifactError(f"model: {path}: features: expected one or more, got none; train again")
    if (card.positive in card.classes) != (len(card.classes) == 2):
        raise ArtifactError(
            f"model: {path}: positive: expected one of two classes, and null without two, "
            f"got {card.positive!r} of {list(card.classes)}; train again"
        )
    return card


def read_file(path: Path, limit: int) -> bytearray:
    """Return a regular file's content. Raises ArtifactError for no such file, and one beyond the limit."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ArtifactError(f"model: {path} is not a regular file; train again")
            if status.st_size > limit:
                raise ArtifactError(f"model: {path} is longer than {limit} bytes; train again")
            content = bytearray(status.st_size)
            del content[file.readinto(content) :]
            return content
    except OSError as error:
        raise ArtifactError(
            f"model: cannot read {path}: {error.strerror}; run `python train_model.py` or set MODEL_DIR"
        ) from error


def read_known(path: Path, expected: str, limit: int) -> bytearray:
    """Return a file's content. Raises ArtifactError also when its SHA-256 isn't the expected one."""
    content = read_file(path, limit)
    if (found := sha256(content)) != expected:
        raise ArtifactError(
            f"model: {path} has SHA-256 {found}, its card says {expected}; "
            "train again, or restore the two files together"
        )
    return content


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting for the other end of a named pipe."""
    return os.open(path, flags | os.O_NONBLOCK)
