"""Control groups that limit a container's processes, where this machine lets us make some.

Without one, RLIMIT_NPROC limits them, which the kernel does not count for root outside of a user namespace.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

MOST_PROCESSES = 2048  # as Podman has it
MOUNTED = Path("/sys/fs/cgroup")
NAME = "daggerw"
_numbers = count(1)


@contextmanager
def limited(most: int = MOST_PROCESSES) -> Iterator[Path | None]:
    """Make a cgroup that holds at most `most` processes, gone at the end; None when there can't be one."""
    if (group := _made()) is None:
        yield None
        return
    try:
        (group / "pids.max").write_text(str(most))
        yield group
    finally:
        with suppress(OSError):  # a command's last processes may still be ending; the next session sweeps
            group.rmdir()


def sweep() -> None:
    """Remove the empty cgroups of engines that are no more."""
    for parent in _parents():
        for group in parent.glob(f"{NAME}-*-*"):
            engine = group.name.split("-")[1]
            if not Path("/proc", engine).exists():
                with suppress(OSError):  # another session was first, or its last processes are ending
                    group.rmdir()


def _made() -> Path | None:
    for parent in _parents():
        group = parent / f"{NAME}-{os.getpid()}-{next(_numbers)}"
        with suppress(OSError):
            group.mkdir()
            return group
    return None


def _parents() -> list[Path]:
    """Return the folders in which a cgroup could be made, the best first."""
    return [each for each in parents(Path("/proc/self/cgroup").read_text()) if os.access(each, os.W_OK)]


def parents(told: str, mounted: Path = MOUNTED) -> list[Path]:
    """Return the cgroups whose children can limit processes, by the text of /proc/self/cgroup.

    In version 1 that is our own one; in version 2 the nearest one above that lets its children do so, as one
    with processes in it can't.
    """
    unified: list[Path] = []
    for line in told.splitlines():
        _, controllers, path = line.split(":", 2)
        own = mounted / path.lstrip("/")
        if controllers == "pids" and (mounted / "pids").is_dir():
            return [mounted / "pids" / path.lstrip("/")]
        if not controllers:
            above = [each for each in (own, *own.parents) if each.is_relative_to(mounted)]
            unified = [each for each in above if "pids" in _controllers(each)]
    return unified


def _controllers(group: Path) -> list[str]:
    try:
        return (group / "cgroup.subtree_control").read_text().split()
    except OSError:
        return []
