"""Log of steps."""

from __future__ import annotations

import re

import pytest

from net.step_log import Steps


def test_a_step_is_printed_with_its_seconds_when_it_ends() -> None:
    printed: list[str] = []
    steps = Steps(printed.append)
    with steps.step("push"):
        assert not printed
    steps.note("nothing to push")
    assert re.fullmatch(r" +0\.\d s  push", printed[0])
    assert printed[1] == "          nothing to push"


def test_a_step_that_starts_is_printed_in_a_column_with_the_ends() -> None:
    printed: list[str] = []
    with Steps(printed.append, printed.append).step("push"):
        assert printed == ["  starts  push"]
    assert printed[1].index("push") == printed[0].index("push")


@pytest.mark.anyio
async def test_a_step_that_fails_is_printed_as_such_and_fails() -> None:
    printed: list[str] = []

    async def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Steps(printed.append).wrap("build", work)()
    assert printed[0].endswith("s  build: failed")
