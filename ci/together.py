"""Steps that run at the same time."""

from collections.abc import Callable, Coroutine
from typing import TypeVar

import anyio

Result = TypeVar("Result")


async def together(*steps: Callable[[], Coroutine[object, object, Result]]) -> list[Result]:
    """Return the steps' results in their order; a failure ends the others and is raised as it is."""
    results: dict[int, Result] = {}

    async def run(number: int) -> None:
        results[number] = await steps[number]()

    try:
        async with anyio.create_task_group() as group:
            for number in range(len(steps)):
                group.start_soon(run, number)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [results[number] for number in range(len(steps))]
