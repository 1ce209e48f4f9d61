"""`python train_model.py` as a process, on the repository's current settings and estimator."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, without_coverage

KERNELS = ("Nehalem", "SkylakeX")


def start_training(kernel: str, output: Path) -> subprocess.Popen[bytes]:
    """Train on a kernel of OpenBLAS."""
    chosen = {"OPENBLAS_CORETYPE": kernel, "OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "random"}
    command = [sys.executable, "train_model.py", "--output", str(output)]
    return subprocess.Popen(command, cwd=ROOT, env=without_coverage() | chosen, stdout=subprocess.PIPE)


def test_training_makes_the_same_bytes_under_every_blas_kernel(tmp_path: Path) -> None:
    folders = [tmp_path / kernel for kernel in KERNELS]
    for training in [start_training(folder.name, folder) for folder in folders]:
        output, _ = training.communicate()
        assert training.returncode == 0, output.decode()
        assert b": accuracy" in output or b": r2" in output
    first, second = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert first == second
    assert {"model.joblib", "card.json", "golden.json"} < set(first)
