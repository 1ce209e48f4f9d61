"""Attacks by a command inside its container, in Perl, with their expected failures.

A script prints `done` when it succeeds, else `refused:` and the reason, which distinguishes a broken script
from a prevented attack. A successful attack does no harm to the machine.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Beside = Literal["stronger", "same", "weaker"]
DENIED = ("Operation not permitted", "Permission denied", "Read-only file system")
MISSING = "No such file or directory"  # not every kernel has it
ABSENT = ("Function not implemented",)
TOKEN = "a-token-of-this-engine-alone"

# <asm/unistd.h>
NUMBERS = {
    "x86_64": {
        **{"mount": 165, "umount2": 166, "pivot_root": 155, "unshare": 272, "setns": 308, "clone": 56},
        **{"mknodat": 259, "keyctl": 250, "bpf": 321, "perf_event_open": 298, "init_module": 175},
        **{"open_by_handle_at": 304, "userfaultfd": 323, "syslog": 103, "kexec_load": 246, "reboot": 169},
    },
    "aarch64": {
        **{"mount": 40, "umount2": 39, "pivot_root": 41, "unshare": 97, "setns": 268, "clone": 220},
        **{"mknodat": 33, "keyctl": 219, "bpf": 280, "perf_event_open": 241, "init_module": 105},
        **{"open_by_handle_at": 265, "userfaultfd": 282, "syslog": 116, "kexec_load": 104, "reboot": 142},
    },
}[os.uname().machine] | {
    **{"open_tree": 428, "move_mount": 429, "fsopen": 430, "mount_setattr": 442},
    **{"clone3": 435, "io_uring_setup": 425},
}
AT_FDCWD, NEW_USER, NEW_MOUNTS, REMOUNT_BIND, NEW_DEVICE = -100, 0x10000000, 0x20000, 0x1020, stat.S_IFBLK


@dataclass(frozen=True)
class Attack:
    """Attack: a script, the reasons for which it may fail, or the expected text, and Docker's standing."""

    name: str
    script: str
    fails: Sequence[str]
    beside: Beside
    why: str


def call(name: str, *arguments: int | str) -> str:
    """Return a script that makes a system call."""
    words = ", ".join(
        [
            str(NUMBERS[name]),
            *(str(a) if isinstance(a, int) else f"my $p{i} = '{a}'" for i, a in enumerate(arguments)),
        ]
    )
    return f"report(syscall({words}) != -1);"


def open_path(path: str, mode: str = "+<") -> str:
    """Return a script that opens a file."""
    return f"report(open(my $file, '{mode}', '{path}'));"


def socket(family: int, kind: int = 2, protocol: int = 0) -> str:
    """Return a script that makes a socket."""
    return f"report(socket(my $made, {family}, {kind}, {protocol}));"


PRELUDE = """
$| = 1;
sub report { my ($done) = @_; print $done ? "done\\n" : "refused: $!\\n" }
sub found { print @_ ? "found: @_\\n" : "found nothing\\n" }
sub below { my ($at) = @_; opendir(my $d, $at) or return; map { "$at/$_" } grep { !/^\\.\\.?$/ } readdir $d }
sub text { open(my $file, '<', $_[0]) or return ''; local $/; my $all = <$file>; defined $all ? $all : '' }
"""
FORKS = """
my @made;
while (@made < 6000) {
    my $child = fork;
    last unless defined $child;
    if (!$child) { sleep 600; exit }
    push @made, $child;
}
report(@made == 6000);
kill 9, @made; 1 while wait > 0;
"""
ENVIRONMENTS = f"""
found(grep {{ text($_) =~ /TOKEN=|{TOKEN}/ }} glob '/proc/[0-9]*/environ');
"""
PROCESSES = """
found(grep { text("$_/cmdline") =~ /daggerw|crun|buildah|slirp/ } glob '/proc/[0-9]*');
"""
ROOTS = """
my ($own) = (stat '/')[0];
found(grep { my @s = stat("$_/root/."); @s && $s[0] != $own } glob '/proc/[0-9]*');
"""
MEMORY = f"""
my @mounts = grep {{ /^\\S+ \\S+ (tmpfs|ramfs|devtmpfs) / }} split /\\n/, text('/proc/mounts');
my @todo = map {{ (split)[1] }} @mounts; my @hits;
while (my $place = shift @todo) {{
    if (-d $place && !-l $place) {{ push @todo, below($place) }}
    elsif (-f $place && text($place) =~ /{TOKEN}|DAGGER_SESSION_TOKEN/) {{ push @hits, $place }}
}}
found(@hits);
"""
FILLS = """
open(my $file, '>', '/dev/shm/x'); my $much = 'x' x (1 << 20);
my $written = grep { defined syswrite($file, $much) } 1..200;
report($written == 200); unlink '/dev/shm/x';
"""
FILLS_FILES = """
my $made = grep { open(my $file, '>', "/dev/shm/y$_") } 1..20000;
report($made == 20000); unlink glob '/dev/shm/y*';
"""
LISTENERS = """
found(map { (split)[1] } grep { (split)[3] eq '0A' } map { split /\\n/, text("/proc/net/$_") } 'tcp', 'tcp6');
"""
UNIX_SOCKETS = """
my @lines = split /\\n/, text('/proc/net/unix'); shift @lines;
found(map { (split)[7] || () } @lines);
"""
INHERITED = """
my $status = text('/proc/self/status');
found(grep { $status =~ /^$_:\\s*0*[1-9a-f]/m } 'CapInh', 'CapAmb');
"""
MORE_THAN_ORDINARY = """
my $status = text('/proc/self/status');
found(map { /^(Cap\\w+):\\s*(\\w+)/ && hex($2) & ~0xa00405fb ? $1 : () } split /\\n/, $status);
"""
DEVICES = """
my %usual = map { $_ => 1 } qw(null zero full random urandom tty console ptmx);
my @todo = '/dev'; my @others;
while (my $place = shift @todo) {
    if (-d $place && !-l $place) { push @todo, below($place) }
    elsif ((-b $place || -c $place) && !-l $place) {
        my ($name) = $place =~ m{([^/]+)$};
        push @others, $place unless $usual{$name} || $place =~ m{^/dev/pts/};
    }
}
found(@others);
"""

NOTHING = ("found nothing",)
FAMILY = ("Address family not supported by protocol",)
PLACES: tuple[Beside, str] = ("same", "Masked and read-only paths, few devices, no capability to change that")
CALLS: tuple[Beside, str] = (
    "same",
    "Neither the capability nor the system call is given",
)
NAMESPACES: tuple[Beside, str] = (
    "same",
    "No namespace flag in `unshare` and `clone`, `clone3` as if not there",
)
CAPABLE: tuple[Beside, str] = ("stronger", "Docker gives NET_RAW and MKNOD")
LISTED: tuple[Beside, str] = (
    "stronger",
    "Docker 20.10 allows io_uring and AF_ALG; later ones refuse AF_VSOCK, too",
)
LIMITED: tuple[Beside, str] = (
    "stronger",
    "Docker limits processes only on request; 2048 here, by a cgroup or, rootless, RLIMIT_NPROC",
)
MEMORY_FILES: tuple[Beside, str] = (
    "stronger",
    "Docker limits the size of /dev/shm, not its files; 16,384 here",
)
APART: tuple[Beside, str] = ("same", "Namespaces of its own, with nothing of the engine's in them")
ATTACKS = (
    Attack("make a block device", call("mknodat", AT_FDCWD, "/disk", NEW_DEVICE, 0xFE00), DENIED, *CAPABLE),
    Attack("listen to packets", socket(17, 3, 768), DENIED, *CAPABLE),
    Attack("send raw packets", socket(2, 3, 255), DENIED, *CAPABLE),
    Attack("have more capabilities than ordinary", MORE_THAN_ORDINARY, NOTHING, *CAPABLE),
    Attack("use io_uring", call("io_uring_setup", 8, "0" * 120), ABSENT, *LISTED),
    Attack("reach the machine's host by vsock", socket(40, 1), FAMILY, *LISTED),
    Attack("use the kernel's crypto sockets", socket(38, 5), FAMILY, *LISTED),
    Attack("fork without end", FORKS, ("Resource temporarily unavailable",), *LIMITED),
    Attack("find a device beside the usual ones", DEVICES, NOTHING, *PLACES),
    Attack("write the kernel's settings", open_path("/proc/sys/kernel/core_pattern"), DENIED, *PLACES),
    Attack("write to sysrq-trigger", open_path("/proc/sysrq-trigger", ">"), (*DENIED, MISSING), *PLACES),
    Attack("write to sysfs", open_path("/sys/kernel/uevent_helper", ">"), (*DENIED, MISSING), *PLACES),
    Attack("fill shared memory", FILLS, ("No space left on device",), *PLACES),
    Attack("fill shared memory with empty files", FILLS_FILES, ("No space left on device",), *MEMORY_FILES),
    Attack("mount a file system", call("mount", "proc", "/tmp", "proc", 0, 0), DENIED, *CALLS),
    Attack("remount read-only paths", call("mount", "", "/proc/sys", "", REMOUNT_BIND, 0), DENIED, *CALLS),
    Attack("unmount what is masked", call("umount2", "/proc/keys", 2), DENIED, *CALLS),
    Attack("pivot to another root", call("pivot_root", "/", "/"), DENIED, *CALLS),
    Attack("open a file system by fsopen", call("fsopen", "tmpfs", 0), DENIED, *CALLS),
    Attack("copy a mount by open_tree", call("open_tree", AT_FDCWD, "/", 1), DENIED, *CALLS),
    Attack("move a mount", call("move_mount", AT_FDCWD, "/proc", AT_FDCWD, "/sys", 0), DENIED, *CALLS),
    Attack("change a mount", call("mount_setattr", AT_FDCWD, "/sys", 0, "0" * 32, 32), DENIED, *CALLS),
    Attack("open a file by its handle", call("open_by_handle_at", AT_FDCWD, "0" * 16, 0), DENIED, *CALLS),
    Attack("use the kernel's keys", call("keyctl", 0, -3, 0), DENIED, *CALLS),
    Attack("load a BPF program", call("bpf", 5, "0" * 72, 72), DENIED, *CALLS),
    Attack("trace by perf", call("perf_event_open", "0" * 120, 0, -1, -1, 0), DENIED, *CALLS),
    Attack("handle page faults", call("userfaultfd", 0), DENIED, *CALLS),
    Attack("load a kernel module", call("init_module", "none", 4, ""), DENIED, *CALLS),
    Attack("load another kernel", call("kexec_load", 0, 0, 0, 0), DENIED, *CALLS),
    Attack("read the kernel's log", call("syslog", 3, "0" * 64, 64), DENIED, *CALLS),
    Attack("make a user namespace", call("unshare", NEW_USER), (*ABSENT, *DENIED), *NAMESPACES),
    Attack("clone into namespaces", call("clone", NEW_MOUNTS | 17, 0, 0, 0, 0), ABSENT, *NAMESPACES),
    Attack("make namespaces by clone3", call("clone3", "0" * 88, 88), ABSENT, *NAMESPACES),
    Attack(
        "join a namespace",
        f"open(my $n, '<', '/proc/self/ns/uts'); {call('setns', 3, 0)}",
        DENIED,
        *NAMESPACES,
    ),
    Attack("have capabilities to inherit", INHERITED, NOTHING, *APART),
    Attack("see a process of the engine", PROCESSES, NOTHING, *APART),
    Attack("reach another root by /proc", ROOTS, NOTHING, *APART),
    Attack("read another process's environment", ENVIRONMENTS, NOTHING, *APART),
    Attack("find a token in memory", MEMORY, NOTHING, *APART),
    Attack("find a listener on loopback", LISTENERS, NOTHING, *APART),
    Attack("find a Unix socket", UNIX_SOCKETS, NOTHING, *APART),
)
# Attacks by more than one command: see the other tests here.
OTHERS: tuple[tuple[str, Beside, str], ...] = (
    (
        "a device in an image, an archive or a volume",
        "same",
        "No device on any mount; Docker's devices cgroup",
    ),
    ("a setuid program, run by another user", "same", "It has what an ordinary root has"),
    (
        "a link in place of a mount point or a working directory, in a volume, an archive or an export",
        "same",
        "Nothing is made or removed by the engine through a link",
    ),
    ("a setuid program or a capability in an export", "stronger", "Stripped; `docker cp` keeps them"),
    (
        "another command, the module, a service without a binding",
        "stronger",
        "A network for each command; Docker's default bridge connects all",
    ),
    ("the cloud's metadata, the host's own addresses", "stronger", "No route to them, but to a proxy's port"),
    (
        "a disk filled to its end, with bytes or with files",
        "same",
        "No limit; the command fails, the engine removes its output and continues",
    ),
    (
        "memory used to its end",
        "stronger",
        "Docker limits memory only on request; nine tenths of what there is here, by a cgroup where one can "
        "be made. Without one, as rootless, the kernel ends the command before the engine",
    ),
    (
        "what only a profile of AppArmor or SELinux refuses (not tried)",
        "weaker",
        "There is no profile: to load one takes root on the host and a kernel with AppArmor, and locked-down "
        "CI has neither. Read-only and masked paths, capabilities and system calls do without",
    ),
)


def table() -> list[str]:
    """Return the rows of README's table: attacks, the comparison with Docker's defaults, the reasons."""
    groups: dict[tuple[Beside, str], list[str]] = {}
    for attack in ATTACKS:
        groups.setdefault((attack.beside, attack.why), []).append(attack.name)
    rows = [(", ".join(names), *reason) for reason, names in groups.items()]
    return [f"| {tried} | {beside} | {why} |" for tried, beside, why in (*rows, *OTHERS)]


def script(attack: Attack) -> str:
    """Return the whole script of an attack."""
    return PRELUDE + attack.script
