"""Kubernetes: a Deployment that rolls from release to release, and another one for the candidate.

The candidate gets its share of the traffic by its share of the pods that the Service sends requests to: it is
added to those that run, which stay as they are until the last step. Undoing a step removes the candidate.
Objects are applied by the server (server-side apply), so that what others have set stays theirs. The journal
is an annotation of the Deployment, which is there with no replicas before the first release. The candidate
and every instance get requests through the API server's proxy: an operator need not be in the cluster's
network.
https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import anyio
import httpx

from deploying.rollout.journal import FINGERPRINT, KEY, RELEASE, Journal
from deploying.rollout.request_counts import Numbers, of_metrics
from deploying.rollout.target import SHARES, WHOLE, Address, Observed, Seen, Share
from deploying.targets.api_client import Api
from deploying.targets.manifests import INSTANCE, NAME, Manifests, Object
from errors import NotStarted, TargetChanged, TargetError
from oci.reference import Release

_MANAGER = "milestone2"
_PATHS = {
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Service": "/api/v1/namespaces/{}/services",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
}
_PAUSE = 1.0  # seconds between two looks at a rollout


def conflict(answer: httpx.Response) -> bool:
    """Return whether the object was changed meanwhile; a field of another manager's stays another's."""
    return answer.status_code == httpx.codes.CONFLICT and "FieldManagerConflict" not in answer.text


@dataclass(frozen=True)
class Settings:
    """Place of the service, and its number of instances; `authority` is a file with certificates."""

    server: str
    namespace: str
    name: str
    replicas: int = 2
    authority: str = ""


@dataclass
class Kubernetes:
    """One service of a cluster."""

    settings: Settings
    manifests: Manifests
    api: Api
    pause: float = _PAUSE
    lag: float = 0
    margin: float = 30  # seconds until the API server says that a rollout's deadline has passed

    @property
    def name(self) -> str:
        """The target's name in messages."""
        return f"Kubernetes {self.settings.namespace}/{self.settings.name}"

    @property
    def _candidate(self) -> str:
        return f"{self.settings.name}-candidate"

    @property
    def _every_pod(self) -> str:
        """The selector of the pods of both Deployments."""
        return f"{NAME} in ({self.settings.name},{self._candidate})"

    def shares(self, snapshot: str) -> tuple[int, ...]:
        """Return the shares that whole pods come nearest to; one candidate is the least."""
        running = json.loads(snapshot)["replicas"]
        nearest = (_percent(_candidates(share, running), running) for share in SHARES[:-1])
        return (*dict.fromkeys(nearest), *WHOLE)

    def fingerprint(self, release: Release) -> str:
        """Return what stands for the release and the manifests."""
        return self.manifests.fingerprint(release, self.settings.replicas)

    async def look(self) -> Seen:
        """Return the Deployment as it is."""
        found = await self.api.find(self._path("Deployment", self.settings.name))
        if found is None:
            return Seen()
        candidate = await self.api.find(self._path("Deployment", self._candidate))
        spec, metadata = found["spec"], found["metadata"]
        release = _release(found)
        runs = bool(spec.get("replicas"))
        snapshot = {"replicas": spec.get("replicas"), "template": spec["template"]}
        journal = Journal.of(metadata.get("annotations", {}).get(KEY))
        return Seen(
            version=metadata["resourceVersion"],
            journal=journal,
            shares=self._shares(found, candidate) if runs else (),
            snapshot=json.dumps(snapshot, separators=(",", ":"), sort_keys=True) if runs else "",
            address=self._address(self.settings.name),
            candidate=self._candidate_address(release if runs else "", journal, candidate),
            raw=found,
        )

    async def create(self, release: Release, journal: Journal) -> None:
        """Create the Deployment without replicas; of two that do so, the journal's lock refuses one."""
        if (await self.look()).version:
            raise TargetChanged(f"{self.name}: it is there by now")
        made = self.manifests.deployment(self.settings.name, release, 0)
        made["metadata"]["annotations"] = {KEY: journal.text()}
        await self._apply(made)

    async def record(self, seen: Seen, journal: Journal) -> None:
        """Write the annotation as another field manager: otherwise the next apply would remove it."""
        marked = {"resourceVersion": seen.version, "annotations": {KEY: journal.text()}}
        await self._send(
            self._path("Deployment", self.settings.name),
            {"metadata": marked},
            kind="application/merge-patch+json",
            manager=f"{_MANAGER}-journal",
        )

    async def stage(self, seen: Seen, release: Release) -> None:
        """Start one instance beside the others, without traffic."""
        await self._apply(self.manifests.make("Service", self._candidate, INSTANCE))
        await self._start_candidates(release, 1, self._candidate)
        await self._wait_for_end(_may_still_answer)  # the last deployment's candidates

    async def shift(self, seen: Seen, release: Release, snapshot: str, percent: int) -> None:
        """Start as many candidates as make the share, in the end roll the Deployment over."""
        if percent < 100:
            running = json.loads(snapshot)["replicas"]
            return await self._start_candidates(release, _candidates(percent, running), self.settings.name)
        for kind in ("Service", "PodDisruptionBudget"):
            await self._apply(self.manifests.make(kind, self.settings.name))
        made = self.manifests.deployment(self.settings.name, release, self.settings.replicas)
        await self._apply(made, seen.version)
        await self._rolled_out(self.settings.name, _progress(seen.raw))
        await self._wait_for_end(_may_still_answer)

    async def tidy(self, seen: Seen, release: Release) -> None:
        """Remove the candidate."""
        await self._remove_candidate()

    async def restore(self, seen: Seen, snapshot: str) -> None:
        """Remove the candidate, and roll the Deployment back; what holds the journal goes last.

        Returns once no request can reach what was undone.
        """
        await self._remove_candidate()
        if snapshot:
            before = json.loads(snapshot)
            made = self.manifests.make("Deployment", self.settings.name)
            made["spec"] |= {"replicas": before["replicas"], "template": before["template"]}
            if not _holds(seen.raw["spec"], before):
                await self._apply(made, seen.version)
            await self._rolled_out(self.settings.name, _progress(seen.raw))
            await self._wait_for_end(_may_still_answer)
        else:
            await self._remove(self.settings.name, "Service", "PodDisruptionBudget", "Deployment")
            await self._wait_for_end(_has_passed_its_probe)

    async def observe(self, seen: Seen, since: datetime) -> Observed:
        """Return what every ready instance counts; the candidate's are those of what is being deployed."""
        attempt = seen.journal.attempt
        found: dict[str, dict[str, Numbers]] = {"candidate": {}, "running": {}}
        for pod in await self._pods(self._every_pod):
            if not _is_ready(pod):
                continue  # one that is ending may answer no more, and users are not sent there
            name, marks = pod["metadata"]["name"], pod["metadata"].get("annotations", {})
            role = "candidate" if attempt and marks.get(RELEASE) == attempt.release else "running"
            path = f"/api/v1/namespaces/{self.settings.namespace}/pods/{name}:8080/proxy/metrics"
            found[role][name] = of_metrics((await self.api.send("GET", path)).text)
        return found

    async def _pods(self, selector: str) -> list[Object]:
        path = f"/api/v1/namespaces/{self.settings.namespace}/pods"
        listed: list[Object] = (await self.api.call("GET", path, params={"labelSelector": selector}))["items"]
        return listed

    async def _start_candidates(self, release: Release, number: int, service: str) -> None:
        await self._apply(self.manifests.candidate(self._candidate, release, number, service))
        await self._rolled_out(self._candidate)

    def _shares(self, running: Object, candidate: Object | None) -> tuple[Share, ...]:
        """Return the shares of both Deployments in the pods that the service sends requests to."""
        labels = candidate["spec"]["template"]["metadata"]["labels"] if candidate else {}
        ready = 0
        if candidate and labels[NAME] == self.settings.name and _release(candidate) != _release(running):
            ready = candidate.get("status", {}).get("availableReplicas", 0)
        if not candidate or not ready:
            return (Share(_release(running), _fingerprint(running), 100),)
        part = _percent(ready, running["spec"]["replicas"])
        return (
            Share(_release(running), _fingerprint(running), 100 - part),
            Share(_release(candidate), _fingerprint(candidate), part),
        )

    def _candidate_address(self, live: str, journal: Journal, candidate: Object | None) -> Address | None:
        """Return the address of what is being deployed: the service's own once that runs it."""
        if journal.attempt and journal.attempt.release == live:
            return self._address(self.settings.name)
        return self._address(self._candidate) if candidate else None

    def _address(self, name: str) -> Address:
        path = f"/api/v1/namespaces/{self.settings.namespace}/services/{name}:http/proxy"

        async def headers() -> Mapping[str, str]:
            return {"Authorization": (await self.api.mint()).authorization()} if self.api.mint else {}

        return Address(f"{self.api.base}{path}", headers)

    def _path(self, kind: str, name: str) -> str:
        return f"{_PATHS[kind].format(self.settings.namespace)}/{name}"

    async def _remove_candidate(self) -> None:
        """Remove the candidate and wait until its pods are being deleted: garbage is collected later."""
        await self._remove(self._candidate, "Service", "Deployment")
        await self._wait_for_end(_is_kept, f"{INSTANCE}={self._candidate}")

    async def _wait_for_end(self, is_left: Callable[[Object], bool], selector: str = "") -> None:
        """Wait until none of the pods is left; raises TargetError after their grace period and the margin."""
        selector, started = selector or self._every_pod, time.monotonic()
        while left := [pod["metadata"] for pod in await self._pods(selector) if is_left(pod)]:
            time_given = max(each.get("deletionGracePeriodSeconds", 0) for each in left) + self.margin
            if time.monotonic() - started > time_given:
                names = ", ".join(sorted(each["name"] for each in left))
                raise TargetError(
                    f"{self.name}: {names}: still running {time_given:.0f} s after their deletion"
                )
            await anyio.sleep(self.pause)

    async def _remove(self, name: str, *kinds: str) -> None:
        for kind in kinds:
            await self.api.remove(self._path(kind, name))

    async def _apply(self, made: Object, version: str = "") -> None:
        """Apply an object; only as long as it is of a version when one is given."""
        metadata = {**made["metadata"], "namespace": self.settings.namespace}
        metadata |= {"resourceVersion": version} if version else {}
        path = self._path(made["kind"], metadata["name"])
        await self._send(
            path, {**made, "metadata": metadata}, kind="application/apply-patch+yaml", manager=_MANAGER
        )

    async def _send(self, path: str, body: Object, *, kind: str, manager: str) -> None:
        await self.api.call(
            "PATCH",
            path,
            params={"fieldManager": manager},
            content=json.dumps(body).encode(),
            headers={"Content-Type": kind},
        )

    async def _rolled_out(self, name: str, before: Mapping[str, Any] | None = None) -> None:
        """Wait until a Deployment's instances are new and available; raises NotStarted at its deadline.

        What was said before about its progress may still be there, and is about another rollout.
        """
        started = time.monotonic()
        while True:
            found = await self.api.call("GET", self._path("Deployment", name))
            if _complete(found):
                return
            deadline = found["spec"].get("progressDeadlineSeconds", 600) + self.margin
            late = time.monotonic() - started > deadline
            if late or _has_failed(found, before):
                raise NotStarted(f"{self.name}: {name} does not start: {await self._reason(name)}")
            await anyio.sleep(self.pause)

    async def _reason(self, name: str) -> str:
        """Return why instances are not there, wait or ended, as the cluster says it."""
        label = INSTANCE if name == self._candidate else NAME
        deployment = await self.api.call("GET", self._path("Deployment", name))
        objects = [deployment, *await self._pods(f"{label}={name}")]
        reasons = {_describe(condition) for each in objects for condition in _troubles(each)}
        reasons |= {
            _describe(state, kind)
            for pod in objects[1:]
            for container in pod.get("status", {}).get("containerStatuses", [])
            for kind, state in container.get("state", {}).items()
            if not container.get("ready")
        }
        return "; ".join(sorted(reasons)) or "its deadline has passed"


def _candidates(percent: int, running: int) -> int:
    """Return how many candidates beside the running pods come nearest to a share of all, one at least."""
    return min(range(1, running + 1), key=lambda number: abs(100 * number / (running + number) - percent))


def _percent(candidates: int, running: int) -> int:
    return round(100 * candidates / (running + candidates))


def _marks(deployment: Mapping[str, Any]) -> Mapping[str, str]:
    marks: Mapping[str, str] = deployment["spec"]["template"]["metadata"].get("annotations", {})
    return marks


def _release(deployment: Mapping[str, Any]) -> str:
    image: str = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    return _marks(deployment).get(RELEASE) or image


def _fingerprint(deployment: Mapping[str, Any]) -> str:
    return _marks(deployment).get(FINGERPRINT, "")


def _complete(deployment: Object) -> bool:
    status, replicas = deployment.get("status", {}), deployment["spec"]["replicas"]
    counts = [status.get(f"{kind}eplicas", 0) for kind in ("r", "updatedR", "availableR")]
    return (
        status.get("observedGeneration") == deployment["metadata"]["generation"] and counts == [replicas] * 3
    )


def _progress(deployment: Mapping[str, Any]) -> Mapping[str, Any] | None:
    conditions = deployment.get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == "Progressing"), None)


def _has_failed(deployment: Object, before: Mapping[str, Any] | None) -> bool:
    if deployment.get("status", {}).get("observedGeneration") != deployment["metadata"]["generation"]:
        return False
    progress = _progress(deployment)
    late = progress is not None and progress.get("reason") == "ProgressDeadlineExceeded"
    return late and progress != before


def _troubles(found: Object) -> list[Object]:
    """Return the conditions that keep a Deployment's pods from being made, or a pod from a node."""
    wrong = {"ReplicaFailure": "True", "PodScheduled": "False"}
    conditions = found.get("status", {}).get("conditions", [])
    return [each for each in conditions if wrong.get(each["type"]) == each["status"]]


def _describe(found: Mapping[str, Any], kind: str = "") -> str:
    """Return the reason and the message of a condition, or of a container's state of a kind."""
    if kind == "running":
        return "NotReady: it runs, but does not pass its startup or readiness probe"
    ended = f"exit status {found.get('exitCode')}" if kind == "terminated" else ""
    return f"{found.get('reason', 'Waiting')}: {found.get('message') or ended}".removesuffix(": ")


def _is_kept(pod: Object) -> bool:
    return "deletionTimestamp" not in pod["metadata"]


def _has_passed_its_probe(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)


def _is_ready(pod: Object) -> bool:
    return _is_kept(pod) and _has_passed_its_probe(pod)


def _may_still_answer(pod: Object) -> bool:
    """Return whether a pod is being deleted and serves, as all do while requests are still sent to it.

    A pod of a lost node stays in the list, but is not ready.
    https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination-flow
    """
    return not _is_kept(pod) and _has_passed_its_probe(pod)


def _holds(spec: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    return all(spec.get(name) == before[name] for name in ("replicas", "template"))
