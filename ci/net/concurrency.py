"""Concurrency: steps that run at the same time, and what runs beside them."""

from collections.abc import Callable, Coroutine
from typing import TypeVar, overload

import anyio

Result = TypeVar("Result")
Other = TypeVar("Other")


@overload
async def together(
    one: Callable[[], Coroutine[object, object, Result]],
    other: Callable[[], Coroutine[object, object, Other]],
    /,
) -> tuple[Result, Other]: ...


@overload
async def together(*steps: Callable[[], Coroutine[object, object, Result]]) -> tuple[Result, ...]: ...


async def together(*steps: Callable[[], Coroutine[object, object, object]]) -> tuple[object, ...]:
    """Return the steps' results in their order; a failure ends the others and is raised as it is."""
    results: dict[int, object] = {}

    async def run(number: int) -> None:
        results[number] = await steps[number]()

    try:
        async with anyio.create_task_group() as group:
            for number in range(len(steps)):
                group.start_soon(run, number)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return tuple(results[number] for number in range(len(steps)))


async def beside(
    other: Callable[[], Coroutine[object, object, object]],
    work: Callable[[], Coroutine[object, object, Result]],
) -> Result:
    """Return the work's result, during which something else runs; a failure of either is raised as it is."""
    results: list[Result] = []
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(other)
            results.append(await work())
            group.cancel_scope.cancel()
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return results[0]
