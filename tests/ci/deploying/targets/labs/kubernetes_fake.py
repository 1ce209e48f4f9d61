"""A Kubernetes API server, as far as a deployment asks one, and the controllers behind it.

Every object is validated against Kubernetes' published schema. Controllers take one step whenever a
Deployment is looked at, so that rollouts take a while without a wait.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from typing import Any

import httpx
import kubernetes_validate

from tests.ci.deploying.targets.labs.fleet import Fleet

VERSION = "1.33"
TOKEN = "the-cluster-s-token"
Object = dict[str, Any]
_OBJECT = re.compile(
    r"/(?:api|apis/[a-z.]+)/v1/namespaces/(?P<namespace>[a-z0-9-]+)/(?P<kind>[a-z]+)(?:/(?P<name>[a-z0-9-]+))?"
)
_PROXY = re.compile(
    r"/api/v1/namespaces/[a-z0-9-]+/(?P<kind>pods|services)/(?P<name>[a-z0-9-]+):[a-z0-9]+/proxy(?P<path>/.*)"
)
_NAMED = {"deployments": "deployments.apps", "services": "services"}
_NAMED |= {"poddisruptionbudgets": "poddisruptionbudgets.policy"}
_ANNOTATIONS = 256 * 1024  # bytes, of all of an object's
LISTED = 3  # times that a pod that ends is still listed; it answers until the last but one
_PODS = count(1)  # of all clusters, as they share a fleet
_CRASHES = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}}
_SELECTOR = re.compile(r"(?P<label>[a-z./]+)(?:=(?P<one>[a-z0-9-]+)| in \((?P<many>[a-z0-9,-]+)\))")


class Refused(Exception):
    """Refusal of the API server; `cause` says more than the reason."""

    def __init__(self, code: int, reason: str, message: str, cause: str = "") -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.cause = code, reason, message, cause


@dataclass
class Cluster:
    """One namespace's objects, who has set which field, and the pods."""

    fleet: Fleet
    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    owners: dict[tuple[str, str], dict[str, dict[str, str]]] = field(default_factory=dict)
    pods: dict[str, Object] = field(default_factory=dict)
    ending: dict[str, Object] = field(default_factory=dict)
    counter: int = 0
    turns: int = 0
    token: str = TOKEN
    stuck: bool = False  # no controller does anything
    unready: Object = field(default_factory=lambda: _CRASHES)  # state of a container that does not start
    restart: list[str] = field(default_factory=list)  # a state for each of the next requests

    async def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        state = self.restart.pop(0) if self.restart else "ready"
        if state == "stopped":
            raise httpx.ConnectError("All connection attempts failed")
        try:
            if state == "starting":  # the roles are not read yet
                raise Refused(403, "Forbidden", f'User "deployer" cannot get path "{request.url.path}"')
            if request.headers.get("Authorization") != f"Bearer {self.token}":
                raise Refused(401, "Unauthorized", "Unauthorized")
            if request.url.path == "/readyz":
                return httpx.Response(200, text="ok")
            if proxied := _PROXY.fullmatch(request.url.path):
                return await self._pass_on(request, proxied)
            found = _OBJECT.fullmatch(request.url.path)
            assert found, request.url.path
            content = await self._object(request, found["kind"], found["name"])
            return httpx.Response(201 if content.pop("_created", False) else 200, json=content)
        except Refused as refused:
            status: Object = {"kind": "Status", "status": "Failure", "message": refused.message}
            causes = [{"reason": refused.cause, "message": refused.message}] if refused.cause else []
            status |= {"reason": refused.reason, "code": refused.code, "details": {"causes": causes}}
            return httpx.Response(refused.code, json=status)

    async def _object(self, request: httpx.Request, kind: str, name: str | None) -> Object:
        if kind == "pods":
            listed = self._select(request.url.params["labelSelector"])
            self._sweep()  # the real one's collector of garbage is late, too
            return {"kind": "PodList", "items": listed}
        assert name
        if request.method == "DELETE":
            self._there(kind, name)
            del self.objects[kind, name], self.owners[kind, name]
            return {"kind": "Status", "status": "Success"}
        if request.method == "PATCH":
            return self._patch(request, kind, name)
        found = self._there(kind, name)
        if kind == "deployments" and not self.stuck:
            self._control(name, found)
        return deepcopy(found)

    def _there(self, kind: str, name: str) -> Object:
        if (kind, name) not in self.objects:
            raise Refused(404, "NotFound", f'{_NAMED[kind]} "{name}" not found')
        return self.objects[kind, name]

    def _patch(self, request: httpx.Request, kind: str, name: str) -> Object:
        manager, patch = request.url.params.get("fieldManager"), json.loads(request.content)
        version = patch["metadata"].pop("resourceVersion", None)
        there = self.objects.get((kind, name))
        if version and (there is None or there["metadata"]["resourceVersion"] != version):
            changed = (
                "the object has been modified; please apply your changes to the latest version and try again"
            )
            message = f'Operation cannot be fulfilled on {_NAMED[kind]} "{name}": {changed}'
            raise Refused(409 if there else 404, "Conflict" if there else "NotFound", message)
        if request.headers["Content-Type"] == "application/apply-patch+yaml":
            if not manager:
                raise Refused(400, "BadRequest", "fieldManager is required for apply patch")
            return self._apply(kind, name, patch, manager)
        assert request.headers["Content-Type"] == "application/merge-patch+json"
        self._there(kind, name)
        return self._merge(kind, name, patch, manager or "unknown")

    def _apply(self, kind: str, name: str, patch: Object, manager: str) -> Object:
        """Apply as the server does: refuse what is another manager's, and remove what is applied no more."""
        owners = self.owners.setdefault((kind, name), {})
        wanted, there = _leaves(patch), _leaves(self.objects.get((kind, name), {}))
        conflicts = [
            (f'"{other}" using {patch["apiVersion"]}:', path.replace("\0", "."))
            for path, value in wanted.items()
            for other, owned in owners.items()
            if other != manager and path in owned and there.get(path) != value
        ]
        if conflicts:
            raise Refused(409, "Conflict", _describe_conflicts(conflicts), "FieldManagerConflict")
        gone = set(owners.get(manager, {})) - set(wanted)
        kept = {path: value for path, value in there.items() if path not in gone}
        owners[manager] = wanted
        return self._store(kind, name, _tree({**kept, **wanted}))

    def _merge(self, kind: str, name: str, patch: Object, manager: str) -> Object:
        changed, there = _leaves(patch), _leaves(self.objects[kind, name])
        for owned in self.owners[kind, name].values():
            for path in changed:
                owned.pop(path, None)
        self.owners[kind, name].setdefault(manager, {}).update(changed)
        return self._store(kind, name, _tree({**there, **changed}))

    def _store(self, kind: str, name: str, made: Object) -> Object:
        if len(json.dumps(made["metadata"].get("annotations", {}))) > _ANNOTATIONS:
            message = (
                f'Deployment.apps "{name}" is invalid: metadata.annotations: Too long: may not be more than'
            )
            raise Refused(422, "Invalid", f"{message} {_ANNOTATIONS} bytes")
        before = self.objects.get((kind, name))
        status = made.pop("status", None)
        _validate(json.dumps({**made, "metadata": _own_metadata(made["metadata"])}))
        if (
            before
            and before["spec"].get("selector") != made["spec"].get("selector")
            and kind == "deployments"
        ):
            message = f'Deployment.apps "{name}" is invalid: spec.selector: Invalid value: field is immutable'
            raise Refused(422, "Invalid", message)
        generation = before["metadata"]["generation"] if before else 0
        changed = before is None or before["spec"] != made["spec"]
        made["metadata"]["generation"] = generation + changed
        unchanged = before is not None and _without_status(before) == made
        self.objects[kind, name] = made
        if status is not None:
            made["status"] = status
        if not unchanged:
            self._touch(made)
        return {**deepcopy(made), "_created": before is None}

    def _touch(self, changed: Object) -> None:
        self.counter += 1
        changed["metadata"]["resourceVersion"] = str(self.counter)

    def _control(self, name: str, deployment: Object) -> None:
        """Take one step towards what a Deployment shall be: see it, start its pods, remove the old ones."""
        status, generation = deployment.setdefault("status", {}), deployment["metadata"]["generation"]
        if status.get("observedGeneration") != generation:
            deployment["status"] = {**status, "observedGeneration": generation, "updatedReplicas": 0}
            return self._touch(deployment)
        replicas, template = deployment["spec"]["replicas"], deployment["spec"]["template"]
        new = [pod for pod in self._of(name) if pod["template"] == template]
        if len(new) < replicas:
            new.append(self._pod(name, template))
        ready = [pod for pod in new if pod["ready"]]
        if len(ready) == replicas or not replicas:
            for pod in self._of(name):
                if pod["template"] != template or not replicas:
                    self._end(pod["metadata"]["name"])
        before = dict(status)
        status |= {
            "replicas": len(self._of(name)),
            "updatedReplicas": len(new),
            "availableReplicas": len(ready),
        }
        stuck = any(not pod["ready"] for pod in new)
        reason = "ProgressDeadlineExceeded" if stuck else "NewReplicaSetAvailable"
        said = {
            "type": "Progressing",
            "status": str(not stuck),
            "reason": reason,
            "lastUpdateTime": generation,
        }
        status["conditions"] = [said]
        if status != before:
            self._touch(deployment)

    def _pod(self, name: str, template: Object) -> Object:
        pod_name, container = f"{name}-{next(_PODS)}", template["spec"]["containers"][0]
        variables = {each["name"]: each["value"] for each in container["env"]}
        started = self.fleet.start(pod_name, container["image"].partition("@")[2], variables)
        state = {"running": {}} if started else self.unready
        status = {"phase": "Running", "containerStatuses": [{"ready": bool(started), "state": state}]}
        status["conditions"] = [{"type": "Ready", "status": str(bool(started))}]
        metadata = {**deepcopy(template["metadata"]), "name": pod_name}
        pod = {"metadata": metadata, "status": status, "ready": bool(started), "template": deepcopy(template)}
        pod |= {"owner": name, "listed": 0}
        self.pods[pod_name] = pod
        return pod

    def _of(self, name: str) -> list[Object]:
        return [pod for pod in self.pods.values() if pod["owner"] == name]

    def _sweep(self) -> None:
        """Remove the pods of what is there no more."""
        for name, pod in list(self.pods.items()):
            if ("deployments", pod["owner"]) not in self.objects:
                self._end(name)

    def _end(self, name: str) -> None:
        """Let a pod end: it answers for a while, and has not left the EndpointSlice yet."""
        pod = self.pods.pop(name)
        pod["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 40}
        self.ending[name] = pod

    def _select(self, selector: str) -> list[Object]:
        wanted = _SELECTOR.fullmatch(selector)
        assert wanted, selector
        values = (wanted["one"] or wanted["many"]).split(",")
        listed = [*self.pods.values(), *self.ending.values()]
        found = [pod for pod in listed if pod["metadata"]["labels"].get(wanted["label"]) in values]
        for pod in found:
            pod["listed"] += "deletionTimestamp" in pod["metadata"]
        self.ending = {name: pod for name, pod in self.ending.items() if pod["listed"] < LISTED}
        return [{key: pod[key] for key in ("metadata", "status")} for pod in found]

    async def _pass_on(self, request: httpx.Request, to: re.Match[str]) -> httpx.Response:
        name = to["name"]
        ending = {each: pod for each, pod in self.ending.items() if pod["listed"] < LISTED - 1}
        serving = {**self.pods, **ending}
        if to["kind"] == "services":
            selector = self._there("services", name)["spec"]["selector"].items()
            chosen = [pod for pod in serving.values() if selector <= pod["metadata"]["labels"].items()]
            ready = [pod["metadata"]["name"] for pod in chosen if pod["ready"]]
            if not ready:
                raise Refused(503, "ServiceUnavailable", f'no endpoints available for service "{name}"')
            self.turns += 1
            name = ready[self.turns % len(ready)]
        if name not in serving:
            raise Refused(503, "ServiceUnavailable", "error trying to reach service: connection refused")
        return await self.fleet.send(request, name, to["path"])


def _describe_conflicts(conflicts: list[tuple[str, str]]) -> str:
    """Return the message for conflicts with managers on fields.

    https://github.com/kubernetes/kubernetes/blob/v1.37.2/staging/src/k8s.io/apimachinery/pkg/util/managedfields/internal/conflict.go
    """
    if len(conflicts) == 1:
        return f"Apply failed with 1 conflict: conflict with {' '.join(conflicts[0])}"
    lines = [
        line
        for manager in sorted({manager for manager, _ in conflicts})
        for line in (f"conflicts with {manager}", *(f"- {path}" for one, path in conflicts if one == manager))
    ]
    return "\n".join([f"Apply failed with {len(conflicts)} conflicts: {lines[0]}", *lines[1:]])


@cache
def _validate(text: str) -> None:
    kubernetes_validate.validate(json.loads(text), VERSION, strict=True)


def _own_metadata(metadata: Object) -> Object:
    """Return what is not the server's own, nor the journal, which changes all the time."""
    given = {name: value for name, value in metadata.items() if name not in ("generation", "resourceVersion")}
    return {**given, "annotations": dict.fromkeys(metadata.get("annotations", {}), "a text")}


def _without_status(found: Object) -> Object:
    return {name: value for name, value in found.items() if name != "status"}


def _leaves(tree: Object, path: str = "") -> dict[str, Any]:
    """Return what is set, by its path; lists are taken as a whole."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        here = f"{path}\0{name}"
        found |= _leaves(value, here) if isinstance(value, dict) and value else {here: value}
    return found


def _tree(leaves: Mapping[str, Any]) -> Object:
    tree: Object = {}
    for path, value in leaves.items():
        *above, name = path.split("\0")[1:]
        place = tree
        for part in above:
            place = place.setdefault(part, {})
        place[name] = deepcopy(value)
    return tree
