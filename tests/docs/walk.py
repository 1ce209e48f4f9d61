"""Walk through the documents: every command shown is run, and its output compared with the page.

    python3 tests/docs/walk.py

Without arguments that name documents, these are all pages of this template that show commands. Each document
gets a fresh clone of the last commit. What commands print has to be what is shown, except for digests, times
and counts; a line `…` stands for any. Ends with status 1 at the first command that fails or
prints something else.
"""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from time import monotonic

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", "docs/deploying.md", "docs/monitoring.md", "docs/releasing.md"]
CLOUD = "needs a cloud; tests/host/release/test_release.py gives it to the stand-in for one"
NOT_RUN = {
    "./daggerw --install": "needs the network; tests/host/wrapper/test_daggerw.py gives it a site of its own",
    "./daggerw call setup-google ": "uses GitHub; tests/ci/keyless/test_setup_script.py answers in its place",
    "./daggerw call deploy ": CLOUD,
    "./daggerw call promote ": CLOUD,
    "./daggerw call rollback ": CLOUD,
    "./daggerw call history": CLOUD,
    "./daggerw call smoke ": CLOUD,
}
STEP = re.compile(r" *\d+\.\d s  ")
VARYING = [r"sha256:[0-9a-f]{64}", r" *\d+\.\d s", r"=+ \d+ passed.* =+"]
PUBLISHED = re.compile(r"localhost:5000/\S+@sha256:[0-9a-f]{64}")
PATIENT = "--silent --show-error --retry 60 --retry-delay 1 --retry-all-errors"
PATIENCE = 1200.0  # seconds for one command: the first one may have to make the base images


@dataclass(frozen=True)
class Command:
    """A command of a document, and the lines shown under it."""

    text: str
    shown: list[str]

    @property
    def not_run(self) -> str:
        """Return the reason not to run it, or nothing."""
        return next((why for start, why in NOT_RUN.items() if self.text.startswith(start)), "")


def commands(text: str) -> Iterator[Command]:
    """Yield the commands of a document's console blocks."""
    for block in re.findall(r"^ *```console\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
        for command in re.split(r"^ *\$ ", block, flags=re.MULTILINE)[1:]:
            first, *shown = command.rstrip().splitlines()
            yield Command(first, shown)


def matches_page(shown: list[str], printed: str, errors: str) -> bool:
    """Return whether all of standard output is shown, after lines that are on standard error."""
    shown, lines = list(sort_steps(shown)), errors.splitlines()
    whole = "".join(f"{line}\n" for line in sort_steps(printed.splitlines()))
    return any(
        re.fullmatch(_pattern(shown[split:]), whole)
        and all(is_reported(line, lines) for line in shown[:split])
        for split in range(len(shown) + 1)
    )


def sort_steps(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines with steps that follow each other by name: of those that run at once any may end first."""
    for is_step, found in groupby(lines, key=lambda line: bool(STEP.match(line))):
        group = list(found)
        yield from sorted(group, key=lambda line: STEP.sub("", line)) if is_step else group


def is_reported(line: str, lines: list[str]) -> bool:
    return any(re.fullmatch(_line_pattern(line), each) for each in lines)


def _pattern(shown: list[str]) -> str:
    return "".join(r"(?:.*\n)*?" if line == "…" else f"{_line_pattern(line)}\n" for line in shown)


def _line_pattern(line: str) -> str:
    """Return the expression for a line: its own words, and whatever digests, times and counts there are."""
    pieces = re.split(f"({'|'.join(VARYING)})", line)
    pieces[::2] = [re.escape(words) for words in pieces[::2]]
    pieces[1::2] = [next(each for each in VARYING if re.fullmatch(each, found)) for found in pieces[1::2]]
    return "".join(pieces)


@dataclass
class Walk:
    """A walk in a clone, with the digest that was published last and the port of the service."""

    clone: Path
    started: ExitStack
    port: str
    published: str = ""

    def take(self, command: Command) -> None:
        """Run a command and compare its output with the page."""
        if command.not_run:
            print(f"not run: {command.text} ({command.not_run})", flush=True)
            return
        print(f"$ {command.text}", flush=True)
        line = self._ours(command.text)
        if " up " in line:
            self.started.enter_context(_service(line, self.clone))
            return
        began = monotonic()
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=self.clone,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        print(f"  {monotonic() - began:.1f} s", flush=True)
        if done.returncode or (command.shown and not matches_page(command.shown, done.stdout, done.stderr)):
            shown = "\n".join(command.shown)
            sys.exit(f"{done.stderr}\n{done.stdout}\nstatus {done.returncode}; the page shows:\n{shown}")
        self.published = next(iter(PUBLISHED.findall(done.stdout)), self.published)

    def _ours(self, line: str) -> str:
        """Return a command with this machine's port and digest, and patience with a service that starts."""
        line = re.sub(r"\b8080:|localhost:8080", lambda found: found[0].replace("8080", self.port), line)
        line = line.replace("curl ", f"curl {PATIENT} ")
        return PUBLISHED.sub(self.published, line) if self.published else line


@contextmanager
def _service(line: str, folder: Path) -> Iterator[None]:
    """Run a command that lasts until Ctrl-C."""
    process = subprocess.Popen(["bash", "-c", f"exec {line}"], cwd=folder, start_new_session=True)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        status = process.wait(PATIENCE)
    if status not in {0, 130, -signal.SIGINT}:
        sys.exit(f"{line} ended with status {status}")


def walk(page: str) -> None:
    """Run the commands of a page in a fresh clone."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as started:
        clone = Path(folder) / ROOT.name
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
        reader = Walk(clone, started, port)
        for command in commands((clone / page).read_text()):
            reader.take(command)


if __name__ == "__main__":
    for name in sys.argv[1:] or PAGES:
        walk(name)
