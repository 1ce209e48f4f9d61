"""OCI runtime of Dockerfiles' RUN steps: crun, started by Buildah, with the restrictions of all containers.

Buildah runs the text of `script`, which first lets this program change a new container's specification.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":  # run by its path, so that no other module is importable
    sys.path.insert(0, os.path.abspath(f"{os.path.dirname(__file__)}/../.."))

from daggerw_engine.isolation.specification import restrict

SCRIPT = """#!/bin/sh
for word; do
    [ "$word" != create ] || {{ {steps}; }} || exit
done
exec crun --root={state} --cgroup-manager=disabled "$@"
"""


def script(state: Path, groups: Sequence[Path], *, processes: int) -> str:
    """Return a shell script that is an OCI runtime; crun keeps its state in the folder `state`.

    `groups` are the cgroups that limit a container; `processes` is its process limit without such a cgroup.
    """
    cached = (f"-Xpycache_prefix={sys.pycache_prefix}",) if sys.pycache_prefix else ()
    program = shlex.join((sys.executable, "-I", "-S", *cached, __file__, str(processes)))
    limits = [f"echo 0 >{shlex.quote(str(group / 'cgroup.procs'))}" for group in groups]
    steps = " && ".join([f'{program} "$@"', *limits])
    return SCRIPT.format(steps=steps, state=shlex.quote(str(state)))


def main(processes: str, *words: str) -> None:
    """Restrict the specification in the bundle named in the runtime's arguments."""
    path = Path(words[words.index("--bundle") + 1], "config.json")
    config = json.loads(path.read_text())
    root = path.parent / config["root"]["path"]
    path.write_text(json.dumps(restrict(config, root, processes=int(processes))))


if __name__ == "__main__":
    main(*sys.argv[1:])
