"""Runs one command in a container: a program of its own, told what to do by JSON in an inherited file.

    engine -> runner -> init -> command
              waits     pid 1, sees only the container

The runner joins the session's network and makes namespaces; init mounts the container's file system and
everything in it, forgets the host's, and starts the command as its user. Whoever ends takes all below along.
What the command must not show, such as secrets, is in init's memory and in file systems in memory only.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from contextlib import suppress
from typing import Any, NoReturn

sys.path.insert(0, os.path.abspath(f"{os.path.dirname(__file__)}/../.."))

from daggerw_engine.files.user_ids import user_ids
from daggerw_engine.run import kernel

# The capabilities of an ordinary container, by number (<linux/capability.h>): chown, dac_override, fowner,
# fsetid, kill, setgid, setuid, setpcap, net_bind_service, net_raw, sys_chroot, mknod, audit_write, setfcap.
CAPABILITIES = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31)
FORBIDDEN = (
    *("add_key", "bpf", "delete_module", "finit_module", "init_module", "kexec_file_load", "kexec_load"),
    *("keyctl", "mount", "mount_setattr", "move_mount", "fsopen", "fspick", "open_by_handle_at"),
    *("open_tree", "perf_event_open", "pivot_root", "request_key", "setns", "umount2", "unshare"),
    "userfaultfd",
)
DEVICES = ("full", "null", "random", "tty", "urandom", "zero")
LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
HIDDEN = ("kcore", "keys", "latency_stats", "sysrq-trigger", "timer_list")
FIXED = ("bus", "fs", "irq", "sys")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NOT_FOUND, NOT_RUN = 127, 126
Spec = dict[str, Any]


def main() -> int:
    """Run what the file with the first argument's number describes, for the engine whose id is the second."""
    kernel.die_with_parent(int(sys.argv[2]))
    with open(int(sys.argv[1])) as file:
        spec: Spec = json.load(file)
    os.set_inheritable(spec["status"], False)
    kernel.enter_network(spec["network"])
    kernel.unshare(kernel.NEW_MOUNTS | kernel.NEW_PIDS | kernel.NEW_IPC)
    kernel.mount("", "/", None, kernel.PRIVATE | kernel.RECURSIVE)
    reader, writer = os.pipe()  # tells init, once it is tied to us, whether we have ended before
    if (init := os.fork()) == 0:
        os.close(writer)
        _init(spec, reader)
    os.close(reader)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(init, signal.SIGTERM))
    return os.waitstatus_to_exitcode(os.waitpid(init, 0)[1])


def _init(spec: Spec, runner: int) -> NoReturn:
    """Be the container's first process: make its file system, start its command, wait for it."""
    status = NOT_RUN
    try:
        kernel.die_with_parent(0)  # the number that all outside of the namespace have in it
        if select.select([runner], [], [], 0)[0]:
            os._exit(status)
        root = Root(spec)
        root.enter()
        os.makedirs(spec["workdir"], exist_ok=True)
        status = _supervised(_started(spec), root)
    except OSError as error:
        _tell(spec, "container", f"{error.filename or ''}: {error.strerror}")
    except LookupError as error:
        _tell(spec, "user", error.args[0])
    finally:
        os._exit(status)


def _tell(spec: Spec, what: str, message: str) -> None:
    """Tell the engine why the command has not run."""
    os.write(spec["status"], json.dumps([what, message]).encode())


class Root:
    """A container's file system, made from its layers and mounts."""

    def __init__(self, spec: Spec) -> None:
        self._made: list[str] = []
        os.chdir(spec["cache"])
        self._path = spec["root"]
        kernel.mount("overlay", self._path, "overlay", 0, spec["overlay"])
        self._root = os.open(self._path, os.O_PATH | os.O_DIRECTORY)
        self._memory, self._files = spec["memory"], 0
        kernel.mount("tmpfs", self._memory, "tmpfs", kernel.NOSUID | kernel.NODEV, "mode=700")
        self._system()
        for each in spec["mounts"]:
            self._add(each)
        self._lend(spec)

    def enter(self) -> None:
        """Make it this process's only file system."""
        os.close(self._root)
        sys.path.clear()  # from here on, an import would take the container's code
        kernel.pivot(self._path)

    def tidy(self) -> None:
        """Remove the empty files and folders that were made to mount something on, from within."""
        for path in reversed(self._made):
            with suppress(OSError):  # a folder above a mount is none
                kernel.unmount(path)
            with suppress(OSError):  # the command has put something there, or removed it
                (os.rmdir if os.path.isdir(path) else os.unlink)(path)

    def _place(self, path: str, *, folder: bool) -> str:
        """Return a name for `path` in the container, which is made when it isn't there."""
        parent, name = os.path.split(path.rstrip("/"))
        try:
            return self._name(kernel.open_in(self._root, path, os.O_PATH))
        except FileNotFoundError:
            above = self._place(parent or "/", folder=True)
        if folder:
            os.mkdir(f"{above}/{name}")
        else:
            os.close(os.open(f"{above}/{name}", os.O_CREAT | os.O_EXCL, 0o644))
        self._made.append(path)
        return self._place(path, folder=folder)

    def _name(self, descriptor: int) -> str:
        return f"/proc/self/fd/{descriptor}"

    def _mount(self, source: str, path: str, kind: str | None, flags: int = 0, options: str = "") -> str:
        """Mount something at a path of the container and return a name for it."""
        folder = kind is not None or os.path.isdir(source)
        kernel.mount(source, self._place(path, folder=folder), kind, flags, options)
        return self._place(path, folder=folder)

    def _bind(self, source: str, path: str, *, fixed: bool = False) -> None:
        target = self._mount(source, path, None, kernel.BIND | kernel.RECURSIVE)
        if fixed:
            kernel.read_only(target)

    def _system(self) -> None:
        quiet = kernel.NOSUID | kernel.NODEV | kernel.NOEXEC
        proc = self._mount("proc", "/proc", "proc", quiet)
        for name in HIDDEN:
            if os.path.exists(f"{proc}/{name}"):
                kernel.mount("/dev/null", f"{proc}/{name}", None, kernel.BIND)
        for name in FIXED:
            kernel.mount(f"{proc}/{name}", f"{proc}/{name}", None, kernel.BIND)
            kernel.read_only(self._place(f"/proc/{name}", folder=True))
        self._bind("/sys", "/sys", fixed=True)
        dev = self._mount("tmpfs", "/dev", "tmpfs", kernel.NOSUID | kernel.NOEXEC, "mode=755,size=64k")
        for name in DEVICES:
            open(f"{dev}/{name}", "x").close()
            kernel.mount(f"/dev/{name}", f"{dev}/{name}", None, kernel.BIND)
        for name, target in LINKS.items():
            os.symlink(target, f"{dev}/{name}")
        os.mkdir(f"{dev}/pts")
        kernel.mount("devpts", f"{dev}/pts", "devpts", quiet, "newinstance,ptmxmode=0666,mode=0620")
        os.mkdir(f"{dev}/shm")
        kernel.mount("tmpfs", f"{dev}/shm", "tmpfs", kernel.NOSUID | kernel.NODEV, "mode=1777")

    def _add(self, each: Spec) -> None:
        path, owner = each["target"], self._owner(each.get("owner", ""))
        if "text" in each:
            self._bind(self._in_memory(each["text"], each["mode"], owner), path, fixed=True)
            return
        if "overlay" in each:
            self._mount("overlay", path, "overlay", 0, each["overlay"])
        elif "size" in each:
            size = f",size={each['size']}" if each["size"] else ""
            self._mount("tmpfs", path, "tmpfs", kernel.NOSUID | kernel.NODEV, f"mode=755{size}")
        else:
            self._bind(each["source"], path)
        target = self._place(path, folder=True)
        if owner:
            _give(target, owner)
        if each.get("read_only"):
            kernel.read_only(target)

    def _owner(self, named: str) -> tuple[int, int] | None:
        if not named:
            return None
        user, group, _, _ = user_ids(named, self._read("/etc/passwd"), self._read("/etc/group"))
        return user, group if ":" in named else user

    def _read(self, path: str) -> str:
        return _text(self._name(kernel.open_in(self._root, path, os.O_RDONLY)))

    def _in_memory(self, text: str, mode: int, owner: tuple[int, int] | None) -> str:
        self._files += 1
        name = f"{self._memory}/{self._files}"
        with open(name, "x", errors="surrogateescape") as file:
            file.write(text)
        os.chown(name, *(owner or (0, 0)))
        os.chmod(name, mode)
        return name

    def _lend(self, spec: Spec) -> None:
        """Put the host's trusted authorities over the container's, and name them, where it has some."""
        if not (trust := spec["trust"]):
            return
        try:
            os.close(kernel.open_in(self._root, trust["path"], os.O_PATH))
        except FileNotFoundError:
            return
        self._bind(trust["bundle"], trust["path"], fixed=True)
        spec["env"] = {**dict.fromkeys(trust["variables"], trust["path"]), **spec["env"]}


def _text(name: str) -> str:
    with open(name, errors="surrogateescape") as file:
        return file.read()


def _give(folder: str, owner: tuple[int, int]) -> None:
    os.chown(folder, *owner)
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(os.path.join(place, name), *owner, follow_symlinks=False)


def _started(spec: Spec) -> int:
    """Start the command as its user and return its number."""
    tables = [_text(name) if os.path.exists(name) else "" for name in ("/etc/passwd", "/etc/group")]
    uid, gid, groups, home = user_ids(spec["user"] or "0", *tables)
    environment = {"PATH": PATH, "HOME": home, **spec["env"]}
    if child := os.fork():
        return child
    status = NOT_RUN
    try:
        os.setsid()
        kernel.forbid(FORBIDDEN)
        kernel.drop_capabilities(CAPABILITIES)
        os.setgroups(groups)
        os.setgid(gid)
        os.setuid(uid)
        os.umask(0o022)
        os.chdir(spec["workdir"])
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores
            signal.signal(number, signal.SIG_DFL)
        _execute(spec["args"], environment)
        status = NOT_FOUND
        _tell(spec, "command", f'exec: "{spec["args"][0]}": executable file not found in $PATH')
    except OSError as error:
        _tell(spec, "command", f"{spec['args'][0]}: {error.strerror}")
    finally:
        os._exit(status)


def _execute(command: list[str], environment: dict[str, str]) -> None:
    """Become the command; returns when there is no such program."""
    folders = [""] if "/" in command[0] else [f"{each}/" for each in environment["PATH"].split(":")]
    for folder in folders:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.execve(folder + command[0], command, environment)


def _supervised(command: int, root: Root) -> int:
    """Wait for the command, and for whatever else ends here; returns its status as a shell tells it."""
    signal.signal(signal.SIGTERM, lambda *_: os.kill(command, signal.SIGTERM))
    while True:
        ended, status = os.wait()
        if ended == command:
            break
    root.tidy()
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
