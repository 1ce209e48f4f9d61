"""Kubernetes: a Deployment that rolls from release to release, and another one for the candidate.

Objects are applied by the server (server-side apply), so that what others have set stays theirs. The journal
is an annotation of the Deployment, which is there with no replicas before the first release. The candidate
and every instance are asked through the API server's proxy: who deploys need not be in the cluster's network.
https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import anyio

from deploying.rollout.journal import FINGERPRINT, KEY, RELEASE, Journal
from deploying.rollout.request_counts import Numbers, of_metrics
from deploying.rollout.target import Address, Observed, Seen, Share
from deploying.targets.api_client import Api
from deploying.targets.manifests import NAME, Manifests, Object
from errors import NotStarted, TargetChanged
from oci.reference import Release

_MANAGER = "milestone2"
_PATHS = {
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Service": "/api/v1/namespaces/{}/services",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
}
_PAUSE = 1.0  # seconds between two looks at a rollout
_MARGIN = 30  # seconds until the API server says that a rollout's deadline has passed


@dataclass(frozen=True)
class Settings:
    """Where the service is, and how many instances it has; `authority` is a file with certificates."""

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
    splits: bool = False
    lag: float = 0

    @property
    def name(self) -> str:
        """What the target is called."""
        return f"Kubernetes {self.settings.namespace}/{self.settings.name}"

    @property
    def _candidate(self) -> str:
        return f"{self.settings.name}-candidate"

    def fingerprint(self, release: Release) -> str:
        """Return what stands for the release and the manifests."""
        return self.manifests.fingerprint(release, self.settings.replicas)

    async def look(self) -> Seen:
        """Return the Deployment as it is."""
        found = await self.api.find(self._path("Deployment", self.settings.name))
        if found is None:
            return Seen()
        spec, metadata = found["spec"], found["metadata"]
        marks = spec["template"]["metadata"].get("annotations", {})
        release = marks.get(RELEASE) or spec["template"]["spec"]["containers"][0]["image"]
        runs = bool(spec.get("replicas"))
        snapshot = {"replicas": spec.get("replicas"), "template": spec["template"]}
        journal = Journal.of(metadata.get("annotations", {}).get(KEY))
        return Seen(
            version=metadata["resourceVersion"],
            journal=journal,
            shares=(Share(release, marks.get(FINGERPRINT, ""), 100),) if runs else (),
            snapshot=json.dumps(snapshot, separators=(",", ":"), sort_keys=True) if runs else "",
            address=self._address(self.settings.name),
            candidate=await self._candidate_address(release if runs else "", journal),
            raw=found,
        )

    async def create(self, release: Release, journal: Journal) -> None:
        """Make the Deployment without replicas. Who is faster at this is told by the journal's lock."""
        if (await self.look()).version:
            raise TargetChanged(f"{self.name}: it is there by now")
        made = self.manifests.deployment(self.settings.name, release, 0)
        made["metadata"]["annotations"] = {KEY: journal.text()}
        await self._apply(made)

    async def record(self, seen: Seen, journal: Journal) -> None:
        """Write the annotation, as somebody else than who applies: what is not applied again would go."""
        marked = {"resourceVersion": seen.version, "annotations": {KEY: journal.text()}}
        await self._send(
            self._path("Deployment", self.settings.name),
            {"metadata": marked},
            kind="application/merge-patch+json",
            manager=f"{_MANAGER}-journal",
        )

    async def stage(self, seen: Seen, release: Release) -> None:
        """Start one instance beside the others."""
        await self._apply(self.manifests.called("Service", self._candidate))
        await self._apply(self.manifests.deployment(self._candidate, release, 1))
        await self._rolled_out(self._candidate)

    async def shift(self, seen: Seen, release: Release, snapshot: str, percent: int) -> None:
        """Roll the Deployment over to the release."""
        for kind in ("Service", "PodDisruptionBudget"):
            await self._apply(self.manifests.called(kind, self.settings.name))
        made = self.manifests.deployment(self.settings.name, release, self.settings.replicas)
        await self._apply(made, seen.version)
        await self._rolled_out(self.settings.name, _progress(seen.raw))

    async def tidy(self, seen: Seen, release: Release) -> None:
        """Remove the candidate."""
        await self._remove(self._candidate, "Service", "Deployment")

    async def restore(self, seen: Seen, snapshot: str) -> None:
        """Roll the Deployment back to what it was; what holds the journal goes last."""
        if snapshot:
            before = json.loads(snapshot)
            made = self.manifests.called("Deployment", self.settings.name)
            made["spec"] |= {"replicas": before["replicas"], "template": before["template"]}
            if not _holds(seen.raw["spec"], before):
                await self._apply(made, seen.version)
            await self._rolled_out(self.settings.name, _progress(seen.raw))
        await self._remove(self._candidate, "Service", "Deployment")
        if not snapshot:
            await self._remove(self.settings.name, "Service", "PodDisruptionBudget", "Deployment")

    async def observe(self, seen: Seen, since: datetime) -> Observed:
        """Return what every instance counts; the candidate's are those of what is being deployed."""
        names = f"{NAME} in ({self.settings.name},{self._candidate})"
        attempt = seen.journal.attempt
        found: dict[str, dict[str, Numbers]] = {"candidate": {}, "running": {}}
        for pod in await self._pods(names):
            if pod.get("status", {}).get("phase") != "Running":
                continue
            name, marks = pod["metadata"]["name"], pod["metadata"].get("annotations", {})
            role = "candidate" if attempt and marks.get(RELEASE) == attempt.release else "running"
            path = f"/api/v1/namespaces/{self.settings.namespace}/pods/{name}:8080/proxy/metrics"
            found[role][name] = of_metrics((await self.api.ask("GET", path)).text)
        return found

    async def _pods(self, selector: str) -> list[Object]:
        path = f"/api/v1/namespaces/{self.settings.namespace}/pods"
        listed: list[Object] = (await self.api.call("GET", path, params={"labelSelector": selector}))["items"]
        return listed

    async def _candidate_address(self, live: str, journal: Journal) -> Address | None:
        """Return where what is being deployed is asked: at the service itself once that runs it."""
        if journal.attempt and journal.attempt.release == live:
            return self._address(self.settings.name)
        there = await self.api.find(self._path("Service", self._candidate))
        return self._address(self._candidate) if there else None

    def _address(self, name: str) -> Address:
        path = f"/api/v1/namespaces/{self.settings.namespace}/services/{name}:http/proxy"

        async def headers() -> Mapping[str, str]:
            return {"Authorization": (await self.api.mint()).authorization()} if self.api.mint else {}

        return Address(f"{self.api.base}{path}", headers)

    def _path(self, kind: str, name: str) -> str:
        return f"{_PATHS[kind].format(self.settings.namespace)}/{name}"

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
            late = time.monotonic() - started > found["spec"].get("progressDeadlineSeconds", 600) + _MARGIN
            if late or _failed(found, before):
                raise NotStarted(f"{self.name}: {name} does not start: {await self._reason(name)}")
            await anyio.sleep(self.pause)

    async def _reason(self, name: str) -> str:
        """Return why instances wait or ended, as the cluster says it."""
        reasons = {
            f"{state.get('reason', 'waiting')}: {state.get('message', '')}".rstrip(": ")
            for pod in await self._pods(f"{NAME}={name}")
            for container in pod.get("status", {}).get("containerStatuses", [])
            for state in container.get("state", {}).values()
            if not container.get("ready")
        }
        return "; ".join(sorted(reasons)) or "its deadline has passed"


def _complete(deployment: Object) -> bool:
    status, replicas = deployment.get("status", {}), deployment["spec"]["replicas"]
    counts = [status.get(f"{kind}eplicas", 0) for kind in ("r", "updatedR", "availableR")]
    return (
        status.get("observedGeneration") == deployment["metadata"]["generation"] and counts == [replicas] * 3
    )


def _progress(deployment: Mapping[str, Any]) -> Mapping[str, Any] | None:
    conditions = deployment.get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == "Progressing"), None)


def _failed(deployment: Object, before: Mapping[str, Any] | None) -> bool:
    if deployment.get("status", {}).get("observedGeneration") != deployment["metadata"]["generation"]:
        return False
    progress = _progress(deployment)
    late = progress is not None and progress.get("reason") == "ProgressDeadlineExceeded"
    return late and progress != before


def _holds(spec: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    return all(spec.get(name) == before[name] for name in ("replicas", "template"))
