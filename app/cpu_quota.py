"""Number of processors that this process may use: by its affinity and by its cgroups' CPU quota."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def usable_processors(cgroups: Path = CGROUPS, own: Path = OWN) -> int:
    """Return the number, at least 1: of one and a half processors one is used."""
    quotas = [*_quotas(cgroups, own)]
    return max(1, min([len(os.sched_getaffinity(0)), *(int(quota) for quota in quotas)]))


def _quotas(cgroups: Path, own: Path) -> Iterator[float]:
    """Yield the quotas, in processors, of the cgroups that this process is in."""
    for line in _read(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from filter(None, map(_quota_2, _with_parents(cgroups, path)))
        elif "cpu" in controllers.split(","):
            yield from filter(None, map(_quota_1, _with_parents(cgroups / "cpu", path)))


def _with_parents(root: Path, path: str) -> Iterator[Path]:
    """Yield a cgroup's folder and those above it, of which a container may see just the highest."""
    folder = root / path.strip("/")
    yield folder
    while folder != root and folder != folder.parent:
        folder = folder.parent
        yield folder


def _quota_2(folder: Path) -> float | None:
    """Read cgroup v2's cpu.max: microseconds, or max, in a period."""
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    return int(quota) / int(period) if quota.isdigit() else None


def _quota_1(folder: Path) -> float | None:
    """Read cgroup v1's quota, -1 being none, and its period."""
    quota, period = (_read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
