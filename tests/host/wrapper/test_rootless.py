"""The engine for an ordinary user: root of a user namespace with subordinate ids, or advice to get them."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine_process import small_root
from tests.host.conftest import REQUIREMENTS

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
USER, UID = "somebody", 54321
ROOT = Path(__file__).resolve().parents[3]
# Becomes a user of this mount namespace only; every user may open the network device, as on usual machines.
BECOME = f"""
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/subuid" /etc/subuid
mount --bind "$1/subuid" /etc/subgid
mount --bind "$1/tun" /dev/net/tun
for folder in clone python; do mount --bind "$(readlink "$1/$folder.link")" "$1/$folder"; done
cd "$1/home"
shift
exec setpriv --reuid {UID} --regid {UID} --clear-groups --inh-caps=-all -- "$@"
"""
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


@dataclass(frozen=True)
class OrdinaryUser:
    """An ordinary user with a home, this repository, and the packages that the engine needs."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def tunnel(self, mode: int) -> None:
        """Make the device of private networks, with this mode."""
        path = self.folder / "tun"
        if not path.exists():
            os.mknod(path, stat.S_IFCHR, os.makedev(10, 200))
        path.chmod(mode)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the wrapper as that user, in the example module's folder."""
        module = ("-m", str(self.home / "example")) if words[0] == "call" else ()
        command = ("env", "-i", f"HOME={self.home}", f"PATH={os.environ['PATH']}", "DAGGERW_ENGINE=embedded")
        become = ("unshare", "--mount", "sh", "-euc", BECOME, "sh", str(self.folder))
        return subprocess.run(
            [*become, *command, str(self.folder / "clone/daggerw"), *words[:1], *module, *words[1:]],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def ordinary_user() -> Iterator[OrdinaryUser]:
    """Return a user with subordinate ids, whose Python environment is this one."""
    folder = Path(tempfile.mkdtemp(prefix="rootless-"))
    folder.chmod(0o755)
    for name, target in (("clone", ROOT), ("python", Path(sys.prefix))):
        (folder / name).mkdir()
        (folder / f"{name}.link").symlink_to(target)
    passwd = Path("/etc/passwd").read_text()
    (folder / "passwd").write_text(f"{passwd}{USER}:x:{UID}:{UID}::{folder}/home:/bin/sh\n")
    (folder / "subuid").write_text(f"{USER}:600000:65536\n")
    made = OrdinaryUser(folder)
    made.tunnel(0o666)
    shutil.copytree(ROOT / "engine/tests/example_module", made.home / "example")
    root = small_root(made.home / "root")
    (root / "serve.pl").write_text(SERVE)
    (root / "ask.pl").write_text(CONNECT)
    requirements = b"".join((ROOT / name).read_bytes() for name in REQUIREMENTS)
    key = hashlib.sha256(requirements).hexdigest()[:16]
    environments = made.home / ".cache/daggerw/environments"
    environments.mkdir(parents=True)
    (environments / key).symlink_to(folder / "python")
    for place in (made.home, *made.home.rglob("*")):
        os.chown(place, UID, UID, follow_symlinks=False)
    yield made
    shutil.rmtree(folder)


def test_a_command_runs_in_a_container_as_its_root(ordinary_user: OrdinaryUser) -> None:
    command = "sh,-c,touch /made && ls -n /made"
    done = ordinary_user.run("call", "run", "--root", "root", "--command", command, "stdout")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[2:4] == ["0", "0"]


def test_a_command_can_be_another_user(ordinary_user: OrdinaryUser) -> None:
    words = ("run", "--root", "root", "--command", "sh,-c,echo", "with-user", "--name", "1234:1234")
    read = "with-exec --args sh --args -c --args read_it()(cat${IFS}/proc/self/status);read_it stdout"
    done = ordinary_user.run("call", *words, *read.split())
    assert "Uid:\t1234\t1234\t1234\t1234\n" in done.stdout, done.stderr


def test_a_service_is_reached_by_its_name(ordinary_user: OrdinaryUser) -> None:
    done = ordinary_user.run("call", "ask", "--root", "root", "stdout")
    assert (done.returncode, done.stdout) == (0, "served\n"), done.stderr


def test_an_export_belongs_to_the_user(ordinary_user: OrdinaryUser) -> None:
    command = "sh,-c,echo made >/out"
    done = ordinary_user.run(
        "call", "run", "--root", "root", "--command", command, "file", "--path", "/out", "-o", "new"
    )
    assert done.returncode == 0, done.stderr
    exported = ordinary_user.home / "new"
    assert (exported.read_text(), exported.stat().st_uid, exported.stat().st_gid) == ("made\n", UID, UID)


def test_nothing_of_the_cache_is_anothers(ordinary_user: OrdinaryUser) -> None:
    owners = {path.lstat().st_uid for path in (ordinary_user.home / ".cache").rglob("*")}
    assert UID in owners
    assert owners <= {UID, *range(600000, 665536)}


def test_a_closed_network_device_is_named(ordinary_user: OrdinaryUser) -> None:
    ordinary_user.tunnel(0o600)
    done = ordinary_user.run("call", "words")
    ordinary_user.tunnel(0o666)
    assert (done.returncode, done.stdout) == (1, "")
    assert "/dev/net/tun isn't open to this user" in done.stderr
