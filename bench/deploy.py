"""Effect of a deployment on its users: `PYTHONPATH=ci:. python bench/deploy.py [RATE]`

Trains the model and runs the project's own service behind the fake Cloud Run. Simulated users in another
process send requests at a fixed rate (300 a second). Meanwhile one version is deployed over another, judged
by real numbers in each step, and rolled back. Prints the answered requests by version, the lost ones, and the
time from the rollback's command to restored traffic. Needs requirements-dev.txt and Debian's docker-registry.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx

from deploying.rollout.deployment import Deployment
from deploying.rollout.golden_rows import Golden
from deploying.rollout.judge import Judge
from deploying.rollout.verdict import Limits
from deploying.targets.cloud_run import CloudRun, Settings
from fakecloud import addresses
from fakecloud.state.fixtures import World, usual_world
from image import archive_reader
from keyless.endpoints import Endpoints
from keyless.federation import Federation
from keyless.google_identity import Identity, Provider
from keyless.oidc_sources import Given
from net.retry_policy import patient
from net.step_log import Steps
from net.tokens import Token
from oci.reference import Image, Release
from oci.repository import connect
from tests.ci.conftest import Archive, serving_registry

ROOT = Path(__file__).resolve().parent.parent
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

    async def _ask(self, question):
        body, url = json.dumps(question).encode(), self.address.url
        try:
            answer = await self.upstream.ask(url, 'POST', '/predict', HEADERS, body)
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


@dataclass
class Place:
    """A fake cloud and the services behind it."""

    base: str
    world: World
    key: str
    registry_url: str
    model: Path
    stack: ExitStack
    versions: dict[str, str] = field(default_factory=dict)

    async def publish(self, tag: str, folder: Path) -> Release:
        """Publish an image that represents a version."""
        archive = Archive(folder / f"{tag}.tar")
        archive.index(archive.add_manifest(tag.encode()))
        image = archive_reader.read(archive.write())
        repository = f"{self.world.repository.project}/{self.world.repository.name}/bench"
        async with connect(self.registry_url, repository) as place:
            await replace(place, say=lambda line: None).publish(image, tag)
        self.versions[image.digest] = tag
        return Release(Image(self.world.repository.host, repository, tag), image.digest)

    def start_revisions(self) -> None:
        """Start the revisions that the fake cloud waits for, until it ends."""
        with httpx.Client(headers={"Authorization": f"Bearer {self.key}"}, timeout=30) as http:
            while True:
                try:
                    answer = http.get(f"{self.base}{addresses.CONTROL}/pending")
                except httpx.TransportError:
                    return
                if answer.status_code == 200:
                    name, digest = answer.json()["revision"], answer.json()["image"].partition("@")[2]
                    instance = self.serve(self.versions[digest])
                    http.post(
                        f"{self.base}{addresses.CONTROL}/revisions/{name}", json={"instance": instance}
                    ).raise_for_status()

    def serve(self, version: str) -> str:
        """Run the project's service as a version and return its address."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
        environment = {**os.environ, "PORT": port, "MODEL_VERSION": version, "MODEL_DIR": str(self.model)}
        self.stack.enter_context(run_module("-m", "app", environment=environment, stdout=subprocess.DEVNULL))
        return f"http://127.0.0.1:{port}"


@contextmanager
def run_module(*words: str, environment: dict[str, str], stdout: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program of this project while the block runs."""
    process = subprocess.Popen(
        [sys.executable, *words], cwd=ROOT, env=environment, stdout=stdout, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def fake_cloud(folder: Path) -> Iterator[Place]:
    """Run the fake cloud, with nothing deployed yet."""
    model = folder / "model"
    training = [sys.executable, "train_model.py", "--output", str(model)]
    subprocess.run(training, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    with ExitStack() as stack:
        registry_url = stack.enter_context(serving_registry("docker-registry", folder))
        ticket, key = secrets.token_urlsafe(), secrets.token_urlsafe()
        (folder / "ticket").write_text(ticket)
        (folder / "key").write_text(key)
        words = ["-m", "fakecloud", "--host", "127.0.0.1", "--port", "0", "--registry-url", registry_url]
        words += ["--request-token-file", f"{folder}/ticket", "--control-key-file", f"{folder}/key"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "ci")}
        process = stack.enter_context(run_module(*words, environment=environment, stdout=subprocess.PIPE))
        assert process.stdout
        base = process.stdout.readline().decode().rpartition(" ")[2].strip()
        place = Place(base, usual_world(ticket, control_key=key), key, registry_url, model, stack)
        threading.Thread(target=place.start_revisions, daemon=True).start()
        yield place


@asynccontextmanager
async def simulated_users(rate: float, url: str, token: str, model: Path) -> AsyncIterator[list[object]]:
    """Run the simulated users while the block runs; afterwards the list has their results."""
    words = ["-c", USERS, str(rate), url, token, str(model / "golden.json"), str(model / "card.json")]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *words,
        env={**os.environ, "PYTHONPATH": str(ROOT / "ci")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    came: list[object] = []
    try:
        await asyncio.sleep(1)
        yield came
        await asyncio.sleep(1)
    finally:
        answer, _ = await process.communicate(b"")
        came.extend(json.loads(answer))


async def measure_deployment(place: Place, folder: Path, rate: float) -> None:
    """Deploy, deploy over it and roll back, and print the figures."""
    world = place.world
    given = Given(addresses.request_url(place.base), Token(world.request_token))
    identity = Identity(
        Provider.of(world.provider.resource),
        world.service_account,
        given,
        Endpoints.of(addresses.endpoints(place.base, world)),
    )
    golden = Golden.of(*((place.model / name).read_bytes() for name in ("golden.json", "card.json")))
    settings = Settings(world.repository.project, world.repository.location, "bench", lag=0)
    first, second = [await place.publish(tag, folder) for tag in ("v1.0.0", "v1.1.0")]
    async with patient(30) as client:
        target = CloudRun.of(settings, Federation(identity, client), client)
        deployment = Deployment(target, "bench", Steps(print))
        judge = Judge(golden, client.http, lambda line: print(f"{'':10}{line}"), STEP_SECONDS, LIMITS)
        await deployment.deploy(first, judge)
        address = (await target.look()).address
        assert address
        token = (await address.headers())["Authorization"]
        async with simulated_users(rate, address.url, token, place.model) as came:
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
    rate = float(sys.argv[1]) if len(sys.argv) > 1 else 300.0
    with tempfile.TemporaryDirectory() as name, fake_cloud(Path(name)) as place:
        asyncio.run(measure_deployment(place, Path(name), rate))


if __name__ == "__main__":
    main()
