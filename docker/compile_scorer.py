"""Compiler of the native scorer of portable models: `python docker/compile_scorer.py [OUTPUT [WHEELS]]`.

Takes the compiler of the package ziglang from its wheel in a folder, else the installed one, else `cc`, and
writes `libscorer.so` beside the sources if no other output is named. The same package gives the same bytes on
every machine: they are for any x86-64 processor, and have no path and no time in them.
"""

import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

SOURCES = ("scorer.c", "rows.c")
FOLDER = Path(__file__).resolve().parent.parent / "app/modelling/portable"
# A fused multiply-add rounds once where Python rounds twice.
FLAGS = ("-std=c11", "-O2", "-ffp-contract=off", "-fPIC", "-shared", "-s", "-Wall", "-Wextra", "-Werror")
BASELINE = ("-target", "x86_64-linux-gnu", "-mcpu=x86_64", "-nostdlib")
# What it takes to compile without a C library. All of the wheel are 20,000 files.
COMPILER = "ziglang/zig"
UNPACKED = (COMPILER, "ziglang/lib/include/", "ziglang/lib/std/std.zig")


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
    return zig_command(sys.executable, "-m", "ziglang")


def unpack_compiler(wheels: Path, folder: Path) -> tuple[str, ...]:
    """Return the command of the compiler of the one wheel in a folder, unpacked into another folder."""
    [wheel] = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name.startswith(UNPACKED)])
    (folder / COMPILER).chmod(0o755)
    return zig_command(str(folder / COMPILER))


def zig_command(*start: str) -> tuple[str, ...]:
    """Return the command of Zig's C compiler."""
    is_baseline = (sys.platform, platform.machine()) == ("linux", "x86_64")
    return (*start, "cc", *(BASELINE if is_baseline else ()))


def main(output: str = str(FOLDER / "libscorer.so"), wheels: str = "") -> None:
    """Compile the library with the compiler that there is."""
    with tempfile.TemporaryDirectory() as folder:
        compile_scorer(Path(output), unpack_compiler(Path(wheels), Path(folder)) if wheels else ())


if __name__ == "__main__":
    main(*sys.argv[1:])
