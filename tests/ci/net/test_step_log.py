"""Log of steps."""

from __future__ import annotations

import re

import pytest

from net.step_log import Steps


def test_a_step_is_told_with_its_seconds_when_it_ends() -> None:
    told: list[str] = []
    steps = Steps(told.append)
    with steps.step("push"):
        assert not told
    steps.note("nothing to push")
    assert re.fullmatch(r" +0\.\d s  push", told[0])
    assert told[1] == "          nothing to push"


def test_a_step_that_starts_is_told_in_a_column_with_the_ends() -> None:
    told: list[str] = []
    with Steps(told.append, told.append).step("push"):
        assert told == ["  starts  push"]
    assert told[1].index("push") == told[0].index("push")


@pytest.mark.anyio
async def test_a_step_that_fails_is_told_as_such_and_fails() -> None:
    told: list[str] = []

    async def work() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Steps(told.append).wrap("build", work)()
    assert told[0].endswith("s  build: failed")
