"""Compile the native scorer of portable models: `python docker/compile_scorer.py [OUTPUT]`.

Takes the compiler of the package ziglang if that is installed, else `cc`, and writes `libscorer.so` beside
the sources if no other output is named. The same package gives the same bytes on every machine: they are for
any x86-64 processor, and have no path and no time in them.
"""

import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

SOURCES = ("scorer.c", "rows.c")
FOLDER = Path(__file__).resolve().parent.parent / "app/modelling/portable"
# A fused multiply-add rounds once where Python rounds twice.
FLAGS = ("-std=c11", "-O2", "-ffp-contract=off", "-fPIC", "-shared", "-s", "-Wall", "-Wextra", "-Werror")
BASELINE = ("-target", "x86_64-linux-gnu", "-mcpu=x86_64", "-nostdlib")


def compile_scorer(output: Path, compiler: Sequence[str] = (), flags: Sequence[str] = FLAGS) -> None:
    """Write the library. Raises CalledProcessError, and OSError without a compiler."""
    with tempfile.TemporaryDirectory() as caches:
        environment = {**os.environ, **{f"ZIG_{name}_CACHE_DIR": caches for name in ("LOCAL", "GLOBAL")}}
        command = [*(compiler or installed_compiler()), *flags, "-o", str(output.resolve()), *SOURCES]
        subprocess.run(command, cwd=FOLDER, env=environment, check=True)


def installed_compiler() -> tuple[str, ...]:
    """Return the command of the best compiler that there is, with what makes it compile for any x86-64."""
    if importlib.util.find_spec("ziglang") is None:
        return ("cc",)
    is_baseline = (sys.platform, platform.machine()) == ("linux", "x86_64")
    return (sys.executable, "-m", "ziglang", "cc", *(BASELINE if is_baseline else ()))


if __name__ == "__main__":
    compile_scorer(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER / "libscorer.so")
