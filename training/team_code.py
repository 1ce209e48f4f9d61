"""Errors of the team's code in training: each becomes one line with the place and, if known, a remedy."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import BadData, TrainingError

ROOT = Path(__file__).resolve().parents[1]
TEAM_FILES = ("train_model.py", "features/*.py", "features/**/*.py")
DENSE = "have what comes before return dense columns: sparse_output=False, sparse_threshold=0"
ADVICE = {
    "dense data is required": DENSE,
    "dense array": DENSE,
    "cannot open shared object file": "a shared library is missing here; training in the image's container, "
    "`./daggerw call train`, has those that wheels bring",
}


@contextmanager
def team_code(doing: str, hint: str = "") -> Iterator[None]:
    """Raise what the block raises as BadData; `doing` says in words what failed.

    The hint follows an error in values.
    """
    try:
        yield
    except TrainingError:
        raise
    except Exception as error:
        hint = hint if isinstance(error, ValueError) else ""
        raise BadData(f"{doing}: {describe(error)}{hint}") from error


def describe(error: Exception) -> str:
    """Return an exception as one line: where in the team's files, what it is, and what to do about it."""
    kind = "" if isinstance(error, ValueError | ImportError) else f"{type(error).__name__}: "
    return f"{_place(error)}{kind}{' '.join(str(error).split())}{_advice(error)}"


def _place(error: Exception) -> str:
    """Return the innermost line of the team's files that led to an error."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if path.is_relative_to(ROOT) and any(path.relative_to(ROOT).match(name) for name in TEAM_FILES):
            return f"{path.relative_to(ROOT)}:{frame.lineno}: "
    return ""


def _advice(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        library = error.name.partition(".")[0]
        return (
            f"; add a library with `./daggerw call lock --add {library}`, or move code of your own into "
            "features/ and import it from there"
        )
    text = str(error)
    return next((f"; {advice}" for words, advice in ADVICE.items() if words in text), "")
