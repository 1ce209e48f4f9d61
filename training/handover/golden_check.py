"""Check of a model folder as the service has it: loads it and predicts its golden rows.

    python golden_check.py FOLDER

Run in a process of its own, in which only what the image has can be imported. Prints one line and ends with
status 1 when the model can't be loaded or predicts otherwise.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from app.errors import ArtifactError, InvalidInput, ModelError
from app.modelling import artifact, model_loader
from app.modelling.columns import Column, Row

RELATIVE, ABSOLUTE = 1e-9, 1e-12  # other arithmetic, such as another processor's, rounds otherwise


def check(folder: Path) -> str | None:
    """Return what is wrong with a folder's model, or None."""
    try:
        predictor = model_loader.load(folder)
        rows = json.loads((folder / artifact.GOLDEN_FILE).read_bytes(), parse_int=float)["rows"]
        predictions = [predictor.predict(_encode(predictor.columns, row["features"])) for row in rows]
    except (ArtifactError, InvalidInput, ModelError) as error:
        return str(error)
    for row, prediction in zip(rows, predictions, strict=True):
        if not math.isclose(prediction, row["prediction"], rel_tol=RELATIVE, abs_tol=ABSOLUTE):
            return (
                f"it predicts {prediction!r} for {row['features']}, and {row['prediction']!r} in training; "
                "what it predicts must depend on the row alone"
            )
    return None


def _encode(columns: Sequence[Column], row: Sequence[object]) -> Row:
    return [column.encode(value) for column, value in zip(columns, row, strict=True)]


if __name__ == "__main__":
    wrong = check(Path(sys.argv[1]))
    print(wrong or "as in training")
    sys.exit(1 if wrong else 0)
