"""Debian's programs that containers need, perhaps still being installed."""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path

from daggerw_engine.errors import EngineError

# Debian's packages by a program of each.
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
    """Wait while the wrapper installs Debian's packages, for which it holds the file `lock`."""
    if lock:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH)


def require_programs(lock: Path | None) -> None:
    """Return when containers can be run, as `wait_for_packages`; EngineError names the packages that lack."""
    wait_for_packages(lock)
    if missing := [package for name, package in PROGRAMS.items() if not shutil.which(name)]:
        raise EngineError(
            f"the embedded engine needs the Debian packages {' '.join(missing)}; run as root: "
            f"apt-get update && apt-get install --yes --no-install-recommends {' '.join(missing)}"
        )
