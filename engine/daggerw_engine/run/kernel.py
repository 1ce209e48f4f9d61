"""What Python has no function for: mounts, namespaces, capabilities, forbidden system calls."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable

# <linux/mount.h>, <linux/sched.h>, <linux/prctl.h>, <linux/openat2.h>, <seccomp.h>
NOSUID, NODEV, NOEXEC, BIND, RECURSIVE, PRIVATE = 0x2, 0x4, 0x8, 0x1000, 0x4000, 0x40000
NEW_MOUNTS, NEW_IPC, NEW_PIDS, NEW_NETWORK = 0x20000, 0x8000000, 0x20000000, 0x40000000
DETACH, AT_EMPTY_PATH, AT_RECURSIVE, RESOLVE_IN_ROOT = 2, 0x1000, 0x8000, 0x10
ATTR_READ_ONLY = 1
SET_PDEATHSIG, CAPBSET_DROP, LAST_CAPABILITY = 1, 24, 63
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}.get(os.uname().machine, -1)
OPENAT2, MOUNT_SETATTR = 437, 442
SCMP_ALLOW, SCMP_EPERM, SCMP_NO_NEW_PRIVILEGES = 0x7FFF0000, 0x00050001, 3

libc = ctypes.CDLL(None, use_errno=True)
seccomp = ctypes.CDLL("libseccomp.so.2")  # now: later, a container's might be found


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def mount(source: str, target: str, kind: str | None, flags: int = 0, options: str = "") -> None:
    """Call mount(2)."""
    words = [text.encode(errors="surrogateescape") if text else None for text in (source, target, kind)]
    _checked(libc.mount(*words, ctypes.c_ulong(flags), options.encode() or None), target)


def unmount(target: str) -> None:
    """Take a mount, and all below it, out of the file system."""
    _checked(libc.umount2(target.encode(errors="surrogateescape"), DETACH), target)


def read_only(target: str, extra: int = 0) -> None:
    """Make a mount, and all below it, read-only."""
    attributes = struct.pack("QQQQ", ATTR_READ_ONLY | extra, 0, 0, 0)
    path = target.encode(errors="surrogateescape")
    done = libc.syscall(MOUNT_SETATTR, -100, path, AT_RECURSIVE, attributes, len(attributes))
    _checked(done, target)


def pivot(root: str) -> None:
    """Make `root`, a mount, the file system's root; nothing of the old one stays in reach."""
    os.chdir(root)
    _checked(libc.syscall(PIVOT_ROOT, b".", b"."), root)
    unmount(".")
    os.chdir("/")


def open_in(root: int, path: str, flags: int) -> int:
    """Open `path` as a process would whose root is the folder `root`: no link leads out of it."""
    how = struct.pack("QQQ", flags | os.O_CLOEXEC, 0, RESOLVE_IN_ROOT)
    name = path.encode(errors="surrogateescape")
    return _checked(libc.syscall(OPENAT2, root, name, how, len(how)), path)


def enter_network(path: str) -> None:
    """Move the calling thread into the network namespace at `path`."""
    with open(path) as namespace:
        _checked(libc.setns(namespace.fileno(), NEW_NETWORK), path)


def unshare(flags: int) -> None:
    """Give this process namespaces of its own."""
    _checked(libc.unshare(flags), "unshare")


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent, `parent`, ends; at once when it has ended."""
    _checked(libc.prctl(SET_PDEATHSIG, 9, 0, 0, 0), "prctl")
    if os.getppid() != parent:
        os._exit(1)


def drop_capabilities(kept: Iterable[int]) -> None:
    """Take away for good, from this process and its children, every capability that isn't kept."""
    for number in set(range(LAST_CAPABILITY + 1)) - set(kept):
        if libc.prctl(CAPBSET_DROP, number, 0, 0, 0) and ctypes.get_errno() != 22:  # no such capability
            _checked(-1, f"capability {number}")


def forbid(names: Iterable[str]) -> None:
    """Let the system calls with these names fail with EPERM, in this process and its children."""
    seccomp.seccomp_init.restype = ctypes.c_void_p
    rules = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(SCMP_ALLOW)))
    done = [seccomp.seccomp_attr_set(rules, SCMP_NO_NEW_PRIVILEGES, ctypes.c_uint32(0))]
    for name in names:
        number = seccomp.seccomp_syscall_resolve_name(name.encode())
        done.append(seccomp.seccomp_rule_add(rules, ctypes.c_uint32(SCMP_EPERM), number, 0))
    done.append(seccomp.seccomp_load(rules))
    if refused := min(done):
        raise OSError(-refused, os.strerror(-refused), "seccomp")
