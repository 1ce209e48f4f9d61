"""A node that runs pods as processes: `python -m tests.kubernetes.cluster.kubelet NODE FOLDER`.

Implements what the control plane and a rollout see of a kubelet: the node's heartbeat, failed pulls, starts
and restarts with a back-off, startup, readiness and liveness probes, status, preStop and graceful ends.
https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

import json
import os
import ssl
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import anyio
import httpx

from tests.kubernetes.cluster.pod_process import Object, PodProcess, PullFailed, read_image

_LOOK = 0.3  # seconds between two looks at the node's pods
_HEARTBEAT = 1.0
_SYNC = 1.0  # seconds from a failure to the next look at its pod
_FIRST_BACK_OFF, _LONGEST_BACK_OFF = 10.0, 300.0
_MERGE = {"Content-Type": "application/merge-patch+json"}


@dataclass
class Container:
    """State of a pod's container, as in the pod's status."""

    state: Object = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    ready: bool = False
    started: bool = False
    restarts: int = 0
    address: str = ""


@dataclass
class Kubelet:
    """One node and its pods."""

    node: str
    http: httpx.AsyncClient
    images: Path
    addresses: Iterator[str]
    pods: dict[str, Object] = field(default_factory=dict)  # of the node by uid, as of the last look
    started: set[str] = field(default_factory=set)

    async def run(self) -> None:
        """Register the node, then run all pods that are scheduled to it."""
        async with anyio.create_task_group() as group:
            await self._register()
            group.start_soon(self._beat)
            while True:
                await self._look()
                for uid in set(self.pods) - self.started:
                    self.started.add(uid)
                    group.start_soon(self._run_pod, self.pods[uid])
                await anyio.sleep(_LOOK)

    async def _register(self) -> None:
        capacity = {"cpu": "64", "memory": "64Gi", "pods": "500"}
        labels = {"kubernetes.io/hostname": self.node}
        node = {"metadata": {"name": self.node, "labels": labels}, "status": {"capacity": capacity}}
        await self._repeat("POST", "/api/v1/nodes", json=node)

    async def _beat(self) -> None:
        while True:
            now = _format_now()
            ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready"}
            status = {"conditions": [{**ready, "lastHeartbeatTime": now}]}
            await self._send(
                "PATCH",
                f"/api/v1/nodes/{self.node}/status",
                content=json.dumps({"status": status}),
                headers=_MERGE,
            )
            await anyio.sleep(_HEARTBEAT)

    async def _look(self) -> None:
        params = {"fieldSelector": f"spec.nodeName={self.node}", "resourceVersion": "0"}
        response = await self._send("GET", "/api/v1/pods", params=params)
        if response is not None and response.is_success:
            self.pods = {pod["metadata"]["uid"]: pod for pod in response.json()["items"]}

    async def _run_pod(self, pod: Object) -> None:
        """Run a pod until it is deleted."""
        container = Container(address=next(self.addresses))
        async with anyio.create_task_group() as group:
            group.start_soon(self._keep_running, pod, container)
            deleted = await self._until_deleted(pod)
            await self._stop(deleted, container, group.cancel_scope)

    async def _stop(self, pod: Object, container: Container, keeping: anyio.CancelScope) -> None:
        sleep = pod["spec"]["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {})
        grace = pod["metadata"].get("deletionGracePeriodSeconds", 30)
        if container.started:
            await anyio.sleep(min(sleep.get("seconds", 0), grace))
        keeping.cancel()

    async def _until_deleted(self, pod: Object) -> Object:
        uid = pod["metadata"]["uid"]
        while uid in self.pods and "deletionTimestamp" not in self.pods[uid]["metadata"]:
            await anyio.sleep(_LOOK)
        return self.pods.get(uid, pod)

    async def _keep_running(self, pod: Object, container: Container) -> None:
        """Start the container again and again, the first time at once, then with longer and longer pauses."""
        back_off, process = 0.0, None
        try:
            while True:
                try:
                    process = await PodProcess.start(
                        pod, read_image(self.images, _get_image(pod)), container.address
                    )
                    await self._watch(pod, container, process)
                    ended = {"terminated": {"reason": "Error", "exitCode": process.process.returncode}}
                    await self._report_end(pod, container, ended)
                    container.restarts += 1
                    waiting = _wait_after_crashes(pod, back_off)
                except PullFailed as error:
                    await self._report_end(pod, container, _wait("ErrImagePull", str(error)))
                    back_off = max(back_off, _FIRST_BACK_OFF)
                    name = _get_image(pod)
                    waiting = _wait("ImagePullBackOff", f'Back-off pulling image "{name}": {error}')
                if back_off:
                    await anyio.sleep(_SYNC)
                    await self._report_end(pod, container, waiting)
                    await anyio.sleep(back_off)
                back_off = min(max(back_off * 2, _FIRST_BACK_OFF), _LONGEST_BACK_OFF)
        finally:
            with anyio.CancelScope(shield=True):
                if process:
                    await process.stop(pod["spec"].get("terminationGracePeriodSeconds", 30))
                own = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
                await self._repeat("DELETE", _make_path(pod), json=own)

    async def _report_end(self, pod: Object, container: Container, state: Object) -> None:
        container.ready = container.started = False
        container.state = state
        await self._report(pod, container)

    async def _watch(self, pod: Object, container: Container, process: PodProcess) -> None:
        """Probe a process until it ends or fails its probes; report each change."""
        probes = pod["spec"]["containers"][0]
        container.state = {"running": {"startedAt": _format_now()}}
        await self._report(pod, container)
        startup, failures = probes.get("startupProbe", probes["readinessProbe"]), 0
        while not await process.succeeds(startup):
            failures += 1
            if process.has_ended():
                return
            if failures >= startup.get("failureThreshold", 3):
                return await process.stop(pod["spec"].get("terminationGracePeriodSeconds", 30))
            await anyio.sleep(startup.get("periodSeconds", 10))
        container.started = True
        async with anyio.create_task_group() as group:
            group.start_soon(self._probe_liveness, pod, process, probes["livenessProbe"])
            group.start_soon(self._probe_readiness, pod, container, process, probes["readinessProbe"])
            while not process.has_ended():
                await anyio.sleep(_LOOK)
            group.cancel_scope.cancel()

    async def _probe_liveness(self, pod: Object, process: PodProcess, probe: Object) -> None:
        failures = 0
        while failures < probe.get("failureThreshold", 3):
            await anyio.sleep(probe.get("periodSeconds", 10))
            failures = 0 if await process.succeeds(probe) else failures + 1
        await process.stop(pod["spec"].get("terminationGracePeriodSeconds", 30))

    async def _probe_readiness(
        self, pod: Object, container: Container, process: PodProcess, probe: Object
    ) -> None:
        failures = 0
        while True:
            failures = 0 if await process.succeeds(probe) else failures + 1
            ready = failures == 0 or (container.ready and failures < probe.get("failureThreshold", 3))
            if ready != container.ready:
                container.ready = ready
                await self._report(pod, container)
            await anyio.sleep(probe.get("periodSeconds", 10))

    async def _report(self, pod: Object, container: Container) -> None:
        """Write the pod's status, if it is still the same pod."""
        body = json.dumps(
            {"metadata": {"uid": pod["metadata"]["uid"]}, "status": _make_status(pod, container)}
        )
        await self._repeat("PATCH", f"{_make_path(pod)}/status", content=body, headers=_MERGE)

    async def _repeat(self, method: str, path: str, **content: object) -> None:
        """Send a change until the API server accepts it, or responds that the pod is gone."""
        gone = (httpx.codes.NOT_FOUND, httpx.codes.CONFLICT)
        while True:
            response = await self._send(method, path, **content)
            if response is not None and (response.is_success or response.status_code in gone):
                return
            await anyio.sleep(_LOOK)

    async def _send(self, method: str, path: str, **content: object) -> httpx.Response | None:
        """Return the API server's response, None while it cannot be reached."""
        try:
            return await self.http.request(method, path, **content)  # type: ignore[arg-type]
        except httpx.TransportError:
            await anyio.sleep(_LOOK)
            return None


def _make_status(pod: Object, container: Container) -> Object:
    conditions = {
        "PodScheduled": True,
        "PodReadyToStartContainers": True,
        "Initialized": True,
        "ContainersReady": container.ready,
        "Ready": container.ready,
    }
    now = _format_now()
    running = "running" in container.state or container.restarts > 0
    return {
        "phase": "Running" if running else "Pending",
        "conditions": [
            {"type": name, "status": str(value), "lastTransitionTime": now}
            for name, value in conditions.items()
        ],
        "podIP": container.address,
        "podIPs": [{"ip": container.address}],
        "startTime": now,
        "containerStatuses": [
            {
                "name": pod["spec"]["containers"][0]["name"],
                "image": _get_image(pod),
                "imageID": _get_image(pod),
                "ready": container.ready,
                "started": container.started,
                "restartCount": container.restarts,
                "state": container.state,
            }
        ],
    }


def _wait(reason: str, message: str) -> Object:
    return {"waiting": {"reason": reason, "message": message}}


def _wait_after_crashes(pod: Object, back_off: float) -> Object:
    name, own = pod["spec"]["containers"][0]["name"], pod["metadata"]
    whose = f"container={name} pod={own['name']}_{own['namespace']}({own['uid']})"
    return _wait("CrashLoopBackOff", f"back-off {back_off:.0f}s restarting failed {whose}")


def _get_image(pod: Object) -> str:
    name: str = pod["spec"]["containers"][0]["image"]
    return name


def _make_path(pod: Object) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def _format_now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _list_addresses(number: int) -> Iterator[str]:
    """Return addresses for a node's pods; each returns only after some thousands."""
    while True:
        yield from (f"10.244.{number * 16 + high}.{low}" for high in range(16) for low in range(2, 250))


async def main() -> None:
    """Run a node until killed."""
    node, folder = sys.argv[1], Path(sys.argv[2])
    context = ssl.create_default_context(cafile=str(folder / "apiserver.crt"))
    headers = {"Authorization": f"Bearer {os.environ['KUBELET_TOKEN']}"}
    async with httpx.AsyncClient(
        base_url="https://127.0.0.1:6443", headers=headers, verify=context, timeout=10, trust_env=False
    ) as http:
        addresses = _list_addresses(int(node.rpartition("-")[2]))
        await Kubelet(node, http, folder / "images", addresses).run()


if __name__ == "__main__":
    anyio.run(main)
