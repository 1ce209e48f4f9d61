"""Progress of a test run on standard error, for those who wait: `123/729, 0 failed`, every two seconds.

With `--progress`, as the pipeline runs tests: its engines show the last line that a step's command said. The
report on standard output stays as it is. Tests may run in several processes (pytest-xdist): the one that
collects their reports counts.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

SECONDS = 2.0
SLOW = 5.0  # seconds from which on a test is named


class Counter:
    """Counts tests that have ended, and says so from a thread of its own."""

    def __init__(self, stream: int) -> None:
        """Write to a file descriptor, which capturing leaves alone."""
        self._stream = stream
        self._total = self._ended = self._failed = 0
        self._running: dict[str, float] = {}  # when each test that runs now has begun
        self._done = threading.Event()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Learn how many tests there are."""
        self._total = len(session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Learn it from one of several processes, each of which collects all tests."""
        self._total = len(ids)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Remember a test that runs now."""
        self._running[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Forget it."""
        self._running.pop(nodeid, None)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a failure, also of a fixture, and the test when its last part has ended."""
        self._failed += report.failed
        self._ended += report.when == "teardown"

    def line(self) -> str:
        """Return how far the run is."""
        if not self._total:
            return "collecting tests"
        test, since = next(iter(self._running.copy().items()), ("", 0.0))  # the one that began first
        seconds = time.monotonic() - since
        slow = f", {seconds:.0f} s in {test}" if test and seconds >= SLOW else ""
        return f"{self._ended}/{self._total}, {self._failed} failed{slow}"

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Write the line every SECONDS until the block ends, and once more then."""
        teller = threading.Thread(target=self._tell, daemon=True)
        teller.start()
        try:
            yield
        finally:
            self._done.set()
            teller.join()

    def _tell(self) -> None:
        while True:
            done = self._done.wait(SECONDS)
            os.write(self._stream, f"{self.line()}\n".encode())
            if done:
                return


def start(config: pytest.Config) -> None:
    """Count the tests of a run, and say so until it ends."""
    capture = config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        stream = os.dup(2)
    counter = Counter(stream)
    config.pluginmanager.register(counter)
    stack = ExitStack()
    stack.callback(os.close, stream)
    stack.enter_context(counter.telling())
    config.add_cleanup(stack.close)
