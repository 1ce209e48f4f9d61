"""The Kubernetes driver on a real control plane, for the suites that every target's driver is held to."""

from __future__ import annotations

import hashlib
import json
import ssl
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import yaml

from deploying.rollout.target import Target
from deploying.targets.api_client import Api
from deploying.targets.kubernetes import Kubernetes, Settings, conflict
from deploying.targets.manifests import Manifests
from net.retry_policy import Retrying
from net.tokens import Token
from oci.reference import Image, Release
from tests.ci.deploying.targets.labs.fleet import Model
from tests.kubernetes.cluster.control_plane import SERVER, until
from tests.kubernetes.cluster.nodes import Cluster

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "deploy/kubernetes/service.yaml"
ROLE = ROOT / "deploy/kubernetes/deployer.yaml"
SERVICE = ROOT / "tests/host/swarm_service.py"
DEADLINE = 30  # seconds for a rollout to get on
_NAMESPACES = count(1)

Object = dict[str, Any]


def _with_deadline(manifests: Manifests) -> Manifests:
    """Return the manifests with a deadline that is long for these services, and short for a test."""
    manifests.objects["Deployment"]["spec"]["progressDeadlineSeconds"] = DEADLINE
    return manifests


@dataclass
class ClusterLab:
    """A namespace of its own, and in it a deployer with the role of deploy/kubernetes/deployer.yaml."""

    cluster: Cluster
    replicas: int = 2
    namespace: str = ""
    edited: Callable[[Manifests], Manifests] = _with_deadline

    def fresh(self) -> ClusterLab:
        """Return one with another namespace."""
        made = replace(self, namespace=f"lab-{next(_NAMESPACES)}")
        made.apply("/api/v1/namespaces", _namespace(made.namespace))
        role: Object = yaml.safe_load(ROLE.read_text())
        above = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{made.namespace}"
        made.apply(f"{above}/roles", role)
        made.apply(f"{above}/rolebindings", _binding(role))
        account = f"/api/v1/namespaces/{made.namespace}/serviceaccounts/default"
        with self.cluster.plane.client() as client:
            until(lambda: client.get(account).is_success, "the namespace has its account")
        return made

    def remove(self) -> None:
        """Delete the namespace with all that runs there."""
        with self.cluster.plane.client() as client:
            client.delete(f"/api/v1/namespaces/{self.namespace}")

    def apply(self, path: str, made: Object) -> Object:
        """Apply an object below a path as the cluster's administrator, and return it as it is then."""
        with self.cluster.plane.client() as client:
            answer = client.patch(
                f"{path}/{made['metadata']['name']}",
                params={"fieldManager": "administrator", "force": "true"},
                headers={"Content-Type": "application/apply-patch+yaml"},
                content=json.dumps(made),
            )
            assert answer.is_success, answer.text
            applied: Object = answer.json()
            return applied

    def target(self, client: Retrying) -> Target:
        """Return the driver, as the deployer."""

        async def mint() -> Token:
            return Token(self.cluster.plane.tokens["deployer"])

        manifests = self.edited(Manifests.of(MANIFESTS.read_text()))
        api = Api("Kubernetes", SERVER, client, mint, conflict)
        settings = Settings(SERVER, self.namespace, "milestone2", self.replicas)
        return Kubernetes(settings, manifests, api, pause=0.2)

    def transport(self) -> httpx.AsyncBaseTransport:
        """Return what carries requests to the API server."""
        context = ssl.create_default_context(cadata=self.cluster.plane.authority)
        return httpx.AsyncHTTPTransport(verify=context, trust_env=False)

    def is_change(self, request: httpx.Request) -> bool:
        """Return whether a request changes the cluster."""
        return request.method != "GET" and "/proxy/" not in request.url.path

    async def release(self, tag: str, model: Model | None = None) -> Release:
        """Return a release that the nodes can pull."""
        return self.published(tag, *_program(model or Model(tag)))

    def mend(self, release: Release) -> None:
        """Let a release start from now on."""
        self._rewrite(release, starts=True)

    def spoil(self, release: Release) -> None:
        """Let a release start no more."""
        self._rewrite(release, starts=False)

    def _rewrite(self, release: Release, **changes: object) -> None:
        path = self.cluster.images / f"{release.digest.partition(':')[2]}.json"
        model = json.loads(json.loads(path.read_text())["environment"]["MODEL"])
        _write(path, *_program(Model(**{**model, **changes})))

    def pods(self, selector: str) -> list[Object]:
        """Return the namespace's pods that a selector chooses and that are not being deleted."""
        with self.cluster.plane.client() as client:
            path = f"/api/v1/namespaces/{self.namespace}/pods"
            listed = client.get(path, params={"labelSelector": selector}).raise_for_status().json()["items"]
        return [pod for pod in listed if "deletionTimestamp" not in pod["metadata"]]

    def deployment(self, name: str) -> Object:
        """Return a Deployment of the namespace."""
        with self.cluster.plane.client() as client:
            path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{name}"
            found: Object = client.get(path).raise_for_status().json()
        return found

    def published(self, tag: str, command: list[str], environment: dict[str, str]) -> Release:
        """Return a release whose image runs a command."""
        digest = hashlib.sha256(f"{tag}{command}{environment}".encode()).hexdigest()
        _write(self.cluster.images / f"{digest}.json", command, environment)
        return Release(Image("registry.test", "models/milestone2", tag), f"sha256:{digest}")


def _program(model: Model) -> tuple[list[str], dict[str, str]]:
    return [sys.executable, str(SERVICE)], {"MODEL": json.dumps(asdict(model))}


def _write(path: Path, command: list[str], environment: dict[str, str]) -> None:
    path.write_text(json.dumps({"command": command, "environment": environment}))


def _namespace(name: str) -> Object:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _binding(role: Object) -> Object:
    name = role["metadata"]["name"]
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "deployer"}],
    }
