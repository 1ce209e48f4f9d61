"""Effect of a deployment on its users: `PYTHONPATH=ci:. python bench/deploy.py [PLACE] [RATE]`

Trains the model and serves it by the project's own service at a place: `cloud_run`, the fake cloud;
`kubernetes`, a real control plane on loopback (`python -m tests.kubernetes` says what that needs); `swarm`,
two real Docker daemons, which need root, and also `engine:engine/tests` in PYTHONPATH. Users send requests
at a rate (300 a second) from a process of their own while one version is deployed over another, is judged
with real numbers in each step, and is rolled back. Prints how many were answered by which version, how many
were lost, and how long the rollback took from command to traffic restored. Needs requirements-dev.txt and
docker-registry.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path

from bench.places.place import Place
from deploying.rollout.deployment import Deployment
from deploying.rollout.golden_rows import Golden
from deploying.rollout.judge import Judge
from deploying.rollout.target import Address
from deploying.rollout.verdict import Limits
from net.step_log import Steps
from tests.kubernetes.cluster.programs import enter_namespaces

PLACES = ("cloud_run", "kubernetes", "swarm")  # modules and their functions
STEP_SECONDS = 4.0
LIMITS = Limits(p95_seconds=5, p99_ratio=5, p99_slack_seconds=5)  # the machine is the users', too
USERS = """
import asyncio, json, sys
from deploying.rollout.golden_rows import Golden
from deploying.rollout.target import Address
from fakecloud.cloud_run.instance_client import InstanceFailed, Upstream
from net.concurrency import beside
from rehearsal.simulated_users import Users

class Lean(Users):
    upstream = Upstream()  # httpx takes more of the machine than all that is measured

    async def _send(self, question):
        body, url = json.dumps(question).encode(), self.address.url
        try:
            answer = await self.upstream.send(url, 'POST', '/predict', HEADERS, body)
        except InstanceFailed as error:
            return self.lost.append(repr(error))
        if answer.status == 200:
            self.answered[json.loads(answer.body)['model_version']] += 1
        else:
            self.lost.append(f'{answer.status} {answer.body!r:.80}')

async def main(rate, url, token, golden, card):
    global HEADERS
    HEADERS = [(b'authorization', token.encode()), (b'content-type', b'application/json')]
    rows = Golden.of(open(golden, 'rb').read(), open(card, 'rb').read())
    users = Lean(rows, None, Address(url), float(rate))
    await beside(users.run, lambda: asyncio.to_thread(sys.stdin.read))
    print(json.dumps([users.answered, users.lost[:3], len(users.lost)]))

asyncio.run(main(*sys.argv[1:]))
"""


@asynccontextmanager
async def simulated_users(rate: float, address: Address, model: Path) -> AsyncIterator[list[object]]:
    """Run the simulated users while the block runs; afterwards the list has their results."""
    token = (await address.headers()).get("Authorization", "none")
    words = ["-c", USERS, str(rate), address.url, token, str(model / "golden.json"), str(model / "card.json")]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        env={**os.environ, "PYTHONPATH": "ci"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    came: list[object] = []
    try:
        await asyncio.sleep(1)
        yield came
        await asyncio.sleep(1)
    finally:
        printed, _ = await process.communicate(b"")
        came.extend(json.loads(printed))


async def measure_deployment(place: Place, rate: float) -> None:
    """Deploy, deploy over it and roll back, and print the figures."""
    golden = Golden.of(*((place.model / name).read_bytes() for name in ("golden.json", "card.json")))
    first, second = [await place.publish(tag) for tag in ("v1.0.0", "v1.1.0")]
    async with place.open_target() as (target, client):
        deployment = Deployment(target, "bench", Steps(print))
        judge = Judge(golden, client.http, lambda line: print(f"{'':10}{line}"), STEP_SECONDS, LIMITS)
        await deployment.deploy(first, judge)
        async with simulated_users(rate, await place.users_address(target), place.model) as came:
            await Deployment(target, "bench", Steps(print)).deploy(second, judge)
            started = time.monotonic()
            live = await Deployment(target, "bench", Steps(print)).rollback()
            took = time.monotonic() - started
    answered, examples, lost = came
    assert isinstance(answered, dict)
    print(
        f"users at {rate:.0f}/s: {sum(answered.values())} answered ({answered}), {lost} lost {examples or ''}"
    )
    print(f"rollback: {took:.2f} s from command to traffic restored, to {live.partition('@')[0]}")


def main() -> None:
    """Measure one deployment and one rollback."""
    words = sys.argv[1:]
    name = words.pop(0) if words and words[0] in PLACES else PLACES[0]
    rate = float(words[0]) if words else 300.0
    if name == "kubernetes" and "KUBERNETES_PROGRAMS" not in os.environ:
        enter_namespaces(sys.executable, *sys.argv)
    standing = getattr(import_module(f"bench.places.{name}"), name)
    with tempfile.TemporaryDirectory() as folder, standing(Path(folder)) as place:
        asyncio.run(measure_deployment(place, rate))


if __name__ == "__main__":
    main()
