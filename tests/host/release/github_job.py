"""A GitHub job on this machine: the steps of the workflow's file, with the environment that GitHub sets."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[3]
WORKFLOW = ROOT / ".github/workflows/milestone2-ci.yml"
SHELLS = {"bash": ("bash", "--noprofile", "--norc", "-eo", "pipefail")}
VARIABLE = re.compile(r"\$\{\{ vars\.(\w+) \}\}")
OUTPUT = re.compile(r"\$\{\{ needs\.publish\.outputs\.(\w+) \}\}")
SECONDS = 1800


@dataclass(frozen=True)
class Job:
    """One job that a tag has started.

    `machine` is the rest of its environment, `variables` are the repository's settings, and `identity` has
    the address and the token by which a job may request its identity.
    """

    name: str
    folder: Path
    tag: str
    machine: Mapping[str, str]
    variables: Mapping[str, str]
    identity: Mapping[str, str]

    @property
    def workspace(self) -> Path:
        """Return the folder of the checkout."""
        return self.folder / "work"

    @property
    def home(self) -> Path:
        """Return the user's home."""
        return self.folder / "home"

    def check_out(self) -> None:
        """Do what actions/checkout does, with the files as they are now as the only commit."""
        listed = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for name in filter(None, names.split("\0")):
            (self.workspace / name).parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).exists():
                shutil.copy2(ROOT / name, self.workspace / name, follow_symlinks=False)
        identity = ("-c", "user.name=tester", "-c", "user.email=tester@example.test")
        for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message=all")):
            subprocess.run(("git", *identity, *words), cwd=self.workspace, check=True)

    def line(self, number: int) -> subprocess.CompletedProcess[str]:
        """Run one of the steps that are lines for a shell, the first one's number being 0."""
        workflow: dict[str, Any] = YAML(typ="safe").load(WORKFLOW.read_text())
        job = workflow["jobs"][self.name]
        step = [step for step in job["steps"] if "run" in step][number]
        script = self._file("step.sh")
        script.write_text(step["run"])
        return subprocess.run(
            [*SHELLS[workflow["defaults"]["run"]["shell"]], str(script)],
            cwd=self.workspace,
            env=self._environment(job["permissions"]) | self._own(step.get("env", {})),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def _environment(self, permissions: Mapping[str, str]) -> dict[str, str]:
        """Return what every step gets, and those of a job that may have an identity."""
        paths = self._file("paths")
        added = paths.read_text().split("\n")[-2::-1] if paths.exists() else []
        given = {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": "push",
            "GITHUB_OUTPUT": str(self._file("outputs")),
            "GITHUB_PATH": str(paths),
            "GITHUB_REF": f"refs/tags/{self.tag}",
            "GITHUB_REF_NAME": self.tag,
            "GITHUB_REF_TYPE": "tag",
            "GITHUB_WORKSPACE": str(self.workspace),
            "HOME": str(self.home),
            "PATH": os.pathsep.join([*added, os.environ["PATH"]]),
        }
        allowed = self.identity if permissions.get("id-token") == "write" else {}
        return {**self.machine, **given, **allowed}

    def _own(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return a step's own environment; a variable or an output that is not set is empty."""
        outputs = self.outputs()

        def fill(value: str) -> str:
            value = VARIABLE.sub(lambda found: self.variables.get(found[1], ""), value)
            return OUTPUT.sub(lambda found: outputs.get(found[1], ""), value)

        return {name: fill(value) for name, value in environment.items()}

    def outputs(self) -> dict[str, str]:
        """Return what steps in this folder have given as outputs."""
        file = self._file("outputs")
        lines = file.read_text().splitlines() if file.exists() else []
        return {name: value for name, _, value in (line.partition("=") for line in lines)}

    def _file(self, name: str) -> Path:
        folder = self.folder / "files"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / name
