"""Refusals of the API server: each error says why, and the live release stays."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import pytest
import yaml

from deploying.rollout.journal import Attempt, Entry, Journal, Lock
from deploying.rollout.target import Target
from deploying.targets.manifests import Manifests
from errors import PipelineError, RolledBack, TargetChanged, TargetError
from tests.ci.deploying.targets.labs.fleet import Model
from tests.ci.deploying.targets.labs.lab import worker
from tests.kubernetes.lab import ROLE, ClusterLab, Object

pytestmark = pytest.mark.anyio
RULES: list[Object] = yaml.safe_load(ROLE.read_text())["rules"]
RIGHTS = [(resource, verb) for rule in RULES for resource in rule["resources"] for verb in rule["verbs"]]
AT_ONCE = 4


def remove_verb(resource: str, verb: str) -> Object:
    """Return the role without one verb for one resource; the API server takes no rule without verbs."""
    rules = [
        {**rule, "resources": [each], "verbs": verbs}
        for rule in RULES
        for each in rule["resources"]
        if (verbs := [every for every in rule["verbs"] if (each, every) != (resource, verb)])
    ]
    return {**yaml.safe_load(ROLE.read_text()), "rules": rules}


async def test_every_verb_of_the_role_is_required_and_named_when_it_is_missing(lab: ClusterLab) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")
    bad = await lab.release("v0.9.0", Model("v0.9.0", offset=1))
    limiter, unnamed = anyio.CapacityLimiter(AT_ONCE), []

    async def deploy_without(resource: str, verb: str) -> None:
        async with limiter:
            place = await anyio.to_thread.run_sync(lab.fresh)
            role = remove_verb(resource, verb)
            place.apply(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{place.namespace}/roles", role)
            errors = []
            for release in (bad, first, second):
                try:
                    async with worker(place) as deployer:
                        await deployer.deploy(release, takeover=True)
                except PipelineError as error:
                    errors.append(str(error))
            message = f'cannot {verb} resource "{resource}" in API group'
            if not any(message in each for each in errors):
                unnamed.append((resource, verb, errors))
            place.remove()

    async with anyio.create_task_group() as group:
        for right in RIGHTS:
            group.start_soon(deploy_without, *right)
    assert unnamed == []


async def test_a_quota_without_room_for_the_candidates_is_named(lab: ClusterLab) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")
    async with worker(lab) as deployer:
        await deployer.deploy(first)
        spec = {"hard": {"pods": "2"}}
        lab.apply(
            f"/api/v1/namespaces/{lab.namespace}/resourcequotas",
            {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": spec},
        )
        with pytest.raises(RolledBack, match="does not start: .*FailedCreate: .*exceeded quota: small"):
            await deployer.deploy(second)
        assert await deployer.users(10) == {"v1.0.0": 10}


async def test_a_pod_security_standard_that_forbids_the_pods_is_named(lab: ClusterLab) -> None:
    def run_as_root(manifests: Manifests) -> Manifests:
        lax = lab.edit(manifests)
        del lax.objects["Deployment"]["spec"]["template"]["spec"]["securityContext"]
        return lax

    async with worker(replace(lab, edit=run_as_root)) as deployer:
        with pytest.raises(RolledBack, match='FailedCreate: .*violates PodSecurity "restricted:latest"'):
            await deployer.deploy(await lab.release("v1.0.0"))
        assert not (await deployer.target.look()).version


async def test_the_reason_of_a_webhook_that_refuses_is_quoted(lab: ClusterLab) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")
    async with worker(lab) as deployer:
        await deployer.deploy(first)
        with (
            run_webhook(lab, "nothing is released on Fridays"),
            pytest.raises(
                RolledBack,
                match=r'admission webhook "no.example.com" denied the request: nothing is released on',
            ),
        ):
            await deployer.deploy(second)
        assert await deployer.users(10) == {"v1.0.0": 10}


@contextmanager
def run_webhook(lab: ClusterLab, reason: str) -> Iterator[None]:
    """Refuse to create Deployments in the namespace while the block runs."""

    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            response = {"uid": review["request"]["uid"], "allowed": False, "status": {"message": reason}}
            content = json.dumps({**review, "request": None, "response": response}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    folder = lab.cluster.plane.folder
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "apiserver.crt", folder / "apiserver.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    try:
        lab.apply(path, _make_configuration(lab, server.server_port))
        yield
    finally:
        with lab.cluster.plane.open_client() as client:
            client.delete(f"{path}/refusing")
        server.shutdown()
        thread.join()
        server.server_close()


def _make_configuration(lab: ClusterLab, port: int) -> Object:
    rule = {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "resources": ["deployments"],
        "operations": ["CREATE"],
    }
    authority = base64.b64encode(lab.cluster.plane.authority.encode()).decode()
    hook = {
        "name": "no.example.com",
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": lab.namespace}},
        "clientConfig": {"url": f"https://127.0.0.1:{port}/", "caBundle": authority},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "refusing"},
        "webhooks": [hook],
    }


@pytest.mark.parametrize(
    ("manager", "resource", "through"),
    [("kubectl-edit", "", ""), ("autoscaler", "/scale", ' with subresource "scale"')],
)
async def test_a_field_of_another_manager_is_named_and_stays(
    lab: ClusterLab, manager: str, resource: str, through: str
) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")
    async with worker(lab) as deployer:
        await deployer.deploy(first)
        with lab.cluster.plane.open_client() as client:
            client.patch(
                f"/apis/apps/v1/namespaces/{lab.namespace}/deployments/milestone2{resource}",
                params={"fieldManager": manager},
                headers={"Content-Type": "application/merge-patch+json"},
                content=json.dumps({"spec": {"replicas": 3}}),
            ).raise_for_status()
        conflict = rf'conflict with "{manager}"{through} using \S+: \.spec\.replicas'
        with pytest.raises(RolledBack, match=conflict):
            await deployer.deploy(second)
        assert await deployer.users(10) == {"v1.0.0": 10}
    assert lab.deployment("milestone2")["spec"]["replicas"] == 3


async def record(target: Target, edit: Callable[[Journal], Journal]) -> None:
    """Record an edited journal, again while the controllers change the status in between."""
    for _ in range(20):
        seen = await target.look()
        with suppress(TargetChanged):
            return await target.record(seen, edit(seen.journal))
    raise AssertionError("the Deployment changes all the time")


async def test_a_journal_fits_into_the_limit_of_annotations(lab: ClusterLab) -> None:
    def lengthen(journal: Journal) -> Journal:
        return replace(journal, entries=(*journal.entries, *[entry] * 9))

    def make_oversized(journal: Journal) -> Journal:
        lock = Lock("tester", "key", "", "")
        attempt = Attempt("deploy", entry.release, "stage", "x" * 300_000, lock)
        return replace(journal, entries=()).with_attempt(attempt)

    name, time = "registry.test/m:v0.1.0@sha256:0", "2026-01-01T00:00:00+00:00"
    entry = Entry(name, "live", time, "", "x" * 50_000)
    async with worker(lab) as deployer:
        await deployer.deploy(await lab.release("v1.0.0"))
        await record(deployer.target, lengthen)
        assert len((await deployer.target.look()).journal.entries) == 4
        with pytest.raises(TargetError, match="metadata.annotations: Too long"):
            await record(deployer.target, make_oversized)
