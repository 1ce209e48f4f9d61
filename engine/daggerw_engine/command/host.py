"""Namespaces of the command line's process, where the engine is root."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Sequence

CONTAINERS = frozenset({"cache", "call", "check", "checks", "session"})  # the commands that need namespaces
NEW_MOUNTS, RECURSIVE, PRIVATE = 0x20000, 0x4000, 0x40000  # <linux/sched.h>, <linux/mount.h>
AS_ROOT = ("unshare", "--user", "--map-root-user", "--map-auto", "--mount", "--")


def prepare(words: Sequence[str]) -> None:
    """Become root in a mount namespace of our own, whose mounts end with the process.

    An ordinary user's command line restarts with these words, in a user namespace with the user's subordinate
    ids. SystemExit names the missing requirement. Commands that run no container need no namespace.
    """
    if CONTAINERS.isdisjoint(words):
        return
    if os.geteuid() != 0:
        _start_as_root(words)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_MOUNTS) or libc.mount(None, b"/", None, ctypes.c_ulong(RECURSIVE | PRIVATE), None):
        raise SystemExit(
            "daggerw: the embedded engine needs mount namespaces, which this container does not allow "
            f"({os.strerror(ctypes.get_errno())})"
        )


def _start_as_root(words: Sequence[str]) -> None:
    tried = subprocess.run([*AS_ROOT, "true"], stderr=subprocess.PIPE, text=True, check=False)
    if tried.returncode:
        reason = tried.stderr.strip().removeprefix("unshare: ")
        raise SystemExit(
            f"daggerw: the embedded engine needs root, or user namespaces with subordinate ids ({reason}). "
            f"As root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {_user_name()}."
        )
    # The variable that `buildah unshare` sets for Buildah.
    rootless = {
        "_CONTAINERS_USERNS_CONFIGURED": "done",
        "_CONTAINERS_ROOTLESS_UID": str(os.geteuid()),
        "_CONTAINERS_ROOTLESS_GID": str(os.getegid()),
    }
    command = [*AS_ROOT, sys.executable, "-P", "-m", "daggerw_engine", *words]
    os.execvpe(command[0], command, {**os.environ, **rootless})


def _user_name() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
