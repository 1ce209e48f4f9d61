"""What every target has to do, whichever it is."""

from __future__ import annotations

import pytest

from tests.ci.targets.labs import Lab, worker

pytestmark = pytest.mark.anyio


async def test_a_first_release_and_one_over_it_go_live(lab: Lab) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")
    async with worker(lab) as somebody:
        assert await somebody.deploy(first)
        assert (await somebody.target.look()).live == str(first)
        assert await lab.users(somebody.client, 10) == {"v1.0.0": 10}
        assert await somebody.deploy(second)
        assert (await somebody.target.look()).live == str(second)
        assert await lab.users(somebody.client, 10) == {"v1.1.0": 10}
        journal = (await somebody.target.look()).journal
        assert journal.attempt is None
        assert [(entry.release, entry.outcome) for entry in journal.entries] == [
            (str(second), "live"),
            (str(first), "live"),
        ]
