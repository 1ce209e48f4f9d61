"""The wrapper: which engine it takes, what it installs, and what it refuses. No network, no real dagger."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.host import download_site
from tests.host.conftest import REQUIREMENTS

WRAPPER = Path(__file__).resolve().parents[3] / "daggerw"
TOOLS = (
    *("bash", "cat", "dirname", "env", "flock", "grep", "mkdir", "mktemp", "mv", "python3", "readlink"),
    *("rm", "sha256sum", "tar", "timeout", "true", "uname", "unshare"),
)
DEBIAN = ("buildah", "crun", "ip", "mmdebstrap", "slirp4netns", "tini-static")
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

    @property
    def install_folder(self) -> Path:
        """Return the folder of the installed CLI."""
        return self.folder / "home/.local/bin"

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
    (made.clone / "engine/daggerw_engine").mkdir(parents=True)
    (made.clone / "ci").mkdir()
    shutil.copy(WRAPPER, made.clone)
    for name in REQUIREMENTS:
        (made.clone / name).write_text("")
    (made.clone / "requirements-uv.txt").write_text(local_uv(tmp_path))
    (made.clone / "engine/daggerw_engine/__main__.py").write_text(
        "import os, sys\nprint(os.getcwd(), *sys.argv[1:], sep='\\n')\n"
    )
    made.programs.mkdir()
    for name in TOOLS:
        (made.programs / name).symlink_to(shutil.which(name) or "")
    for name in DEBIAN:
        made.add(name)
    return made


def local_uv(folder: Path) -> str:
    """Return the pinned requirement of a package that is uv by name, and runs the uv of the tests."""
    wheel = folder / "uv-0-py3-none-any.whl"
    program = f"import os, sys\nos.execv({find_uv_bin()!r}, ['uv', *sys.argv[1:]])\n"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("uv/__main__.py", program)
        archive.writestr("uv-0.dist-info/METADATA", "Metadata-Version: 2.1\nName: uv\nVersion: 0\n")
        archive.writestr(
            "uv-0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("uv-0.dist-info/RECORD", "")
    return f"uv @ {wheel.as_uri()} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


@pytest.fixture
def ready_machine(machine: Machine) -> Machine:
    """Return a machine whose private environment is there already; its Python prints how it was called."""
    key = hashlib.sha256(b"").hexdigest()[:16]
    environment = machine.folder / "home/.cache/daggerw/environments" / key / "bin"
    environment.mkdir(parents=True)
    machine.add("basename", f'#!{shutil.which("bash")}\necho "${{1##*/}}"\n')
    (environment / "python").write_text(ECHO)
    (environment / "python").chmod(0o755)
    return machine


def test_without_a_dagger_cli_the_embedded_engine_is_taken(ready_machine: Machine) -> None:
    done = ready_machine.run("call", "a b", "--x=$y")
    assert done.stderr == "daggerw: embedded engine, as there is no dagger CLI\n"
    assert done.stdout.splitlines() == ["python", "-P", "-m", "daggerw_engine", "call", "a b", "--x=$y"]


def test_without_an_answering_container_runtime_the_embedded_engine_is_taken(ready_machine: Machine) -> None:
    ready_machine.add("dagger")
    ready_machine.add("docker", "#!/usr/bin/env bash\nexit 1\n")
    assert ready_machine.run("call").stderr == "daggerw: embedded engine, as no container runtime answers\n"


@pytest.mark.parametrize("runtime", ["docker", "podman", "nerdctl"])
def test_with_both_dagger_gets_exactly_the_words(runtime: str, ready_machine: Machine) -> None:
    ready_machine.add("dagger")
    ready_machine.add(runtime)
    done = ready_machine.run("call", "a b", "--x=$y")
    assert done.stderr == f"daggerw: dagger engine, as its CLI is here and {runtime} answers\n"
    assert done.stdout.splitlines() == ["dagger", "call", "a b", "--x=$y"]


@pytest.mark.parametrize(("named", "first"), [("embedded", "python"), ("dagger", "dagger")])
def test_the_chosen_engine_is_taken(named: str, first: str, ready_machine: Machine) -> None:
    ready_machine.add("dagger")
    done = ready_machine.run("call", DAGGERW_ENGINE=named)
    assert done.stderr == f"daggerw: {named} engine, as DAGGERW_ENGINE says\n"
    assert done.stdout.startswith(f"{first}\n")


def test_a_remote_engine_is_reached_by_dagger(ready_machine: Machine) -> None:
    ready_machine.add("dagger")
    done = ready_machine.run("call", _EXPERIMENTAL_DAGGER_RUNNER_HOST="tcp://engine.example:1234")
    assert done.stderr == "daggerw: dagger engine, as _EXPERIMENTAL_DAGGER_RUNNER_HOST names one\n"
    assert done.stdout.splitlines() == ["dagger", "call"]


def test_a_copy_without_its_repository_says_so(machine: Machine) -> None:
    copy = machine.folder / "elsewhere/daggerw"
    copy.parent.mkdir()
    shutil.copy(WRAPPER, copy)
    done = machine.run("call", program=copy)
    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == [
        f"daggerw: {copy.parent} has no engine/: a copy of daggerw needs its repository around it; "
        "link to it instead"
    ]


def test_an_engine_that_is_not_there_is_refused(ready_machine: Machine) -> None:
    done = ready_machine.run("call", DAGGERW_ENGINE="dagger")
    assert done.returncode == 1
    assert f"there is no dagger CLI; {ready_machine.clone}/daggerw --install brings it" in done.stderr


def test_an_unknown_engine_is_refused(ready_machine: Machine) -> None:
    done = ready_machine.run("call", DAGGERW_ENGINE="moby")
    assert (done.returncode, done.stderr) == (
        1,
        "daggerw: DAGGERW_ENGINE is 'moby'; it can be dagger or embedded\n",
    )


def test_the_status_of_the_engine_is_the_wrappers(ready_machine: Machine) -> None:
    ready_machine.add("dagger", "#!/usr/bin/env bash\nexit 42\n")
    assert ready_machine.run("call", DAGGERW_ENGINE="dagger").returncode == 42


def test_two_first_calls_through_a_link_install_once_where_an_installation_was_interrupted(
    machine: Machine,
) -> None:
    key = hashlib.sha256(b"").hexdigest()[:16]
    left = machine.folder / f"home/.cache/daggerw/environments/{key}.part/bin"
    left.mkdir(parents=True)
    (left / "python").write_text("half a file")
    link = machine.folder / "links/again"
    link.parent.mkdir()
    (link.parent / "first").symlink_to("../a clone/daggerw")
    link.symlink_to("first")
    with ThreadPoolExecutor(2) as pool:
        both = [*pool.map(lambda _: machine.run("call", program=link), range(2))]
    for done in both:
        assert done.stdout.splitlines() == [str(machine.folder), "call"], done.stderr
    installing = "installing the embedded engine's Python packages"
    assert sum(done.stderr.count(installing) for done in both) == 1
    assert [path.name for path in left.parents[1].iterdir()] == [key]


@needs_root
def test_without_a_network_the_wanted_package_and_host_are_named(machine: Machine) -> None:
    (machine.clone / "requirements-uv.txt").write_text(f"attrs==26.1.0 --hash=sha256:{'0' * 64}\n")
    index = "https://index.example/simple"
    done = machine.run("call", before=["unshare", "--net"], PIP_INDEX_URL=index, PIP_RETRIES="0")
    assert done.returncode == 1
    error = "ERROR: Could not find a version that satisfies the requirement attrs==26.1.0"
    assert f"could not install requirements-uv.txt from https://index.example; {error}" in done.stderr
    assert "the network or the proxy does not respond" in done.stderr


@needs_root
def test_packages_come_from_the_index_of_pip_s_configuration(machine: Machine) -> None:
    (machine.clone / "ci/requirements.txt").write_text(f"attrs==26.1.0 --hash=sha256:{'0' * 64}\n")
    (machine.folder / "pip.conf").write_text("[global]\nindex-url = https://mirror.example/simple\n")
    configuration = str(machine.folder / "pip.conf")
    done = machine.run(
        "call", before=["unshare", "--net"], PIP_CONFIG_FILE=configuration, UV_HTTP_RETRIES="0"
    )
    both = "engine/requirements.txt and ci/requirements.txt"
    error = "error: Failed to fetch: https://mirror.example/simple/attrs/"
    assert f"could not install {both} from https://mirror.example; {error}" in done.stderr
    assert "the network or the proxy does not respond" in done.stderr
    assert f"(all of it: {machine.folder}/home/.cache/daggerw/install.log)" in done.stderr


@needs_root
def test_missing_debian_packages_are_installed_by_root(ready_machine: Machine) -> None:
    (ready_machine.programs / "buildah").unlink()
    ready_machine.add("apt-get")
    done = ready_machine.run("call")
    assert "daggerw: installing buildah\n" in done.stderr
    assert "\nbuildah\n" in done.stderr
    assert done.stdout.startswith("python\n")


def test_listing_functions_needs_no_debian_packages(ready_machine: Machine) -> None:
    for name in DEBIAN:
        (ready_machine.programs / name).unlink()
    done = ready_machine.run("functions")
    assert done.stdout.splitlines()[-1] == "functions"
    assert "installing" not in done.stderr


@needs_root
def test_debian_packages_that_cannot_be_had_are_named(ready_machine: Machine) -> None:
    (ready_machine.programs / "buildah").unlink()
    ready_machine.add("apt-get", "#!/usr/bin/env bash\nexit 100\n")
    done = ready_machine.run("call")
    assert "could not install buildah; apt-get says above which host it wanted" in done.stderr


@needs_root
def test_missing_debian_packages_are_named_to_others(ready_machine: Machine) -> None:
    for name in ("buildah", "slirp4netns"):
        (ready_machine.programs / name).unlink()
    ready_machine.add("apt-get")
    done = ready_machine.run("call", before=["unshare", "--user"])
    assert done.returncode == 1
    assert done.stderr.endswith(
        "the embedded engine needs the Debian packages buildah slirp4netns; run as root: "
        "apt-get update && apt-get install --yes --no-install-recommends buildah slirp4netns\n"
    )


@pytest.fixture
def site(machine: Machine) -> Iterator[download_site.Site]:
    """Yield the site that the CLI comes from; the machine's curl is led there."""
    for name in ("curl", "gzip"):
        (machine.programs / name).symlink_to(shutil.which(name) or "")
    with download_site.serve(machine.folder) as site:
        site.lead(machine.folder / "home")
        yield site


def test_install_brings_the_pinned_cli_which_is_taken_though_its_folder_is_on_no_path(
    machine: Machine, site: download_site.Site
) -> None:
    machine.install_folder.mkdir(parents=True)
    (machine.install_folder / "dagger").write_text("an earlier one")
    download_site.pin(machine.clone / "daggerw", site.offer(ECHO))
    done = machine.run("--install")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "",
        f"daggerw: installed dagger v{download_site.VERSION} in {machine.install_folder}\n",
    )
    assert [path.name for path in machine.install_folder.iterdir()] == ["dagger"]
    (machine.programs / "basename").symlink_to(shutil.which("basename") or "")
    assert machine.run("version", DAGGERW_ENGINE="dagger").stdout == "dagger\nversion\n"


def test_install_in_a_github_job_adds_the_cli_s_folder_to_the_path_of_the_next_steps(
    machine: Machine, site: download_site.Site
) -> None:
    download_site.pin(machine.clone / "daggerw", site.offer(ECHO))
    paths = machine.folder / "paths"
    paths.write_text("/opt/earlier\n")
    assert machine.run("--install", GITHUB_PATH=str(paths)).returncode == 0
    assert paths.read_text() == f"/opt/earlier\n{machine.install_folder}\n"


def test_install_refuses_an_archive_with_another_sum_and_leaves_nothing(
    machine: Machine, site: download_site.Site
) -> None:
    found, paths = site.offer(ECHO), machine.folder / "paths"
    done = machine.run("--install", GITHUB_PATH=str(paths))
    assert done.returncode == 1
    assert re.fullmatch(
        rf"daggerw: refused https://dl\.dagger\.io/\S+: its SHA-256 is {found}, pinned is [0-9a-f]{{64}}\n",
        done.stderr,
    )
    assert list(machine.install_folder.iterdir()) == []
    assert not paths.exists()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [("", "404"), ('cacert = "/dev/null"\n', "certificate"), ('proxy = "http://127.0.0.1:9"\n', "port 9")],
    ids=["no archive", "an untrusted certificate", "no network"],
)
def test_install_names_the_address_that_it_could_not_fetch(
    machine: Machine, site: download_site.Site, settings: str, reason: str
) -> None:
    if settings:
        download_site.pin(machine.clone / "daggerw", site.offer(ECHO))
    with (machine.folder / "home/.curlrc").open("a") as file:
        file.write(settings)
    done = machine.run("--install")
    assert done.returncode == 1
    assert reason in done.stderr
    url = f"https://dl.dagger.io/dagger/releases/{download_site.VERSION}/"
    assert f"daggerw: could not fetch {url}" in done.stderr
    assert list(machine.install_folder.iterdir()) == []


def test_install_names_a_machine_that_no_cli_is_pinned_for(machine: Machine) -> None:
    (machine.programs / "uname").unlink()
    says = "case $1 in -s) echo Linux ;; -m) echo riscv64 ;; *) echo Linux riscv64 ;; esac"
    machine.add("uname", f"#!/usr/bin/env bash\n{says}\n")
    done = machine.run("--install")
    assert done.returncode == 1
    assert done.stderr == (
        f"daggerw: no dagger CLI is pinned for Linux riscv64; install v{download_site.VERSION} by hand\n"
    )
