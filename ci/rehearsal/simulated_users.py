"""Simulated users: fixed-rate requests during a deployment, with results counted."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import anyio
import httpx

from deploying.rollout.golden_rows import Golden
from deploying.rollout.target import Address

AT_ONCE = 8


@dataclass
class Users:
    """So many requests a second to an address; `answered` counts versions, `lost` what went wrong.

    A machine that is too slow for that gets fewer, and never more than a few at once: a backlog would make
    every other request late.
    """

    golden: Golden
    http: httpx.AsyncClient
    address: Address
    rate: float
    answered: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Send requests for ever, each in its time, whether those before were answered or not."""
        free, due = anyio.Semaphore(AT_ONCE), anyio.current_time()
        async with anyio.create_task_group() as group:
            for row in cycle(self.golden.rows):
                await anyio.sleep_until(due)
                await free.acquire()
                group.start_soon(self._send_and_release, {"features": row.features}, free)
                due = max(due + 1 / self.rate, anyio.current_time())

    async def _send_and_release(self, question: dict[str, Any], free: anyio.Semaphore) -> None:
        try:
            await self._send(question)
        finally:
            free.release()

    async def _send(self, question: dict[str, Any]) -> None:
        url, headers = f"{self.address.url}/predict", await self.address.headers()
        try:
            answer = await self.http.post(url, json=question, headers=headers)
            self.answered[answer.raise_for_status().json()["model_version"]] += 1
        except (httpx.HTTPError, ValueError, LookupError) as error:
            self.lost.append(f"{error!r}")

    def __str__(self) -> str:
        shares = ", ".join(f"{number} by {version}" for version, number in sorted(self.answered.items()))
        return f"{self.answered.total()} users' requests answered ({shares}), {len(self.lost)} lost"
