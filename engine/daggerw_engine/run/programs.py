"""Required programs from Debian's packages, whose installation may still run."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

from daggerw_engine.errors import EngineError

# Debian's packages, by one program of each.
PROGRAMS = {
    "buildah": "buildah",
    "crun": "crun",
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "slirp4netns": "slirp4netns",
    "tini-static": "tini",
    "unshare": "util-linux",
}


def wait_for_packages(lock: Path | None) -> None:
    """Wait while the wrapper installs Debian's packages and locks the file `lock`."""
    if lock:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH)


def require_programs(lock: Path | None) -> None:
    """Wait as `wait_for_packages` does; EngineError names the missing packages."""
    wait_for_packages(lock)
    if missing := [package for name, package in PROGRAMS.items() if not shutil.which(name)]:
        raise EngineError(
            f"the embedded engine needs the Debian packages {' '.join(missing)}; run as root: "
            f"apt-get update && apt-get install --yes --no-install-recommends {' '.join(missing)}"
        )
