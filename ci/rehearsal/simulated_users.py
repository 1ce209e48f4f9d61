"""Simulated users: fixed-rate requests during a deployment, with results counted."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import anyio
import httpx

from deploying.rollout.golden_rows import Golden
from deploying.rollout.target import Address


@dataclass
class Users:
    """So many questions a second at an address; `answered` counts versions, `lost` what went wrong."""

    golden: Golden
    http: httpx.AsyncClient
    address: Address
    rate: float
    answered: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)

    async def run(self) -> None:
        """Ask for ever. Questions start when it is their time, whether those before were answered or not."""
        started = anyio.current_time()
        async with anyio.create_task_group() as group:
            for number, row in enumerate(cycle(self.golden.rows)):
                await anyio.sleep_until(started + number / self.rate)
                group.start_soon(self._ask, {"features": row.features})

    async def _ask(self, question: dict[str, Any]) -> None:
        url, headers = f"{self.address.url}/predict", await self.address.headers()
        try:
            answer = await self.http.post(url, json=question, headers=headers)
            self.answered[answer.raise_for_status().json()["model_version"]] += 1
        except (httpx.HTTPError, ValueError, LookupError) as error:
            self.lost.append(f"{error!r}")

    def __str__(self) -> str:
        shares = ", ".join(f"{number} by {version}" for version, number in sorted(self.answered.items()))
        return f"{self.answered.total()} users' requests answered ({shares}), {len(self.lost)} lost"
