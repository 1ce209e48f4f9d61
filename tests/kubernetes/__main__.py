"""The Kubernetes target on a real control plane: `python -m tests.kubernetes [PYTEST ARGUMENTS]`.

Builds the API server, the controller manager and the scheduler unless ~/.cache/daggerw/kubernetes has them,
which takes minutes. Then runs this folder's tests in namespaces of their own for processes, mounts and the
network: the kernel ends and removes everything when the command ends, however it ends. Needs Linux, root,
iproute2 and Go.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.kubernetes.cluster.namespaces import run_in_namespaces

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Run the tests and exit with their status."""
    os.chdir(ROOT)
    sys.exit(run_in_namespaces(sys.executable, "-m", "pytest", "tests/kubernetes", *sys.argv[1:]))


if __name__ == "__main__":
    main()
