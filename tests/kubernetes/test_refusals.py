"""What the API server refuses: each is an error that says why, and leaves what was live."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import pytest
import yaml

from deploying.rollout.journal import Attempt, Entry, Lock
from deploying.targets.manifests import Manifests
from errors import PipelineError, RolledBack, TargetError
from tests.ci.deploying.targets.labs.fleet import Model
from tests.ci.deploying.targets.labs.lab import worker
from tests.kubernetes.lab import ROLE, ClusterLab, Object

pytestmark = pytest.mark.anyio
RULES: list[Object] = yaml.safe_load(ROLE.read_text())["rules"]
RIGHTS = [(resource, verb) for rule in RULES for resource in rule["resources"] for verb in rule["verbs"]]
AT_ONCE = 4


def without(resource: str, verb: str) -> Object:
    """Return the role without one verb for one resource."""
    rules = [
        {
            **rule,
            "resources": [each],
            "verbs": [every for every in rule["verbs"] if (each, every) != (resource, verb)],
        }
        for rule in RULES
        for each in rule["resources"]
    ]
    return {**yaml.safe_load(ROLE.read_text()), "rules": rules}


async def test_every_right_of_the_role_is_needed_and_named_when_it_is_missing(lab: ClusterLab) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")
    bad = await lab.release("v0.9.0", Model("v0.9.0", offset=1))
    turns, silent = anyio.CapacityLimiter(AT_ONCE), []

    async def one(resource: str, verb: str) -> None:
        async with turns:
            place = await anyio.to_thread.run_sync(lab.fresh)
            role = without(resource, verb)
            place.apply(f"/apis/rbac.authorization.k8s.io/v1/namespaces/{place.namespace}/roles", role)
            said = []
            for release in (bad, first, second):
                try:
                    async with worker(place) as somebody:
                        await somebody.deploy(release, takeover=True)
                except PipelineError as error:
                    said.append(str(error))
            named = f'cannot {verb} resource "{resource}" in API group'
            if not any(named in each for each in said):
                silent.append((resource, verb, said))
            place.remove()

    async with anyio.create_task_group() as group:
        for right in RIGHTS:
            group.start_soon(one, *right)
    assert silent == []


async def test_a_quota_that_leaves_no_room_for_the_candidates_is_named(lab: ClusterLab) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")
    async with worker(lab) as somebody:
        await somebody.deploy(first)
        spec = {"hard": {"pods": "2"}}
        lab.apply(
            f"/api/v1/namespaces/{lab.namespace}/resourcequotas",
            {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": spec},
        )
        with pytest.raises(RolledBack, match="does not start: .*FailedCreate: .*exceeded quota: small"):
            await somebody.deploy(second)
        assert await somebody.users(10) == {"v1.0.0": 10}


async def test_pods_that_the_namespace_s_standard_forbids_are_named(lab: ClusterLab) -> None:
    def rooted(manifests: Manifests) -> Manifests:
        lax = lab.edited(manifests)
        del lax.objects["Deployment"]["spec"]["template"]["spec"]["securityContext"]
        return lax

    async with worker(replace(lab, edited=rooted)) as somebody:
        with pytest.raises(RolledBack, match='FailedCreate: .*violates PodSecurity "restricted:latest"'):
            await somebody.deploy(await lab.release("v1.0.0"))
        assert not (await somebody.target.look()).version


async def test_a_webhook_that_says_no_is_quoted(lab: ClusterLab) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")
    async with worker(lab) as somebody:
        await somebody.deploy(first)
        with (
            webhook(lab, "nothing is released on Fridays"),
            pytest.raises(
                RolledBack,
                match=r'admission webhook "no.example.com" denied the request: nothing is released on',
            ),
        ):
            await somebody.deploy(second)
        assert await somebody.users(10) == {"v1.0.0": 10}


@contextmanager
def webhook(lab: ClusterLab, reason: str) -> Iterator[None]:
    """Refuse to create Deployments in the namespace while the block runs."""

    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            response = {"uid": asked["request"]["uid"], "allowed": False, "status": {"message": reason}}
            content = json.dumps({**asked, "request": None, "response": response}).encode()
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
        lab.apply(path, _configuration(lab, server.server_port))
        yield
    finally:
        with lab.cluster.plane.client() as client:
            client.delete(f"{path}/refusing")
        server.shutdown()
        thread.join()
        server.server_close()


def _configuration(lab: ClusterLab, port: int) -> Object:
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


async def test_a_field_that_another_manager_has_set_is_named_and_stays(lab: ClusterLab) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")
    async with worker(lab) as somebody:
        await somebody.deploy(first)
        with lab.cluster.plane.client() as client:
            client.patch(
                f"/apis/apps/v1/namespaces/{lab.namespace}/deployments/milestone2",
                params={"fieldManager": "kubectl-scale"},
                headers={"Content-Type": "application/merge-patch+json"},
                content=json.dumps({"spec": {"replicas": 3}}),
            ).raise_for_status()
        with pytest.raises(
            RolledBack, match=r'conflict with "kubectl-scale" using apps/v1: \.spec\.replicas'
        ):
            await somebody.deploy(second)
        assert await somebody.users(10) == {"v1.0.0": 10}


async def test_a_journal_is_kept_to_what_annotations_may_have(lab: ClusterLab) -> None:
    async with worker(lab) as somebody:
        await somebody.deploy(await lab.release("v1.0.0"))
        seen = await somebody.target.look()
        entry = Entry(
            "registry.test/m:v0.1.0@sha256:0", "live", "2026-01-01T00:00:00+00:00", "", "x" * 50_000
        )
        long = replace(seen.journal, entries=(*seen.journal.entries, *[entry] * 9))
        await somebody.target.record(seen, long)
        assert len((await somebody.target.look()).journal.entries) == 4
        seen = await somebody.target.look()
        endless = replace(entry, snapshot="x" * 300_000)
        attempt = replace(long, entries=(), attempt=None)
        with pytest.raises(TargetError, match="metadata.annotations: Too long"):
            await somebody.target.record(seen, attempt.with_attempt(_endless(endless)))


def _endless(entry: Entry) -> Attempt:
    return Attempt("deploy", entry.release, "stage", entry.snapshot, Lock("somebody", "key", "", ""))
