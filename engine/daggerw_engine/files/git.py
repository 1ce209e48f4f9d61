"""Git repositories, read with the host's git.

A repository may be hostile, as one from a container. So no program in its configuration runs (hooks,
monitors, filters, transports), and nothing outside its folder counts as a part of it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from daggerw_engine.errors import EngineError, PathError
from daggerw_engine.process import run

COMMIT = re.compile(r"[0-9a-f]{40}")
REFS = "--format=%(refname) %(if)%(*objectname)%(then)%(*objectname)%(else)%(objectname)%(end)"
FILTERS = r"^filter\..*\.(clean|smudge|process|required)$"
NO_PROGRAMS = {"core.fsmonitor": "false", "core.hooksPath": os.devnull}


@dataclass(frozen=True)
class Repository:
    """Work tree with its repository: `own` has its HEAD and index, `shared` everything else."""

    folder: Path
    own: Path
    shared: Path

    @classmethod
    def at(cls, folder: Path, origin: Path | None = None) -> Repository:
        """Return the repository of a work tree; PathError when it has none of its own.

        `origin` is the user's folder that it was uploaded from: the repository of a linked work tree or a
        submodule lies outside of it.
        """
        own = folder / ".git"
        if origin and (origin / ".git").is_file():
            own = _follow_link(origin)
        if not own.is_dir() or own.is_symlink():
            raise PathError("not a Git repository: the directory has no .git folder")
        if not shutil.which("git"):
            raise EngineError("a Git repository is read with git: install it, and call again")
        common = own / "commondir" if origin else own / "none"
        shared = (own / common.read_text().strip()).resolve() if common.is_file() else own
        return cls(folder, own, shared)

    async def head(self) -> Ref:
        """Return the checked-out commit; PathError when there is no commit."""
        return await self.ref("HEAD")

    async def commit(self, id_: str) -> Ref:
        """Return the commit with a full hash."""
        if not COMMIT.fullmatch(id_):
            raise PathError(f"invalid commit SHA: {id_!r}")
        return Ref(self, id_, id_)

    async def ref(self, name: str) -> Ref:
        """Return the commit of a branch or tag, branches first; PathError for an unknown name."""
        if COMMIT.fullmatch(name):
            return Ref(self, name, name)
        refs = await self._refs()
        for known in (name, f"refs/{name}", f"refs/heads/{name}", f"refs/tags/{name}"):
            if known in refs:
                full = await self._branch() or known if known == "HEAD" else known
                return Ref(self, full, refs[known])
        raise PathError(f"repository does not contain ref {name!r}")

    async def is_clean(self) -> bool:
        """Return whether the work tree equals HEAD, apart from ignored files."""
        options = ("--porcelain", "--untracked-files=normal", "--ignore-submodules=dirty")
        return not await self._git("status", *options, config=await self._filter_settings())

    async def check_out(self, commit: str, folder: Path, index: Path) -> None:
        """Write a commit's files into a folder, unfiltered, and list them in an index."""
        variables = {"GIT_INDEX_FILE": str(index)}
        off = await self._filter_settings()
        await self._git("read-tree", commit, variables=variables)
        await self._git("checkout-index", "--all", f"--prefix={folder}/", config=off, variables=variables)

    async def copy_commit(self, commit: str, folder: Path) -> None:
        """Create the folder `.git` of a repository with one commit, its files and no history."""
        objects = await self._git("rev-list", "--objects", "--no-object-names", "--max-count=1", commit)
        (folder / "objects/pack").mkdir(parents=True)
        (folder / "refs").mkdir()
        await self._git("pack-objects", "--quiet", f"{folder}/objects/pack/pack", stdin=objects)
        (folder / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = false\n")
        for name in ("HEAD", "shallow"):
            (folder / name).write_text(f"{commit}\n")

    async def _filter_settings(self) -> Mapping[str, str]:
        """Return settings that disable every filter of the repository."""
        output = await self._git("config", "-z", "--name-only", "--get-regexp", FILTERS, status=1)
        filters = filter(None, output.split("\0"))
        return {name: "false" if name.endswith(".required") else "" for name in filters}

    async def _branch(self) -> str:
        return (await self._git("symbolic-ref", "--quiet", "HEAD", status=1)).strip()

    async def _refs(self) -> Mapping[str, str]:
        output = await self._git("for-each-ref", REFS)
        head = (await self._git("rev-parse", "--quiet", "--verify", "HEAD^{commit}", status=1)).strip()
        named = dict(line.rsplit(" ", 1) for line in output.splitlines())
        return {"HEAD": head, **named} if head else named

    async def _git(
        self,
        *words: str,
        status: int = 0,
        config: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
        stdin: str = "",
    ) -> str:
        """Return a git command's output; exit status `status` also counts as success: no match."""
        folders = (f"--git-dir={self.own}", f"--work-tree={self.folder}")
        env = {**self._environment({**NO_PROGRAMS, **(config or {})}), **(variables or {})}
        done = await run(("git", *folders, *words), env=env, cwd=self.folder, stdin=stdin)
        if done.status not in (0, status):
            raise EngineError(f"git {words[0]} failed: {' '.join(done.stderr.split())[-600:]}")
        return done.stdout

    def _environment(self, config: Mapping[str, str]) -> dict[str, str]:
        """Return an environment where these settings override the repository's, without the caller's."""
        env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        env |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
        env |= {
            "GIT_COMMON_DIR": str(self.shared),
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_ALLOW_PROTOCOL": "none",
        }
        for number, (name, value) in enumerate(config.items()):
            env |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
        return {**env, "GIT_CONFIG_COUNT": str(len(config))}


def _follow_link(folder: Path) -> Path:
    """Return the repository named in the file `.git` of a linked work tree or a submodule."""
    _, _, path = (folder / ".git").read_text().partition("gitdir:")
    return (folder / path.strip()).resolve()


@dataclass(frozen=True)
class Ref:
    """Commit with the name it was found by: a full ref name, HEAD when detached, or the commit's hash."""

    repository: Repository
    ref: str
    commit: str

    async def tree(self, folder: Path, *, with_git: bool) -> None:
        """Fill an empty folder with the commit's files, and with a repository of this commit alone."""
        git = folder / ".git"
        await self.repository.copy_commit(self.commit, git)
        await self.repository.check_out(self.commit, folder, git / "index")
        if not with_git:
            shutil.rmtree(git)
