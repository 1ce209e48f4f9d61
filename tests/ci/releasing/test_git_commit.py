"""Commit that is released: its hash, its time, and changes beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import dagger
import gql
import pytest
from dagger._exceptions import QueryErrorValue
from dulwich.objects import Blob, Tree
from dulwich.objects import Commit as Object
from dulwich.repo import Repo

from errors import InvalidRevision
from releasing import git_commit
from releasing.git_commit import Commit
from tests.ci.recorder import Recorder

pytestmark = pytest.mark.anyio
TWO_O_CLOCK_IN_BERLIN = 1_782_907_200, 2 * 3600  # seconds


@dataclass
class Repository(Recorder, of=(dagger.GitRepository, dagger.GitRef, dagger.Changeset, dagger.Directory)):
    """Dagger's GitRepository, GitRef and Changeset for a folder, as far as a commit needs them."""

    folder: Path
    digest: str
    clean: bool = True

    async def commit(self) -> str:
        if not self.digest:
            raise dagger.QueryError([QueryErrorValue("no .git folder")], gql.GraphQLRequest("{ host }"))
        return self.digest

    async def is_empty(self) -> bool:
        return self.clean

    async def export(self, path: str) -> None:
        shutil.copytree(self.folder / ".git", path)


async def read_commit(repository: Repository) -> Commit:
    return await Commit.of(cast("dagger.GitRepository", repository))


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """Yield a repository of one commit. The module has a folder of its own."""
    monkeypatch.chdir(tmp_path)
    with Repo.init(str(tmp_path / "repository"), mkdir=True) as made:
        commit = Object()
        commit.tree, commit.message = Tree().id, b"one"
        commit.author = commit.committer = b"tester <tester@example.test>"
        commit.author_time, commit.author_timezone = 0, 0
        commit.commit_time, commit.commit_timezone = TWO_O_CLOCK_IN_BERLIN
        for each in (Blob.from_string(b"a blob"), Tree(), commit):
            made.object_store.add_object(each)
        yield Repository(tmp_path / "repository", commit.id.decode())


async def test_a_commit_has_its_time_in_utc(repository: Repository) -> None:
    commit = await read_commit(repository)
    assert commit == Commit(repository.digest, "2026-07-01T12:00:00Z", dirty=False)
    assert commit.revision == repository.digest


async def test_what_is_more_than_a_commit_is_called_dirty(repository: Repository) -> None:
    repository.clean = False
    assert (await read_commit(repository)).revision == f"{repository.digest}-dirty"


async def test_what_is_no_repository_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InvalidRevision, match="a release is made from a commit: clone the repository"):
        await read_commit(Repository(tmp_path, digest=""))


@pytest.mark.parametrize(
    ("digest", "why"),
    [
        ("0" * 40, "cannot be read"),
        (Blob.from_string(b"a blob").id.decode(), "is no commit"),
        ("x", "cannot be"),
    ],
)
def test_a_commit_that_cannot_be_read_is_refused(repository: Repository, digest: str, why: str) -> None:
    with pytest.raises(InvalidRevision, match=why):
        git_commit.time_of(repository.folder, digest)
