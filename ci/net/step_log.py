"""Log of a release's steps: a line when each starts, and one with its seconds when it ends."""

import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TypeVar

Result = TypeVar("Result")


class Steps:
    """Prints a line for every step that starts or ends; the end's line has its seconds."""

    def __init__(
        self, tell: Callable[[str], None], tell_start: Callable[[str], None] = lambda line: None
    ) -> None:
        """Take the function that prints a line, and the one that prints that a step starts."""
        self._tell, self._tell_start = tell, tell_start

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Run the block as a step; an error ends the step, too, and is raised on."""
        started, end = time.monotonic(), ": failed"
        self._tell_start(f"{'starts':>8}  {name}")
        try:
            yield
            end = ""
        finally:
            self._tell(f"{time.monotonic() - started:6.1f} s  {name}{end}")

    def note(self, text: str) -> None:
        """Print a remark about the step that ended, or is being taken."""
        self._tell(f"{'':10}{text}")

    def wrap(
        self, name: str, work: Callable[[], Coroutine[object, object, Result]]
    ) -> Callable[[], Coroutine[object, object, Result]]:
        """Return the work as a step of that name."""

        async def run_step() -> Result:
            with self.step(name):
                return await work()

        return run_step
