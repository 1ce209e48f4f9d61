"""Git commit that is released: its hash and its time."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import dagger

from errors import InvalidRevision
from image.canonical import DIRTY


@dataclass(frozen=True)
class Commit:
    """A commit's hash and its time, RFC 3339 in UTC; `dirty` when the work tree has more than it."""

    digest: str
    created: str
    dirty: bool

    @property
    def revision(self) -> str:
        """Revision for an image's labels: the hash, with -dirty when more than the commit is built."""
        return f"{self.digest}{DIRTY}" if self.dirty else self.digest

    @classmethod
    async def of(cls, repository: dagger.GitRepository) -> Self:
        """Return what a repository has checked out; raises InvalidRevision when it is no repository."""
        try:
            head = repository.head()
            digest, clean = await head.commit(), await repository.uncommitted().is_empty()
            folder = Path("head.git")
            await head.tree().directory(".git").export(str(folder))
        except dagger.QueryError as error:
            raise InvalidRevision(
                f"git: {error}; a release is made from a commit: clone the repository, or `git init` one "
                "and commit"
            ) from error
        return cls(digest, time_of(folder, digest), not clean)


def time_of(folder: Path, digest: str) -> str:
    """Return when a commit of the repository in a .git folder was made; raises InvalidRevision if unread."""
    # Imported late: it takes a tenth of a second, and most calls need no commit.
    from dulwich.objects import Commit as Found
    from dulwich.repo import Repo

    try:
        with Repo(str(folder)) as repository:
            found = repository[digest.encode()]
    except (KeyError, OSError, ValueError) as error:
        raise InvalidRevision(f"git: commit {digest} cannot be read: {error!r}") from error
    if not isinstance(found, Found):
        raise InvalidRevision(f"git: {digest} is no commit")
    return datetime.fromtimestamp(found.commit_time, UTC).isoformat().replace("+00:00", "Z")
