"""Attacks by a command on the module's process and on the session's server, while a module's call runs."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from engine_fixtures import Run
from engine_process import small_root

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a session needs root")
SCAN = r"""
use Socket;
for my $address (map { "10.0.2.$_" } 1, 2, 4 .. 120) {
    socket(my $s, PF_INET, SOCK_STREAM, 6);
    connect($s, sockaddr_in(80, inet_aton($address))) and print "reached $address\n";
    $!{ECONNREFUSED} and print "refused by $address\n";
}
open(my $listeners, '<', '/proc/net/tcp');
(split)[3] eq '0A' and print "listens: $_" while <$listeners>;
print "scanned\n";
"""


def test_a_command_reaches_neither_the_module_nor_the_server(run: Run, tmp_path: Path) -> None:
    root = small_root(tmp_path / "root")
    (root / "scan.pl").write_text(SCAN)
    done = run("call", "run", "--root", str(root), "--command", "perl,/scan.pl", "stdout")
    # The only one that answers is the command's own host.
    assert re.fullmatch(r"refused by 10\.0\.2\.\d+\nscanned\n", done.stdout), done.stderr
