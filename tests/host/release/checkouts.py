"""Checkouts of the template as users have them: a team's clone, and other forms that Git makes."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
AUTHOR = {f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
TIME = {f"GIT_{who}_DATE": "2026-01-01T00:00:00Z" for who in ("AUTHOR", "COMMITTER")}


@dataclass(frozen=True)
class Checkout:
    """A folder with a work tree."""

    folder: Path

    @classmethod
    def of_template(cls, folder: Path) -> Checkout:
        """Make a repository of this one's files, with one commit."""
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".git", "__pycache__", ".*_cache"))
        made = cls(folder)
        made.git("init", "--quiet", "--initial-branch=main")
        return made.commit("The template")

    def git(self, *words: str) -> str:
        """Run Git without any user's settings, and return its output."""
        alone = {"GIT_CONFIG_GLOBAL": os.devnull, "PATH": os.environ["PATH"], **AUTHOR, **TIME}
        command = ["git", "-c", "protocol.file.allow=always", *words]
        done = subprocess.run(
            command, cwd=self.folder, env=alone, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def commit(self, message: str) -> Checkout:
        """Commit all that is there."""
        self.git("add", "--all")
        self.git("commit", "--quiet", f"--message={message}")
        return self

    def clone(self, folder: Path, *options: str) -> Checkout:
        """Clone it into a new folder."""
        self.git("clone", "--quiet", *options, str(self.folder), str(folder))
        return Checkout(folder)

    def write(self, name: str, text: str) -> None:
        """Write a file, whose folder may be new."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def read(self, name: str) -> str:
        """Return a file's text."""
        return (self.folder / name).read_text()

    def call(self, environment: dict[str, str], *words: str) -> str:
        """Return what a function of the pipeline prints here."""
        done = subprocess.run(
            ["./daggerw", "call", *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout.strip()
