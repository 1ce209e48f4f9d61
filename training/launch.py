"""Start of `python train_model.py`: fixes the arithmetic, then trains with train_model.py as a module."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from training.arithmetic import FIXED_ARITHMETIC

INSTALL = "pip install --require-hashes -r app/requirements-full.txt"


def launch() -> NoReturn:
    """Train, and end the process with the status that `training.command` documents."""
    os.environ.update(FIXED_ARITHMETIC)
    try:
        from training import command
    except ModuleNotFoundError as error:
        print(f"train_model: {error}; install what training needs: `{INSTALL}`", file=sys.stderr)
        sys.exit(2)
    sys.exit(command.main())
