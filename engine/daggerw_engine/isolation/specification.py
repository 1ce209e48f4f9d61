"""OCI runtime specifications for crun, with the restrictions of every container.

`restrict` applies to every container, also to those that Buildah specifies for a Dockerfile's RUN.
The specification's fields: https://github.com/opencontainers/runtime-spec/blob/v1.0.2/config.md
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Config = dict[str, Any]

SYSTEM_CALLS = Path(__file__).with_name("seccomp.json")
# Docker's, without NET_RAW (packet sockets, spoofed addresses) and MKNOD (devices of the host).
CAPABILITIES = tuple(
    f"CAP_{name}"
    for name in (
        *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL"),
        *("NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    )
)
MASKED = (
    *("/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats"),
    *("/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats"),
    *("/sys/devices/virtual/powercap", "/sys/firmware", "/sys/dev"),
)
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
NAMESPACES = ("cgroup", "ipc", "mount", "pid", "uts")
# Without the 32-bit ones: their socketcall has its arguments in memory, which a filter can't read.
ARCHITECTURES = {"x86_64": ["SCMP_ARCH_X86_64"], "aarch64": ["SCMP_ARCH_AARCH64"]}
DEVICE_FILE_SYSTEMS = ("devpts", "tmpfs")  # only those at or below /dev have devices
HOST_NAME = "container"
SHARED_MEMORY, SHARED_FILES = "/dev/shm", "nr_inodes=16k"  # an empty file uses kernel memory
OUT_OF_MEMORY_FIRST = 500  # a command is ended before the engine is
# crun gives a container's root a mount of its own without the flags that it had. The hook reads what crun
# writes to it: otherwise crun fails.
NO_DEVICES = 'read -r state; exec mount -o remount,bind,nodev "$0"'


@dataclass(frozen=True)
class Process:
    """Command of a container, with numeric users and groups."""

    command: Sequence[str]
    environment: Mapping[str, str]
    workdir: str
    user: int = 0
    group: int = 0
    groups: Sequence[int] = ()


@dataclass(frozen=True)
class Mounted:
    """Bind mount of a host file or folder at `target`; without a source, a folder in memory."""

    target: str
    source: Path | None = None
    read_only: bool = False
    options: Sequence[str] = ()

    @property
    def entry(self) -> Config:
        """Entry in the specification."""
        if self.source is None:
            options = ["nosuid", "nodev", "mode=755", *self.options]
            return {"destination": self.target, "type": "tmpfs", "source": "tmpfs", "options": options}
        options = ["bind", "private", "ro" if self.read_only else "rw", *self.options]
        return {"destination": self.target, "type": "bind", "source": str(self.source), "options": options}


def specification(process: Process, root: Path, mounts: Sequence[Mounted], *, processes: int) -> Config:
    """Return the restricted specification of a container with the file system at `root`.

    `processes` is its process limit without a cgroup; 0 when a cgroup limits processes.
    """
    config = {
        "ociVersion": "1.0.2",
        "hostname": HOST_NAME,
        "root": {"path": str(root)},
        "process": {
            "args": list(process.command),
            "env": [f"{name}={value}" for name, value in process.environment.items()],
            "cwd": process.workdir,
            "user": {
                "uid": process.user,
                "gid": process.group,
                "additionalGids": list(process.groups),
                "umask": 0o022,
            },
        },
        "mounts": [*_system_mounts(), *(mount.entry for mount in mounts)],
        "linux": {},
    }
    return restrict(config, root, processes=processes)


def _system_mounts() -> list[Config]:
    quiet = ["nosuid", "nodev", "noexec"]
    rows = [
        ("/proc", "proc", quiet),
        ("/dev", "tmpfs", ["nosuid", "noexec", "mode=755", "size=64k"]),
        ("/dev/pts", "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
        ("/dev/shm", "tmpfs", [*quiet, "mode=1777", "size=64m"]),
        ("/dev/mqueue", "mqueue", quiet),
        ("/sys", "sysfs", [*quiet, "ro"]),
    ]
    return [
        {"destination": path, "type": kind, "source": kind, "options": options}
        for path, kind, options in rows
    ]


def restrict(config: Config, root: Path, *, processes: int) -> Config:
    """Return a specification whose security settings are replaced by those of every container."""
    linux, process = config.get("linux", {}), config["process"]
    return {
        **config,
        "process": {
            **process,
            "capabilities": {
                **{name: list(CAPABILITIES) for name in ("bounding", "effective", "permitted")},
                **{name: [] for name in ("ambient", "inheritable")},
            },
            "rlimits": _limits(processes),
            "oomScoreAdj": OUT_OF_MEMORY_FIRST,
            "noNewPrivileges": False,
        },
        "mounts": [_with_few_files(_without_devices(mount)) for mount in config["mounts"]],
        "hooks": {"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", NO_DEVICES, str(root)]}]},
        "linux": {
            **{name: value for name, value in linux.items() if name not in ("devices", "resources")},
            "namespaces": _namespaces(linux.get("namespaces", [])),
            "maskedPaths": list(MASKED),
            "readonlyPaths": list(READ_ONLY),
            "seccomp": system_calls(),
        },
    }


def system_calls(machine: str = os.uname().machine) -> Config:
    """Return the allowed system calls, in the specification's format."""
    filter_: Config = json.loads(SYSTEM_CALLS.read_text())
    return {**filter_, "architectures": ARCHITECTURES.get(machine, [])}


def _limits(processes: int) -> list[Config]:
    # A core dump may be piped into a program of the host.
    limits = {"RLIMIT_CORE": 0, **({"RLIMIT_NPROC": processes} if processes else {})}
    return [{"type": name, "soft": most, "hard": most} for name, most in limits.items()]


def _namespaces(named: Sequence[Config]) -> list[Config]:
    """Return the namespaces: each is new, except for a given network or user namespace."""
    others = [each for each in named if each["type"] not in NAMESPACES]
    return [*({"type": name} for name in NAMESPACES), *others]


def _without_devices(mount: Config) -> Config:
    """Return a mount with device files disabled, unless it is one of the container's own /dev mounts."""
    path = mount["destination"].rstrip("/")
    if path == "/dev" or (path.startswith("/dev/") and mount.get("type") in DEVICE_FILE_SYSTEMS):
        return mount
    options = [each for each in mount.get("options", []) if each != "dev"]
    return {**mount, "options": [*options, "nodev"]}


def _with_few_files(mount: Config) -> Config:
    """Return a mount, with a limit of files if it is the shared memory."""
    if mount["destination"].rstrip("/") != SHARED_MEMORY or mount.get("type") != "tmpfs":
        return mount
    return {**mount, "options": [*mount.get("options", []), SHARED_FILES]}
