"""Dagger's own tests of its Python SDK, on the embedded engine.

    git clone --depth 1 --branch v0.21.8 https://github.com/dagger/dagger
    pip install pytest-httpx pytest-mock pytest-subprocess dagger/sdk/python/codegen
    python engine/tests/dagger_sdk.py dagger/sdk/python [PYTEST'S OPTIONS]

Takes a minute or two. The tests of the SDK's own downloads (`provisioning`) start no engine and are skipped.
Where no image registry is reachable, a `standins.toml` has the recipe of the tests' image.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ENGINE = Path(__file__).resolve().parents[1]
IMAGE = """
[[image]]
match = ["alpine:3.20.2"]
suite = "bookworm"
unpacked = ["busybox-static"]
links = { "/bin/sh" = "busybox" }
commands = ["/bin/busybox --install -s /bin"]
env = { PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" }
args = ["/bin/sh"]

[image.files]
"/bin/printenv" = "#!/bin/sh\\nexec env\\n"
"/etc/alpine-release" = "3.20.2\\n"
"/etc/passwd" = "root:x:0:0:root:/root:/bin/sh\\n"
"""


def main(sdk: Path, options: list[str]) -> int:
    """Run the tests of the folder `sdk`, and return pytest's status."""
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name, "python")
        shutil.copytree(sdk, copy, ignore=shutil.ignore_patterns("provisioning", ".venv"))
        (copy / "standins.toml").write_text(IMAGE)
        program = Path(name, "daggerw")
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m daggerw_engine "$@"\n')
        program.chmod(0o755)
        environment = {
            **os.environ,
            "PYTHONPATH": str(ENGINE),
            "_EXPERIMENTAL_DAGGER_CLI_BIN": str(program),
        }
        words = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", *options)
        return subprocess.run(words, cwd=copy, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2:]))
