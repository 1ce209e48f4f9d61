"""Kills of the engine at random moments, as root: `PYTHONPATH=. python tests/kill_many.py [TIMES [SEED]]`

After each kill nothing may be left, and every fifth time a whole call must succeed on the same cache.
"""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx

from engine_process import Engine, adopt_orphans, run_engine, small_root

WRITE = 'withExec(args:["dd","if=/dev/urandom","of=/f","bs=1M","count=4"])'
DOCKERFILE = 'FROM scratch\\nCOPY root /\\nRUN [\\"/bin/ls\\"]\\n'


def pipeline(engine: Engine, root: Path, number: int) -> list[dict[str, Any]]:
    """Run commands, pack an image, build a Dockerfile and start a service; return the responses."""
    new = f'withNewFile(path:"/n",contents:"{number}")'
    found = engine.query(f'{{host{{directory(path:"{root}"){{id}}}}}}')["data"]["host"]["directory"]["id"]
    file = f'withNewFile(path:"Dockerfile",contents:"{DOCKERFILE}")'
    context = f'withDirectory(path:"/root",source:"{found}"){{{file}'
    service = (
        'withExposedPort(port:9,experimentalSkipHealthcheck:true){asService(args:["sleep","99"]){start}}'
    )
    return [
        engine.container(root, f"{new}{{{WRITE}{{asTarball{{size}}}}}}"),
        engine.query(f"{{directory{{{context}{{{new}{{dockerBuild{{sync}}}}}}}}}}}}"),
        engine.container(root, service),
    ]


def kill_during_pipeline(home: Path, root: Path, number: int, seconds: float) -> list[str]:
    """Kill an engine after some seconds of the pipeline; return its leftovers."""
    engine = Engine(home).start().wait_until_open()

    def run_pipeline() -> None:
        try:
            pipeline(engine, root, number)
        except (httpx.HTTPError, FileNotFoundError):  # it is gone, and its network
            return

    thread = threading.Thread(target=run_pipeline)
    thread.start()
    time.sleep(seconds)
    engine.kill()
    thread.join()
    return engine.leftovers()


def main(times: int = 50, seed: int = 1) -> int:
    """Return the number of failures."""
    adopt_orphans()
    moments, wrong = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as folder:
        root, home = small_root(Path(folder, "root")), Path(folder, "home")
        for number in range(times):
            left = kill_during_pipeline(home, root, number, moments.uniform(0, 4))
            answers: list[dict[str, Any]] = []
            if number % 5 == 4:
                with run_engine(home) as engine:
                    answers = pipeline(engine, root, number)
            failed = [answer["errors"] for answer in answers if "errors" in answer]
            wrong += bool(left or failed)
            print(number + 1, left or failed or "well", flush=True)
    print(f"{times} kills, {wrong} went wrong")
    return wrong


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])) > 0)
