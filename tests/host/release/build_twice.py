"""Two builds of a commit, as different as one machine can make them.

Run by `PYTHONPATH=ci python -m tests.host.release.build_twice`.

Run as root. Two clones in two folders, each with an empty cache; the second by an ordinary user, under
another umask, time zone and locale, with other BLAS and thread settings. Prints both digests, and how the
images differ when the digests do; then the exit status is 1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from image import archive_reader, compare, release_files

ROOT = Path(__file__).resolve().parents[3]
UID, USER = 54321, "somebody"
UNLIKE = {
    **{"OPENBLAS_CORETYPE": "SkylakeX", "OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"},
    **{"TZ": "Asia/Tokyo", "LC_ALL": "C", "PYTHONHASHSEED": "7"},
}
# Becomes a user of this mount namespace only; every user may open the network device, as on usual machines.
BECOME = """
umask 077
mount --bind "$1/passwd" /etc/passwd
mount --bind "$1/subordinate" /etc/subuid
mount --bind "$1/subordinate" /etc/subgid
mount --bind "$1/tun" /dev/net/tun
shift
exec setpriv --reuid 54321 --regid 54321 --clear-groups --inh-caps=-all -- "$@"
"""


@dataclass(frozen=True)
class Build:
    """One clone with a cache of its own, and how it is built."""

    folder: Path
    before: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self) -> archive_reader.Layout:
        """Return the release's image, and print its digest with the seconds that it took."""
        started = time.monotonic()
        environment = {"HOME": str(self.folder), "PATH": os.environ["PATH"], "DAGGERW_ENGINE": "embedded"}
        given = [f"{name}={text}" for name, text in {**environment, **self.environment}.items()]
        command = ["./daggerw", "call", "release", "export", "--path", str(self.folder / "out")]
        words = [*self.before, "env", "-i", *given, *command]
        subprocess.run(words, cwd=self.folder / "clone", check=True, stdout=subprocess.DEVNULL)
        image = archive_reader.read(self.folder / "out" / release_files.IMAGE)
        print(f"{image.digest}  {time.monotonic() - started:6.1f} s  {self.folder}", flush=True)
        return image


def copy_for_user(folder: Path, uid: int) -> Path:
    """Return a user's folder with a clone of the last commit."""
    folder.mkdir()
    subprocess.run(
        ["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder / "clone")], check=True
    )
    for place in (folder, *folder.rglob("*")):
        os.chown(place, uid, uid, follow_symlinks=False)
    return folder


def build_as_user(folder: Path) -> Build:
    """Return a build by an ordinary user with subordinate ids."""
    entry = f"{USER}:x:{UID}:{UID}::/nonexistent:/bin/sh\n"
    (folder / "passwd").write_text(Path("/etc/passwd").read_text() + entry)
    (folder / "subordinate").write_text(f"{USER}:600000:65536\n")
    os.mknod(folder / "tun", 0o020666, os.makedev(10, 200))
    (folder / "tun").chmod(0o666)
    become = ("unshare", "--mount", "sh", "-euc", BECOME, "sh", str(folder))
    return Build(copy_for_user(folder / "a user's home", UID), become, UNLIKE)


def main() -> int:
    """Return whether the digests differ."""
    folder = Path(tempfile.mkdtemp(prefix="build-twice-"))
    folder.chmod(0o755)
    try:
        images = Build(copy_for_user(folder / "root", 0)).run(), build_as_user(folder).run()
        differences = compare.differences(*images)
        print("\n".join(differences) or "the same digest")
        return int(bool(differences))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
