"""The fake cloud on the neighbouring machine, for jobs and for calls by hand."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from fakecloud import addresses
from fakecloud.state.fixtures import CloudSetup, usual_setup, with_deployers
from tests.host.release.neighbour import ADDRESS, NAME

ROOT = Path(__file__).resolve().parents[3]
DIGEST = "Docker-Content-Digest"
# The fake cloud, listening on the neighbouring machine.
FAKE_CLOUD = """
import os, socket
from fakecloud.__main__ import main
from tests.host.release.neighbour import listen

socket.create_server = lambda address: listen(os.environ["NEIGHBOUR"], address[1])
main()
"""


@dataclass(frozen=True)
class Google:
    """The fake cloud for GitHub and Google, its state, and the real registry behind it."""

    base: str
    setup: CloudSetup
    registry: str

    @property
    def variables(self) -> dict[str, str]:
        """Return the repository's settings that the set-up prints."""
        return {
            "REGISTRY": self.setup.repository.uri,
            "WORKLOAD_IDENTITY_PROVIDER": self.setup.provider.resource,
            "SERVICE_ACCOUNT": self.setup.service_account,
            "STAGING": "staging",
            "STAGING_ACCOUNT": self.setup.deployers["staging"],
            "PRODUCTION": "production",
            "PRODUCTION_ACCOUNT": self.setup.deployers["production"],
        }

    @property
    def identity(self) -> dict[str, str]:
        """Return the environment by which a job of GitHub requests its identity."""
        return {
            "ACTIONS_ID_TOKEN_REQUEST_URL": addresses.request_url(self.base),
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": self.setup.request_token,
        }

    def start_run(self, tag: str, environment: str) -> None:
        """Let the job run for a tag in an environment of GitHub's from now on."""
        run = {"ref": f"refs/tags/{tag}", "environment": environment}
        headers = {"Authorization": f"Bearer {self.setup.control_key}"}
        url = f"{self.base}{addresses.CONTROL}/runs"
        httpx.post(url, json=run, headers=headers, trust_env=False).raise_for_status()

    def arguments(self, endpoints: Path, account: str = "") -> list[str]:
        """Return the pipeline's arguments for the identity: the releasing account, unless another is given.

        Writes the file of endpoints.
        """
        endpoints.write_text(addresses.endpoints(self.base, self.setup))
        given = {
            "workload-identity-provider": self.setup.provider.resource,
            "service-account": account or self.setup.service_account,
            "oidc-url": "env:ACTIONS_ID_TOKEN_REQUEST_URL",
            "oidc-token": "env:ACTIONS_ID_TOKEN_REQUEST_TOKEN",
            "google-endpoints": str(endpoints),
        }
        return [f"--{name}={value}" for name, value in given.items()]

    def digest(self, reference: str) -> str | None:
        """Return the digest of the released image, None when there is none."""
        place = f"{self.setup.repository.project}/{self.setup.repository.name}/milestone2"
        headers = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
        url = f"{self.registry}/v2/{place}/manifests/{reference}"
        found: str | None = httpx.head(url, headers=headers, trust_env=False).headers.get(DIGEST)
        return found


@contextmanager
def run_fake_cloud(registry: str, folder: Path, tag: str, *options: str) -> Iterator[Google]:
    """Run the fake cloud for a tag's job, with a registry behind it.

    The options are those of `python -m fakecloud`.
    """
    setup = with_deployers(usual_setup(secrets.token_urlsafe(), control_key=secrets.token_urlsafe()))
    (folder / "ticket").write_text(setup.request_token)
    (folder / "key").write_text(setup.control_key)
    words = ["-c", FAKE_CLOUD, "--host", ADDRESS, "--port", "0", "--registry-url", registry]
    words += ["--request-token-file", f"{folder}/ticket", "--control-key-file", f"{folder}/key"]
    process = subprocess.Popen(
        [sys.executable, *words, "--tag", tag, *options],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{ROOT / 'ci'}", "NEIGHBOUR": NAME},
        stdout=subprocess.PIPE,
        text=True,
    )
    with end_afterwards(process):
        assert process.stdout is not None
        yield Google(process.stdout.readline().rpartition(" ")[2].strip(), setup, registry)


@contextmanager
def end_afterwards(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """End a process with the block."""
    with process:
        try:
            yield process
        finally:
            process.terminate()
