"""Attacks that a command tries from inside of its container, in Perl, and what has to come of each.

A script says `done` when it has what it wanted, else `refused:` and why, so that one that is broken is told
from one that is held off. Nothing here harms a machine on which one succeeds.
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
TOKEN = "a-token-that-nobody-else-has"

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
    """What is tried; the reasons for which it may fail, or the one text that tells so; Docker's standing."""

    name: str
    script: str
    fails: Sequence[str]
    beside: Beside = "same"
    why: str = ""


def call(name: str, *arguments: int | str) -> str:
    """Return a script that makes a system call."""
    words = ", ".join(
        [
            str(NUMBERS[name]),
            *(str(a) if isinstance(a, int) else f"my $p{i} = '{a}'" for i, a in enumerate(arguments)),
        ]
    )
    return f"told(syscall({words}) != -1);"


def opened(path: str, mode: str = "+<") -> str:
    """Return a script that opens a file."""
    return f"told(open(my $file, '{mode}', '{path}'));"


def socket(family: int, kind: int = 2, protocol: int = 0) -> str:
    """Return a script that makes a socket."""
    return f"told(socket(my $made, {family}, {kind}, {protocol}));"


PRELUDE = """
$| = 1;
sub told { my ($done) = @_; print $done ? "done\\n" : "refused: $!\\n" }
sub found { print @_ ? "found: @_\\n" : "found nothing\\n" }
sub below { my ($at) = @_; opendir(my $d, $at) or return; map { "$at/$_" } grep { !/^\\.\\.?$/ } readdir $d }
sub text { open(my $file, '<', $_[0]) or return ''; local $/; my $all = <$file>; defined $all ? $all : '' }
"""
FORKS = """
my $made = 0;
while ($made < 6000) {
    my $child = fork;
    last unless defined $child;
    if (!$child) { sleep 600; exit }
    $made++;
}
told($made == 6000);
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
told($written == 200); unlink '/dev/shm/x';
"""
LISTENERS = """
found(map { (split)[1] } grep { (split)[3] eq '0A' } map { split /\\n/, text("/proc/net/$_") } 'tcp', 'tcp6');
"""
UNIX_SOCKETS = """
my @lines = split /\\n/, text('/proc/net/unix'); shift @lines;
found(map { (split)[7] || () } @lines);
"""
INHERITED = """
my $told = text('/proc/self/status');
found(grep { $told =~ /^$_:\\s*0*[1-9a-f]/m } 'CapInh', 'CapAmb');
"""
MORE_THAN_ORDINARY = """
my $told = text('/proc/self/status');
found(map { /^(Cap\\w+):\\s*(\\w+)/ && hex($2) & ~0xa00405fb ? $1 : () } split /\\n/, $told);
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
ATTACKS = (
    Attack(
        "make a block device",
        call("mknodat", AT_FDCWD, "/disk", NEW_DEVICE | 0o600, 0xFE00),
        DENIED,
        "stronger",
        "no MKNOD",
    ),
    Attack("find a device beside the usual ones", DEVICES, NOTHING),
    Attack("write the kernel's settings", opened("/proc/sys/kernel/core_pattern"), DENIED),
    Attack("write to sysrq-trigger", opened("/proc/sysrq-trigger", ">"), (*DENIED, MISSING)),
    Attack(
        "write the kernel's objects",
        opened("/sys/kernel/uevent_helper", ">"),
        (*DENIED, MISSING),
    ),
    Attack("mount a file system", call("mount", "proc", "/tmp", "proc", 0, 0), DENIED),
    Attack("remount read-only paths", call("mount", "", "/proc/sys", "", REMOUNT_BIND, 0), DENIED),
    Attack("unmount what is masked", call("umount2", "/proc/keys", 2), DENIED),
    Attack("pivot to another root", call("pivot_root", "/", "/"), DENIED),
    Attack("open a file system by fsopen", call("fsopen", "tmpfs", 0), DENIED),
    Attack("copy a mount by open_tree", call("open_tree", AT_FDCWD, "/", 1), DENIED),
    Attack("move a mount", call("move_mount", AT_FDCWD, "/proc", AT_FDCWD, "/sys", 0), DENIED),
    Attack("change a mount's flags", call("mount_setattr", AT_FDCWD, "/sys", 0, "0" * 32, 32), DENIED),
    Attack(
        "make a user namespace by unshare",
        call("unshare", NEW_USER),
        (*ABSENT, *DENIED),
        "same",
        "both refuse namespaces",
    ),
    Attack("make a mount namespace by clone", call("clone", NEW_MOUNTS | 17, 0, 0, 0, 0), (*ABSENT, *DENIED)),
    Attack("make namespaces by clone3", call("clone3", "0" * 88, 88), ABSENT),
    Attack("join a namespace", "open(my $n, '<', '/proc/self/ns/uts'); " + call("setns", 3, 0), DENIED),
    Attack("open a file by its handle", call("open_by_handle_at", AT_FDCWD, "0" * 16, 0), DENIED),
    Attack(
        "use io_uring", call("io_uring_setup", 8, "0" * 120), ABSENT, "stronger", "Docker before 25 allows it"
    ),
    Attack("use the kernel's keys", call("keyctl", 0, -3, 0), DENIED),
    Attack("load a BPF program", call("bpf", 5, "0" * 72, 72), DENIED),
    Attack("trace the kernel by perf", call("perf_event_open", "0" * 120, 0, -1, -1, 0), DENIED),
    Attack("handle page faults", call("userfaultfd", 0), DENIED),
    Attack("load a kernel module", call("init_module", "none", 4, ""), DENIED),
    Attack("load another kernel", call("kexec_load", 0, 0, 0, 0), DENIED),
    Attack(
        "read the kernel's log",
        call("syslog", 3, "0" * 64, 64),
        DENIED,
        "same",
        "Docker leaves it to dmesg_restrict",
    ),
    Attack("listen to packets", socket(17, 3, 768), DENIED, "stronger", "no NET_RAW"),
    Attack("send raw packets", socket(2, 3, 255), DENIED, "stronger", "no NET_RAW"),
    Attack(
        "reach the machine's host by vsock",
        socket(40, 1),
        ("Address family not supported by protocol",),
        "stronger",
        "Docker allows the family",
    ),
    Attack(
        "use the kernel's crypto sockets",
        socket(38, 5),
        ("Address family not supported by protocol",),
        "stronger",
        "Docker allows the family",
    ),
    Attack("have capabilities to inherit", INHERITED, NOTHING),
    Attack("have more capabilities than ordinary", MORE_THAN_ORDINARY, NOTHING),
    Attack("see a process of the engine", PROCESSES, NOTHING),
    Attack("reach another root by /proc", ROOTS, NOTHING),
    Attack("read another process's environment", ENVIRONMENTS, NOTHING),
    Attack("find a token in memory", MEMORY, NOTHING),
    Attack("find a listener on loopback", LISTENERS, NOTHING),
    Attack("find a Unix socket", UNIX_SOCKETS, NOTHING),
    Attack(
        "fill shared memory",
        FILLS,
        ("No space left on device",),
    ),
    Attack(
        "fork without end", FORKS, ("Resource temporarily unavailable",), "stronger", "Docker sets no limit"
    ),
)


def script(attack: Attack) -> str:
    """Return the whole script of an attack."""
    return PRELUDE + attack.script
