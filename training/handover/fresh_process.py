"""Fresh process that loads a trained model as the service will, and predicts its golden rows.

As in the image, it can import nothing of this repository but `app` and `features`: so training refuses a
model that needs train_model.py or a module beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from app.errors import BadData
from app.modelling import artifact
from app.modelling.artifact import Card
from app.modelling.estimator import Estimator
from training.arithmetic import FIXED_ARITHMETIC
from training.handover import golden_check, pickle_contents

ROOT = Path(__file__).resolve().parents[2]
IN_THE_IMAGE = ("app", "features")


def check(card: Card, files: Mapping[str, bytes | bytearray], estimator: Estimator) -> None:
    """Raise BadData with the reason unless the model works in a process of its own."""
    if not card.portable:
        _check_names(estimator)
    if len(artifact.card_bytes(card)) > artifact.MAX_CARD_BYTES:
        raise BadData(
            f"card.json would be longer than {artifact.MAX_CARD_BYTES} bytes; name fewer features in "
            "pyproject.toml"
        )
    with TemporaryDirectory(prefix="model-") as folder:
        place = Path(folder)
        artifact.save(place / "model", card, files)
        for name in IN_THE_IMAGE:
            (place / name).symlink_to(ROOT / name)
        predict_golden_rows(place)


def _check_names(estimator: Estimator) -> None:
    """Raise BadData for a class or function that comes from a file beside the image's folders."""
    for module, name in sorted(pickle_contents.names(estimator)):
        top = module.partition(".")[0]
        file = getattr(sys.modules.get(top), "__file__", None)
        if file and Path(file).resolve().parent == ROOT and top not in IN_THE_IMAGE:
            raise BadData(
                f"make_model(): {name!r} is defined in {Path(file).name}, which the image doesn't have; move "
                "it to a module in features/, and import it from there"
            )


def predict_golden_rows(place: Path) -> None:
    """Load the model of a folder in a process of its own. Raises BadData when it predicts otherwise."""
    environment = {name: value for name, value in os.environ.items() if name not in FIXED_ARITHMETIC}
    environment |= {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-P", golden_check.__file__, str(place / "model")]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout.strip() or done.stderr.strip() or f"it ended with {done.returncode}").splitlines()
        reason = said[-1].removeprefix("model: ").replace(f"{place}/", "")
        if "No module named" in reason:
            reason += "; the image has only app/, features/ and the installed libraries"
        raise BadData(f"the model doesn't work in the service: {reason}")
