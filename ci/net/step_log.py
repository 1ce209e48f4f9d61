"""Log of a release's steps, a line for each that ends."""

import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TypeVar

Result = TypeVar("Result")


class Steps:
    """Tells every step that ends, one line each with its seconds."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        """Tell a function each line."""
        self._tell = tell

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Take the block for a step; what it raises ends it, too, and goes on."""
        started, end = time.monotonic(), ": failed"
        try:
            yield
            end = ""
        finally:
            self._tell(f"{time.monotonic() - started:6.1f} s  {name}{end}")

    def note(self, text: str) -> None:
        """Tell something about the step that ended, or is being taken."""
        self._tell(f"{'':10}{text}")

    def timed(
        self, name: str, work: Callable[[], Coroutine[object, object, Result]]
    ) -> Callable[[], Coroutine[object, object, Result]]:
        """Return the work as a step of that name."""

        async def working() -> Result:
            with self.step(name):
                return await work()

        return working
