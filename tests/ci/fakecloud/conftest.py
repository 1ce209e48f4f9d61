"""A job that deploys to the fake Cloud Run, by plain requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakecloud.state.fixtures import usual_setup
from image import archive_reader
from oci.repository import connect
from tests.ci.conftest import Archive
from tests.ci.deploying.targets.labs.cloud_run_lab import KEY
from tests.ci.deploying.targets.labs.fleet import Fleet, Model
from tests.ci.deploying.targets.labs.revision_starter import start_revisions
from tests.ci.releaser import Releaser

SERVICES = "v2/projects/rehearsal-project/locations/us-central1/services"
IMAGE = "us-central1-docker.pkg.dev/rehearsal-project/models/run"


class Run(Releaser):
    """A job that deploys, by plain requests."""

    digest = ""
    token = ""

    def ask(self, method: str, path: str, body: object = None, **params: str) -> httpx.Response:
        """Ask the Admin API."""
        self.token = self.token or self.impersonate()
        url = f"{path}?{httpx.QueryParams(params)}" if params else path
        sent = {} if body is None else {"json": body}
        return self.call(method, "run", url, self.token, **sent)

    def done(self, answer: httpx.Response) -> dict[str, Any]:
        """Return an operation once it is done."""
        operation: dict[str, Any] = answer.raise_for_status().json()
        while not operation.get("done"):
            waited = self.ask("POST", f"v2/{operation['name']}:wait", {"timeout": "5s"})
            operation = waited.raise_for_status().json()
        return operation

    def template(self, revision: str = "", **changes: Any) -> dict[str, Any]:
        """Return a template of the release."""
        probe = {"httpGet": {"path": "/readyz"}, "periodSeconds": 1, "failureThreshold": 20}
        container = {"image": f"{IMAGE}@{self.digest}", "startupProbe": probe, **changes}
        return {"containers": [container], **({"revision": revision} if revision else {})}

    def create(self, name: str, **fields: Any) -> dict[str, Any]:
        """Make a service."""
        body = {"template": self.template(), **fields}
        return self.done(self.ask("POST", SERVICES, body, serviceId=name))

    def patch(self, name: str, mask: str = "", **fields: Any) -> httpx.Response:
        """Change a service."""
        return self.ask("PATCH", f"{SERVICES}/{name}", fields, **({"updateMask": mask} if mask else {}))

    def get(self, name: str) -> dict[str, Any]:
        """Return a service."""
        found: dict[str, Any] = self.ask("GET", f"{SERVICES}/{name}").raise_for_status().json()
        return found

    def users(self, url: str, times: int = 1) -> Counter[str]:
        """Ask as the service account and count versions, or statuses."""
        account = url.rpartition("---")[2].rpartition("/")[2]
        audience = f"{str(self.http.base_url).rstrip('/')}/run.app/{account}"
        token = self.act("generateIdToken", self.federate(), audience=audience, includeEmail=True).json()[
            "token"
        ]
        headers = {"Authorization": f"Bearer {token}"}
        answers = [
            self.http.post(f"{url}/predict", json={"features": [1]}, headers=headers) for _ in range(times)
        ]
        return Counter(
            each.json()["model_version"] if each.is_success else str(each.status_code) for each in answers
        )


@pytest.fixture
async def digest(registry_url: str, tmp_path: Path) -> str:
    """Return the digest of an image that is published."""
    archive = Archive(tmp_path / "image.tar")
    archive.index(archive.add_manifest(b"run"))
    image = archive_reader.read(archive.write())
    async with connect(registry_url, IMAGE.partition("/")[2]) as place:
        await replace(place, say=lambda line: None).publish(image, "v1.0.0")
    return image.digest


@pytest.fixture
def run(fleet: Fleet, digest: str, start_google: Callable[..., str]) -> Iterator[Run]:
    """Yield a job, and start what it deploys; new keys take longer than all the rest."""
    setup = replace(usual_setup("the-request-token", control_key=KEY), tokens_per_key=10_000)
    base = start_google(setup)
    fleet.known[digest] = Model("v1.0.0")
    with Run(base, setup) as job, start_revisions(base, KEY, fleet.start_revision):
        job.digest = digest
        yield job
