"""Cloud Run as the fake cloud has it, with the service as processes on this machine."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx

from bench.places.place import ROOT, Place, run_program, train_model
from deploying.rollout.target import Address, Target
from deploying.targets.cloud_run import CloudRun, Settings
from fakecloud import addresses
from fakecloud.state.fixtures import CloudSetup, usual_setup, with_deployers
from image import archive_reader
from keyless.endpoints import Endpoints
from keyless.federation import Federation
from keyless.google_identity import Identity, Provider
from keyless.oidc_sources import Given
from net.retry_policy import Retrying, patient
from net.tokens import Token
from oci.reference import Image, Release
from oci.repository import connect
from tests.ci.conftest import Archive, serving_registry

ENVIRONMENT = "production"  # of GitHub's, whose jobs may deploy


@dataclass
class CloudRunPlace:
    """The fake cloud and the services behind it."""

    base: str
    setup: CloudSetup
    key: str
    registry_url: str
    folder: Path
    model: Path
    stack: ExitStack
    versions: dict[str, str] = field(default_factory=dict)

    @asynccontextmanager
    async def open_target(self) -> AsyncIterator[tuple[Target, Retrying]]:
        """Open the driver, as the account that deploys to production."""
        setup = self.setup
        given = Given(addresses.request_url(self.base), Token(setup.request_token))
        endpoints = Endpoints.of(addresses.endpoints(self.base, setup))
        provider = Provider.of(setup.provider.resource)
        identity = Identity(provider, setup.deployers[ENVIRONMENT], given, endpoints)
        settings = Settings(setup.repository.project, setup.repository.location, "bench", lag=0)
        async with patient(30) as client:
            yield CloudRun.of(settings, Federation(identity, client), client), client

    async def publish(self, tag: str) -> Release:
        """Publish an image that stands for a version."""
        archive = Archive(self.folder / f"{tag}.tar")
        archive.index(archive.add_manifest(tag.encode()))
        image = archive_reader.read(archive.write())
        repository = f"{self.setup.repository.project}/{self.setup.repository.name}/bench"
        async with connect(self.registry_url, repository) as place:
            await replace(place, say=lambda line: None).publish(image, tag)
        self.versions[image.digest] = tag
        return Release(Image(self.setup.repository.host, repository, tag), image.digest)

    async def users_address(self, target: Target) -> Address:
        """Return the service's own address."""
        address = (await target.look()).address
        assert address
        return address

    def start_revisions(self) -> None:
        """Start the revisions that the fake cloud waits for, until it is gone."""
        with httpx.Client(headers={"Authorization": f"Bearer {self.key}"}, timeout=30) as http:
            while True:
                try:
                    answer = http.get(f"{self.base}{addresses.CONTROL}/pending")
                except httpx.TransportError:
                    return
                if answer.status_code == 200:
                    name, digest = answer.json()["revision"], answer.json()["image"].partition("@")[2]
                    instance = self._serve(self.versions[digest])
                    http.post(
                        f"{self.base}{addresses.CONTROL}/revisions/{name}", json={"instance": instance}
                    ).raise_for_status()

    def _serve(self, version: str) -> str:
        """Run the project's service as a version and return its address."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
        environment = {**os.environ, "PORT": port, "MODEL_VERSION": version, "MODEL_DIR": str(self.model)}
        self.stack.enter_context(run_program("-m", "app", environment=environment))
        return f"http://127.0.0.1:{port}"


@contextmanager
def cloud_run(folder: Path) -> Iterator[Place]:
    """Run the fake cloud, with nothing deployed yet."""
    model = train_model(folder)
    with ExitStack() as stack:
        registry_url = stack.enter_context(serving_registry("docker-registry", folder))
        ticket, key = secrets.token_urlsafe(), secrets.token_urlsafe()
        (folder / "ticket").write_text(ticket)
        (folder / "key").write_text(key)
        words = ["-m", "fakecloud", "--host", "127.0.0.1", "--port", "0", "--registry-url", registry_url]
        words += ["--request-token-file", f"{folder}/ticket", "--control-key-file", f"{folder}/key"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "ci")}
        process = stack.enter_context(run_program(*words, environment=environment, stdout=subprocess.PIPE))
        assert process.stdout
        base = process.stdout.readline().decode().rpartition(" ")[2].strip()
        setup = with_deployers(usual_setup(ticket, control_key=key))
        run = {"ref": "refs/tags/v1.0.0", "environment": ENVIRONMENT}
        headers = {"Authorization": f"Bearer {key}"}
        httpx.post(f"{base}{addresses.CONTROL}/runs", json=run, headers=headers).raise_for_status()
        place = CloudRunPlace(base, setup, key, registry_url, folder, model, stack)
        threading.Thread(target=place.start_revisions, daemon=True).start()
        yield place
