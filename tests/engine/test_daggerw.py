"""The wrapper: which engine it takes, what it installs, and what it refuses. No network, no real dagger."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

WRAPPER = Path(__file__).resolve().parents[2] / "daggerw"
TOOLS = (
    *("bash", "dirname", "env", "flock", "grep", "mkdir", "mktemp", "mv", "python3", "readlink"),
    *("rm", "sha256sum", "tar", "timeout", "true", "uname", "unshare"),
)
DEBIAN = ("buildah", "ip", "mmdebstrap", "slirp4netns")
ECHO = '#!/usr/bin/env bash\nprintf "%s\\n" "$(basename "$0")" "$@"\n'
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, or another user's id")


@dataclass(frozen=True)
class Machine:
    """A machine of the test's own: its programs, its home, and a clone with no packages to install."""

    folder: Path

    @property
    def clone(self) -> Path:
        return self.folder / "a clone"

    @property
    def programs(self) -> Path:
        return self.folder / "bin"

    def add(self, name: str, script: str = ECHO) -> None:
        """Install a program."""
        (self.programs / name).write_text(script)
        (self.programs / name).chmod(0o755)

    def run(
        self, *words: str, program: Path | None = None, before: Sequence[str] = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the wrapper."""
        return subprocess.run(
            [*before, str(program or self.clone / "daggerw"), *words],
            cwd=self.folder,
            env={"PATH": str(self.programs), "HOME": str(self.folder / "home"), **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a machine with the Debian packages, without dagger, docker and any Python package."""
    made = Machine(tmp_path)
    tmp_path.chmod(0o755)
    (made.clone / "ci/engine").mkdir(parents=True)
    shutil.copy(WRAPPER, made.clone)
    (made.clone / "ci/requirements.txt").write_text("")
    (made.clone / "ci/engine/__main__.py").write_text(
        "import os, sys\nprint(os.getcwd(), *sys.argv[1:], sep='\\n')\n"
    )
    made.programs.mkdir()
    for name in TOOLS:
        (made.programs / name).symlink_to(shutil.which(name) or "")
    for name in DEBIAN:
        made.add(name)
    return made


@pytest.fixture
def prepared(machine: Machine) -> Machine:
    """Return a machine whose private environment is there already; its Python prints how it was called."""
    key = hashlib.sha256((machine.clone / "ci/requirements.txt").read_bytes()).hexdigest()[:16]
    environment = machine.folder / "home/.cache/daggerw/environments" / key / "bin"
    environment.mkdir(parents=True)
    machine.add("basename", f'#!{shutil.which("bash")}\necho "${{1##*/}}"\n')
    (environment / "python").write_text(ECHO)
    (environment / "python").chmod(0o755)
    return machine


def test_without_a_dagger_cli_the_embedded_engine_is_taken(prepared: Machine) -> None:
    done = prepared.run("call", "a b", "--x=$y")
    assert done.stderr == "daggerw: embedded engine, as there is no dagger CLI\n"
    assert done.stdout.splitlines() == ["python", "-P", "-m", "engine", "call", "a b", "--x=$y"]


def test_without_an_answering_container_runtime_the_embedded_engine_is_taken(prepared: Machine) -> None:
    prepared.add("dagger")
    prepared.add("docker", "#!/usr/bin/env bash\nexit 1\n")
    assert prepared.run("call").stderr == "daggerw: embedded engine, as no container runtime answers\n"


@pytest.mark.parametrize("runtime", ["docker", "podman", "nerdctl"])
def test_with_both_dagger_gets_exactly_the_words(runtime: str, prepared: Machine) -> None:
    prepared.add("dagger")
    prepared.add(runtime)
    done = prepared.run("call", "a b", "--x=$y")
    assert done.stderr == f"daggerw: dagger engine, as its CLI is here and {runtime} answers\n"
    assert done.stdout.splitlines() == ["dagger", "call", "a b", "--x=$y"]


@pytest.mark.parametrize(("named", "first"), [("embedded", "python"), ("dagger", "dagger")])
def test_the_engine_that_is_asked_for_is_taken(named: str, first: str, prepared: Machine) -> None:
    prepared.add("dagger")
    done = prepared.run("call", DAGGERW_ENGINE=named)
    assert done.stderr == f"daggerw: {named} engine, as DAGGERW_ENGINE says\n"
    assert done.stdout.startswith(f"{first}\n")


def test_an_engine_that_is_not_there_is_refused(prepared: Machine) -> None:
    done = prepared.run("call", DAGGERW_ENGINE="dagger")
    assert done.returncode == 1
    assert f"there is no dagger CLI; {prepared.clone}/daggerw --install brings it" in done.stderr


def test_an_unknown_engine_is_refused(prepared: Machine) -> None:
    done = prepared.run("call", DAGGERW_ENGINE="moby")
    assert (done.returncode, done.stderr) == (
        1,
        "daggerw: DAGGERW_ENGINE is 'moby'; it can be dagger or embedded\n",
    )


def test_the_status_of_the_engine_is_the_wrappers(prepared: Machine) -> None:
    prepared.add("dagger", "#!/usr/bin/env bash\nexit 42\n")
    assert prepared.run("call", DAGGERW_ENGINE="dagger").returncode == 42


def test_the_wrapper_finds_itself_through_links_from_every_folder(machine: Machine) -> None:
    link = machine.folder / "links/again"
    link.parent.mkdir()
    (link.parent / "first").symlink_to("../a clone/daggerw")
    link.symlink_to("first")
    done = machine.run("call", program=link)
    assert done.stdout.splitlines() == [str(machine.folder), "call"], done.stderr


def test_an_interrupted_installation_is_begun_again(machine: Machine) -> None:
    key = hashlib.sha256(b"").hexdigest()[:16]
    left = machine.folder / f"home/.cache/daggerw/environments/{key}.part/bin"
    left.mkdir(parents=True)
    (left / "python").write_text("half a file")
    done = machine.run("call")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in left.parents[1].iterdir()] == [key]


def test_two_first_calls_at_once_install_once(machine: Machine) -> None:
    words = [str(machine.clone / "daggerw"), "call"]
    environment = {"PATH": str(machine.programs), "HOME": str(machine.folder / "home")}
    both = [subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert "".join(told).count("installing the embedded engine's Python packages") == 1


@needs_root
def test_without_a_network_the_wanted_package_and_host_are_named(machine: Machine) -> None:
    (machine.clone / "ci/requirements.txt").write_text(f"attrs==26.1.0 --hash=sha256:{'0' * 64}\n")
    index = "https://index.example/simple"
    done = machine.run("call", before=["unshare", "--net"], PIP_INDEX_URL=index, PIP_RETRIES="0")
    assert done.returncode == 1
    assert "could not install ci/requirements.txt from https://index.example" in done.stderr
    assert "ERROR: Could not find a version that satisfies the requirement attrs==26.1.0" in done.stderr


@needs_root
def test_missing_debian_packages_are_installed_by_root(prepared: Machine) -> None:
    (prepared.programs / "buildah").unlink()
    prepared.add("apt-get")
    done = prepared.run("call")
    assert "daggerw: installing buildah\n" in done.stderr
    assert "\nbuildah\n" in done.stderr
    assert done.stdout.startswith("python\n")


@needs_root
def test_missing_debian_packages_are_named_to_others(prepared: Machine) -> None:
    for name in ("buildah", "slirp4netns"):
        (prepared.programs / name).unlink()
    prepared.add("apt-get")
    done = prepared.run("call", before=["unshare", "--user"])
    assert done.returncode == 1
    assert done.stderr.endswith(
        "the embedded engine needs the Debian packages buildah slirp4netns; run as root: "
        "apt-get update && apt-get install --yes --no-install-recommends buildah slirp4netns\n"
    )


def archive(machine: Machine, text: str) -> Path:
    """Return an archive with a dagger CLI; curl gives it whatever is asked."""
    path = machine.folder / "archive"
    (machine.folder / "dagger").write_text(text)
    (machine.folder / "dagger").chmod(0o755)
    with tarfile.open(path, "w:gz") as tar:
        tar.add(machine.folder / "dagger", "dagger")
    (machine.programs / "cp").symlink_to(shutil.which("cp") or "")
    (machine.programs / "gzip").symlink_to(shutil.which("gzip") or "")
    machine.add("curl", f'#!/usr/bin/env bash\nwhile [[ $1 != -o ]]; do shift; done\ncp {path} "$2"\n')
    return path


def pin(machine: Machine, values: Mapping[str, str]) -> None:
    wrapper = machine.clone / "daggerw"
    lines = wrapper.read_text().splitlines()
    names = [line.split("=")[0] for line in lines]
    wrapper.write_text(
        "\n".join(
            f"{name}={values[name]}" if name in values else line
            for name, line in zip(names, lines, strict=True)
        )
    )


def test_install_refuses_an_archive_with_another_sum_and_leaves_nothing(machine: Machine) -> None:
    archive(machine, ECHO)
    done = machine.run("--install")
    assert done.returncode == 1
    assert "refused https://" in done.stderr
    assert "its SHA-256 is " in done.stderr
    assert list((machine.folder / "home/.local/bin").iterdir()) == []


def test_an_installed_cli_is_taken_though_its_folder_is_on_no_path(machine: Machine) -> None:
    found = hashlib.sha256(archive(machine, ECHO).read_bytes()).hexdigest()
    pin(machine, {"SHA256_AMD64": found, "SHA256_ARM64": found})
    (machine.programs / "basename").symlink_to(shutil.which("basename") or "")
    assert machine.run("--install").returncode == 0
    assert [path.name for path in (machine.folder / "home/.local/bin").iterdir()] == ["dagger"]
    assert machine.run("version", DAGGERW_ENGINE="dagger").stdout == "dagger\nversion\n"


def test_install_names_the_address_that_does_not_answer(machine: Machine) -> None:
    machine.add("curl", "#!/usr/bin/env bash\nexit 6\n")
    assert "daggerw: could not fetch https://" in machine.run("--install").stderr
