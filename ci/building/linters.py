"""Linters of the code, the Dockerfile, the shell scripts and the workflow."""

import shlex
from collections.abc import Mapping

import dagger

from advice.attribute_mapping import WORKFLOW

DEPENDABOT = ".github/dependabot.yml"

PYTHON_LINTERS = {
    "ruff": ["ruff", "check", "--no-cache", "."],
    "ruff format": ["ruff", "format", "--no-cache", "--check", "."],
    "mypy": ["mypy", "."],
}
LINTERS = {
    **PYTHON_LINTERS,
    "hadolint": ["hadolint", "Dockerfile"],
    "shellcheck": ["shellcheck", "daggerw", ".ci/run"],
    "workflow schema": ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", WORKFLOW],
    "dependabot schema": ["check-jsonschema", "--builtin-schema", "vendor.dependabot", DEPENDABOT],
    "zizmor": ["zizmor", "--offline", "--no-progress", ".github"],
}
# Runs one linter, and prints the last line of what it says, or all of it when it finds something.
_VERDICT = """verdict() {
  name=$1; shift
  if said=$("$@" 2>&1); then
    last=$(printf '%s' "$said" | tail -n 1)
    printf '%s: %s\\n' "$name" "${last:-no findings}"
  else
    printf '%s:\\n%s\\n' "$name" "$said" >&2
    status=1
  fi
}
status=0
"""


def lint(checked: dagger.Container, linters: Mapping[str, list[str]]) -> dagger.Container:
    """Return the container that prints the verdicts of linters, all of which run, in one step."""
    lines = [f"verdict {shlex.quote(name)} {shlex.join(command)}" for name, command in linters.items()]
    script = "\n".join([_VERDICT, *lines, "exit $status"])
    return checked.with_new_file("/lint.sh", script).with_exec(["sh", "/lint.sh"])
