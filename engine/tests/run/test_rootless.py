"""The engine for an ordinary user: root of a user namespace with subordinate ids."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from attacks.conftest import USER, make_home, rootless_prefix, rootless_settings, run_target_in
from engine_fixtures import TESTS
from engine_process import Engine

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
SERVE = """
use Socket;
socket(S, PF_INET, SOCK_STREAM, 6);
bind(S, sockaddr_in(80, INADDR_ANY));
listen(S, 9);
while (accept(C, S)) { print C "served"; close C }
"""
CONNECT = """
use Socket;
socket(S, PF_INET, SOCK_STREAM, 6);
connect(S, sockaddr_in(80, inet_aton("served"))) or die $!;
print <S>;
"""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Yield the user's home, with the example module and a file system for containers."""
    with make_home(rootless=True) as home:
        shutil.copytree(TESTS / "example_module", home / "example")
        (home / "root/serve.pl").write_text(SERVE)
        (home / "root/ask.pl").write_text(CONNECT)
        yield home


def call(home: Path, *words: str) -> tuple[int, str, str]:
    """Return the status and the output of a call."""
    settings = rootless_settings(home.parent)
    engine = Engine(home, ("call", "-m", "example", *words), rootless_prefix(home.parent), **settings).start()
    stdout, stderr = engine.process.communicate(timeout=120)
    return engine.process.returncode, stdout, stderr


def test_a_command_is_root_or_another_user_and_its_files_become_the_users(home: Path) -> None:
    script = json.dumps(["sh", "-c", "cat /proc/self/status >/out"])
    chain = f'withExec(args:{script}){{file(path:"/out"){{contents export(path:"{home}/OUT")}}}}'
    with run_target_in(home, rootless=True) as target:
        for name, user in (("0", "0"), ("1234:1234", "1234")):
            owned = (
                f'withNewFile(path:"/out",contents:"",owner:"{name}"){{withUser(name:"{name}"){{{chain}}}}}'
            )
            answer = target.engine.container(target.root, owned.replace("OUT", user))
            assert "errors" not in answer
            exported = home / user
            assert f"Uid:\t{user}\t{user}\t{user}\t{user}\n" in exported.read_text()
            assert (exported.stat().st_uid, exported.stat().st_gid) == (USER, USER)


def test_a_service_is_reached_by_its_name_and_nothing_of_the_cache_is_anothers(home: Path) -> None:
    status, stdout, stderr = call(home, "ask", "--root", "root", "stdout")
    assert (status, stdout) == (0, "served\n"), stderr
    owners = {path.lstat().st_uid for path in (home / "daggerw").rglob("*")}
    assert USER in owners
    assert owners <= {USER, *range(600000, 665536)}


def test_a_closed_network_device_is_named(home: Path) -> None:
    (home.parent / "tun").chmod(0o600)
    status, stdout, stderr = call(home, "words")
    (home.parent / "tun").chmod(0o666)
    assert (status, stdout) == (1, "")
    assert "/dev/net/tun isn't open to this user" in stderr
