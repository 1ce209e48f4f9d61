"""Benchmark of the pipeline on the embedded engine, in a clone with empty caches: `python bench/pipeline.py`.

Prints a row for each step with its seconds, the limit that the project sets itself, the ratio to PLAIN, and
the largest memory (PSS, MB) of the engine, its command line included, and of the module's own process. PLAIN
is the same work without containers: an environment, its packages, a training and the tests. Takes about ten
minutes, and as much network as a first build.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PUBLISH = ("publish", "--tag", "v1.0.0")
ENGINE, MODULE = "-m daggerw_engine", "module_process.py"
SAMPLE_SECONDS = 0.1


@dataclass(frozen=True)
class Figure:
    """Time and memory of one call."""

    seconds: float
    engine_mb: float
    module_mb: float


@dataclass(frozen=True)
class Step:
    """A call to measure, what happens to the clone before it, and how many seconds it may take."""

    name: str
    words: tuple[str, ...]
    limit: float
    before: Callable[[Path], None] = lambda clone: None


def edit_a_test(clone: Path) -> None:
    """Change a test file as an editor would: its content is another one afterwards."""
    with (clone / "tests/release/test_model.py").open("a") as file:
        file.write("\n# touched\n")


def edit_the_model(clone: Path) -> None:
    """Change the estimator, and so everything that comes from it."""
    program = clone / "train_model.py"
    program.write_text(program.read_text().replace("LogisticRegression()", "LogisticRegression(C=0.5)"))


def empty_the_cache(clone: Path) -> None:
    """Begin as on a fresh machine."""
    shutil.rmtree(clone.parent / "cache")


STEPS = (
    Step("publish, caches empty", PUBLISH, 180),
    Step("publish, nothing changed", PUBLISH, 10),
    Step("publish, another model", ("publish", "--tag", "v1.0.1"), 60, edit_the_model),
    Step("test, nothing changed", ("test",), 3),
    Step("test, one test file touched", ("test",), 20, edit_a_test),
    Step("test, caches empty", ("test",), 75, empty_the_cache),
    Step("test-pipeline, caches empty", ("test-pipeline",), 240, empty_the_cache),
)
PLAIN = """
python3 -m venv ../plain
../plain/bin/pip install -q --require-hashes --no-deps --no-cache-dir -r requirements-uv.txt
../plain/bin/uv pip install -q --python ../plain --no-cache \
    --no-deps --require-hashes -r requirements-test.txt
../plain/bin/python train_model.py --output ../model
../plain/bin/python -m pytest --quiet tests/release --model ../model
"""


def main() -> int:
    """Measure every step once and print the table."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        clone = Path(folder, "clone")
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        environment = {**os.environ, "XDG_CACHE_HOME": f"{folder}/cache", "DAGGERW_ENGINE": "embedded"}
        plain = measure_call(["bash", "-ec", PLAIN], clone, environment).seconds
        print(f"{'step':28} {'seconds':>8} {'limit':>6} {'ratio':>6} {'engine MB':>10} {'module MB':>10}")
        print(f"{'without containers':28} {plain:8.1f} {'':6} {1:6.1f}", flush=True)
        for step in STEPS:
            step.before(clone)
            figure = measure_call(["./daggerw", "call", *step.words], clone, environment)
            memory = f"{figure.engine_mb:10.0f} {figure.module_mb:10.0f}"
            row = f"{step.name:28} {figure.seconds:8.1f} {step.limit:6.0f} {figure.seconds / plain:6.1f}"
            print(f"{row} {memory}", flush=True)
    return 0


def measure_call(command: list[str], folder: Path, environment: dict[str, str]) -> Figure:
    """Run a command in a folder and return its figures; CalledProcessError when it fails."""
    began = time.monotonic()
    with subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL) as process:
        most, ended = {ENGINE: 0.0, MODULE: 0.0}, threading.Event()
        sampler = threading.Thread(target=_sample, args=(process.pid, most, ended))
        sampler.start()
        status = process.wait()
        seconds = time.monotonic() - began
        ended.set()
        sampler.join()
    if status:
        raise subprocess.CalledProcessError(status, command)
    return Figure(seconds, most[ENGINE], most[MODULE])


def _sample(pid: int, most: dict[str, float], ended: threading.Event) -> None:
    while not ended.wait(SAMPLE_SECONDS):
        now = dict.fromkeys(most, 0.0)
        for each in _family(pid):
            for kind in most:
                if kind in _read(each, "cmdline").replace("\0", " "):
                    now[kind] += _pss(each)
        for kind, value in now.items():
            most[kind] = max(most[kind], value)


def _family(pid: int) -> Iterator[int]:
    yield pid
    for thread in _threads(pid):
        for child in _read(pid, f"task/{thread}/children").split():
            yield from _family(int(child))


def _threads(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except OSError:  # it ended meanwhile
        return []


def _pss(pid: int) -> float:
    lines = (line for line in _read(pid, "smaps_rollup").splitlines() if line.startswith("Pss:"))
    return sum(int(line.split()[1]) for line in lines) / 1024


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:  # it ended meanwhile
        return ""


if __name__ == "__main__":
    sys.exit(main())
