"""Start of `python train_model.py`: fixes the arithmetic, then trains with train_model.py as a module.

The libraries read these variables when they are first imported, so nothing of theirs is imported here.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

# Same input, same bytes on every x86-64-v3 machine: BLAS and NumPy choose their arithmetic by what the
# processor can do, and threads change the order of sums.
FIXED_ARITHMETIC = {
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}
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
