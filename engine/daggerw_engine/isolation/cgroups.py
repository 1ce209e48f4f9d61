"""Control groups that limit a container's processes and memory, where the machine permits them.

Without one, RLIMIT_NPROC limits the processes, which the kernel ignores for root outside of a user namespace,
and nothing limits the memory: the kernel then kills a container's command before the engine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

MOST_PROCESSES = 2048  # as Podman has it
MEMORY_SHARE = 0.9  # the rest is left to the engine and the machine
CONTROLLERS = ("pids", "memory")
MEMORY_FILES = ("memory.max", "memory.limit_in_bytes")  # of version 2 and of version 1
MOUNTED = Path("/sys/fs/cgroup")
NAME = "daggerw"
_numbers = count(1)


@dataclass(frozen=True)
class Limits:
    """Cgroups that limit a container, and its RLIMIT_NPROC: 0 when one of them limits processes."""

    groups: Sequence[Path] = ()
    processes: int = MOST_PROCESSES


@contextmanager
def limit_container() -> Iterator[Limits]:
    """Create the cgroups that limit one container and remove them at the end; none where not permitted."""
    name = f"{NAME}-{os.getpid()}-{next(_numbers)}"
    with ExitStack() as stack:
        made: dict[str, Path] = {}
        for controller in CONTROLLERS:
            if group := _make(controller, name):
                if group not in made.values():
                    stack.callback(_remove, group)
                made[controller] = group
                _limit(controller, group)
        yield Limits(tuple(dict.fromkeys(made.values())), 0 if "pids" in made else MOST_PROCESSES)


def sweep() -> None:
    """Remove the empty cgroups of ended engines."""
    for parent in {parent for controller in CONTROLLERS for parent in _parents(controller)}:
        for group in parent.glob(f"{NAME}-*-*"):
            engine = group.name.split("-")[1]
            if not Path("/proc", engine).exists():
                _remove(group)


def _remove(group: Path) -> None:
    with suppress(OSError):  # its last processes may still be ending, or another session was first
        group.rmdir()


def _make(controller: str, name: str) -> Path | None:
    for parent in _parents(controller):
        with suppress(OSError):
            (parent / name).mkdir(exist_ok=True)  # one of version 2 limits both
            return parent / name
    return None


def _limit(controller: str, group: Path) -> None:
    if controller == "pids":
        (group / "pids.max").write_text(str(MOST_PROCESSES))
        return
    most = int(MEMORY_SHARE * available_memory(group.parent))
    next(group / name for name in MEMORY_FILES if (group / name).exists()).write_text(str(most))


def available_memory(group: Path) -> int:
    """Return the memory limit of the processes in a cgroup, in bytes."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in (above / name for above in (group, *group.parents) for name in MEMORY_FILES):
        if path.is_file() and (text := path.read_text().strip()).isdecimal():
            limits.append(int(text))
    return min(limits)


def _parents(controller: str) -> list[Path]:
    """Return the folders that may accept a new cgroup, the best first."""
    found = parents(Path("/proc/self/cgroup").read_text(), controller)
    return [each for each in found if os.access(each, os.W_OK)]


def parents(text: str, controller: str, mounted: Path = MOUNTED) -> list[Path]:
    """Return the cgroups whose children can be limited, from the text of /proc/self/cgroup.

    In version 1 that is our own cgroup. In version 2 it is an ancestor, as a cgroup with processes can't
    limit its children: the nearest with both controllers, else with `pids`.
    """
    unified: list[Path] = []
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        own = mounted / path.lstrip("/")
        if controllers == controller and (mounted / controller).is_dir():
            return [mounted / controller / path.lstrip("/")]
        if not controllers:
            above = [each for each in (own, *own.parents) if each.is_relative_to(mounted)]
            unified = [each for each in above if {"pids", controller} <= _controllers(each)]
    return sorted(unified, key=lambda each: "memory" not in _controllers(each))


def _controllers(group: Path) -> set[str]:
    try:
        return set((group / "cgroup.subtree_control").read_text().split())
    except OSError:
        return set()
