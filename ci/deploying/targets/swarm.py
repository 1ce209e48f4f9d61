"""Docker Swarm, by the Engine API: a service updated from release to release, and one for the candidate.

A candidate with a share of the traffic has the service's own port on one node. With `stop-first` that node is
taken from the service, which has as many nodes as replicas. With `start-first` it is a spare one.

The journal is a label of the service, which is there with no replicas before the first release. Ports are
published on the nodes themselves, so that every instance gives its numbers. Every change names the
version of what was seen. Swarm goes back by itself when an update fails, labels and all: the journal then is
that of the update's beginning, and what is left to do is found there.
https://docs.docker.com/reference/api/engine/
"""

import json
import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import anyio
import httpx
import yaml

from deploying.rollout.journal import FINGERPRINT, KEY, RELEASE, Journal
from deploying.rollout.request_counts import Numbers, of_metrics
from deploying.rollout.target import WHOLE, Address, Observed, Seen, Share, fingerprint
from deploying.targets.api_client import Api
from errors import InvalidEnvironment, NotStarted, TargetError
from oci.reference import Release

_STACK = "com.docker.stack.namespace"  # lists it among `docker stack ls`
_PORT = 8080
_PAUSE = 0.3  # seconds between two looks at an update
_ENDED = ("failed", "rejected", "complete", "orphaned")
_UNDER_WAY = ("updating", "rollback_started")
_GONE_BACK = ("rollback_completed", "rollback_paused", "paused")

Object = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """The service's name, ports and instances.

    One node cannot start a new instance first on a port that the old one has.
    """

    name: str
    port: int = 8080
    candidate_port: int = 8081
    replicas: int = 1
    order: Literal["start-first", "stop-first"] = "start-first"
    deadline: int = 120  # seconds for an update


def is_conflict(answer: httpx.Response) -> bool:
    """Return whether Docker refuses a write as the service has changed: 409 for a name, 500 for a version."""
    return answer.status_code == httpx.codes.CONFLICT or "out of sequence" in answer.text


def template(text: str) -> Object:
    """Return the service of deploy/swarm; raises InvalidEnvironment when it is none."""
    try:
        service: Object = yaml.safe_load(text)
        service["TaskTemplate"]["ContainerSpec"].setdefault("Env", [])
    except (yaml.YAMLError, LookupError, TypeError, AttributeError) as error:
        raise InvalidEnvironment(f"deploy/swarm: no container can be read: {error!r}") from error
    return service


@dataclass
class Swarm:
    """One service of a swarm; `http` sends requests to instances, at their nodes."""

    settings: Settings
    service: Object
    api: Api
    http: httpx.AsyncClient
    pause: float = _PAUSE
    lag: float = 0
    _nodes: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The target's name in messages."""
        return f"Swarm {self.settings.name}"

    @property
    def _candidate(self) -> str:
        return f"{self.settings.name}-candidate"

    def shares(self, snapshot: str) -> tuple[int, ...]:
        """Return one instance's share, then all; all at once where no other instance is left beside it."""
        kept = self._count_kept(_replicas(json.loads(snapshot)))
        return (_percent(kept), *WHOLE) if kept else WHOLE

    def fingerprint(self, release: Release) -> str:
        """Return what stands for the image, the service and its settings."""
        return fingerprint(release.digest, self.service, vars(self.settings))

    async def look(self) -> Seen:
        """Return the service as it is."""
        found = await self.api.find(f"/services/{self.settings.name}")
        if found is None:
            return Seen()
        spec, runs = found["Spec"], bool(_replicas(found["Spec"]))
        release, journal = _release(spec), Journal.of(spec["Labels"].get(KEY))
        kept = {name: value for name, value in spec.items() if name not in ("Name", "Labels")}
        own = bool(journal.attempt) and journal.attempt.release == release and runs  # type: ignore[union-attr]
        there = None if own else await self.api.find(f"/services/{self._candidate}")
        candidate = await self._address(self._candidate, _port(there["Spec"])) if there else None
        serving = there["Spec"] if there and candidate else None
        return Seen(
            version=str(found["Version"]["Index"]),
            journal=journal,
            shares=self._shares(spec, serving) if runs else (),
            snapshot=json.dumps(kept, separators=(",", ":"), sort_keys=True) if runs else "",
            address=(address := await self._address(self.settings.name, self.settings.port)),
            candidate=address if own else candidate,
            raw=found,
        )

    async def create(self, release: Release, journal: Journal) -> None:
        """Make the service without replicas."""
        made = self._make_service(self.settings.name, release, 0, self.settings.port)
        await self.api.call("POST", "/services/create", json=_with(made, Labels={KEY: journal.text()}))

    async def record(self, seen: Seen, journal: Journal) -> None:
        """Write the label."""
        labels = {**seen.raw["Spec"]["Labels"], KEY: journal.text()}
        await self._update(seen, _with(seen.raw["Spec"], Labels=labels))

    async def stage(self, seen: Seen, release: Release) -> None:
        """Start one instance beside the others, on a port of its own."""
        await self._start_candidate(release, self.settings.candidate_port)

    async def shift(self, seen: Seen, release: Release, snapshot: str, percent: int) -> None:
        """Start the candidate on the service's own port, in the end update the service to the release."""
        spec = seen.raw["Spec"]
        if percent < 100:
            kept = self._count_kept(_replicas(json.loads(snapshot)))
            await self._scale(seen, spec, kept)
            return await self._start_candidate(release, self.settings.port)
        replicas = self.settings.replicas
        if self.settings.order == "start-first":
            await self.api.remove(f"/services/{self._candidate}")  # an update needs the spare node
        elif snapshot and self.shares(snapshot) != WHOLE:
            replicas = max(1, replicas - 1)  # the candidate keeps its node until it is removed
        made = self._make_service(self.settings.name, release, replicas, self.settings.port)
        await self._update(seen, _with(made, Labels=spec["Labels"]))
        await self._wait_until_running(self.settings.name, made)

    async def tidy(self, seen: Seen, release: Release) -> None:
        """Remove the candidate, and give its node to the service."""
        await self.api.remove(f"/services/{self._candidate}")
        await self._scale(seen, seen.raw["Spec"], self.settings.replicas)

    async def restore(self, seen: Seen, snapshot: str) -> None:
        """Remove the candidate, and update the service to what it was; what holds the journal goes last."""
        await self.api.remove(f"/services/{self._candidate}")
        if snapshot:
            spec, before = seen.raw["Spec"], json.loads(snapshot)
            if any(spec.get(name) != value for name, value in before.items()):
                await self._update(seen, _with(before, Name=self.settings.name, Labels=spec["Labels"]))
            await self._wait_until_running(self.settings.name, before)
        else:
            await self.api.remove(f"/services/{self.settings.name}")

    async def observe(self, seen: Seen, since: datetime) -> Observed:
        """Return what every instance counts; the candidate's are those of what is being deployed."""
        attempt = seen.journal.attempt
        found: dict[str, dict[str, Numbers]] = {"candidate": {}, "running": {}}
        for name in (self.settings.name, self._candidate):
            service = await self.api.find(f"/services/{name}")
            for task in await self._tasks(name):
                if service is None or task["Status"]["State"] != "running":
                    continue
                marks = task["Spec"]["ContainerSpec"].get("Labels") or {}
                role = "candidate" if attempt and marks.get(RELEASE) == attempt.release else "running"
                found[role][task["ID"]] = await self._numbers(await self._node(task), _port(service["Spec"]))
        return found

    def _make_service(self, name: str, release: Release, replicas: int, port: int) -> Object:
        """Return the service of a release."""
        made = deepcopy(self.service)
        container = made["TaskTemplate"]["ContainerSpec"]
        container["Image"] = f"{release.image.host}/{release.image.repository}@{release.digest}"
        container["Labels"] = {RELEASE: str(release), FINGERPRINT: self.fingerprint(release)}
        container["Env"] = [*container["Env"], f"IMAGE_DIGEST={release.digest}"]
        for kind in ("UpdateConfig", "RollbackConfig"):
            made[kind] = {**made.get(kind, {}), "Order": self.settings.order}
        published = {"Protocol": "tcp", "TargetPort": _PORT, "PublishedPort": port, "PublishMode": "host"}
        return {
            **made,
            "Name": name,
            "Labels": {_STACK: self.settings.name},
            "Mode": {"Replicated": {"Replicas": replicas}},
            "EndpointSpec": {"Mode": "dnsrr", "Ports": [published]},
        }

    async def _start_candidate(self, release: Release, port: int) -> None:
        made = self._make_service(self._candidate, release, 1, port)
        made["TaskTemplate"]["RestartPolicy"] = {"Condition": "none"}  # who ends at once has failed
        there = await self.api.find(f"/services/{self._candidate}")
        if there is None or not _same(there["Spec"], made) or _port(there["Spec"]) != port:
            await self.api.remove(f"/services/{self._candidate}")
            await self.api.call("POST", "/services/create", json=made)
        await self._wait_until_running(self._candidate, made)

    def _count_kept(self, running: int) -> int:
        """Return how many of the running instances stay beside a candidate with a share of the traffic."""
        return running if self.settings.order == "start-first" else running - 1

    def _shares(self, running: Object, candidate: Object | None) -> tuple[Share, ...]:
        """Return the shares of both services in the instances that have the service's port."""
        own = (_release(running), _fingerprint(running))
        if candidate is None or _port(candidate) != self.settings.port or _release(candidate) == own[0]:
            return (Share(*own, 100),)
        part = _percent(_replicas(running))
        return Share(*own, 100 - part), Share(_release(candidate), _fingerprint(candidate), part)

    async def _scale(self, seen: Seen, spec: Object, replicas: int) -> None:
        if _replicas(spec) != replicas:
            scaled = _with(spec, Mode={"Replicated": {"Replicas": replicas}})
            await self._update(seen, scaled)
            await self._wait_until_running(self.settings.name, scaled)

    async def _update(self, seen: Seen, spec: Object) -> None:
        path = f"/services/{self.settings.name}/update"
        await self.api.call("POST", path, params={"version": seen.version}, json=spec)

    async def _wait_until_running(self, name: str, spec: Object) -> None:
        """Wait until all instances are healthy and nothing is updated; raises NotStarted at the deadline."""
        until = time.monotonic() + self.settings.deadline
        while True:
            service = await self.api.call("GET", f"/services/{name}")
            state, tasks = service.get("UpdateStatus", {}).get("State"), await self._tasks(name, every=True)
            new = [task for task in tasks if _same({"TaskTemplate": task["Spec"]}, spec)]
            up = [task for task in new if task["Status"]["State"] == task["DesiredState"] == "running"]
            if _same(service["Spec"], spec) and len(up) >= _replicas(spec) and state not in _UNDER_WAY:
                return
            fails = name == self._candidate and any(task["Status"]["State"] in _ENDED for task in new)
            if fails or state in _GONE_BACK or time.monotonic() > until:
                reason = await self._reason(name, spec, service)
                raise NotStarted(f"{self.name}: {name} does not start: {reason}")
            await anyio.sleep(self.pause)

    async def _reason(self, name: str, spec: Object, service: Object) -> str:
        tasks = await self._tasks(name, every=True)
        new = [task["Status"] for task in tasks if _same({"TaskTemplate": task["Spec"]}, spec)]
        reasons = sorted({status["Err"] for status in new if status.get("Err")})
        states = ", ".join(sorted({status["State"] for status in new})) or "not there"
        late = f"{self.settings.deadline} s were not enough, and its tasks are {states}"
        message = service.get("UpdateStatus", {}).get("Message")
        return "; ".join(filter(None, [message, *reasons])) or late

    async def _tasks(self, name: str, *, every: bool = False) -> list[Object]:
        """Return a service's tasks, also those that have ended or are to end when every one is wanted."""
        filters = {"service": [name], "desired-state": ["running", *(["shutdown"] if every else [])]}
        answer = await self.api.send("GET", "/tasks", 404, params={"filters": json.dumps(filters)})
        listed: list[Object] = answer.json() if answer.is_success else []
        return listed

    async def _address(self, name: str, port: int) -> Address | None:
        """Return where a service's first healthy instance is."""
        up = [task for task in await self._tasks(name) if task["Status"]["State"] == "running"]
        return Address(f"http://{await self._node(up[0])}:{port}") if up else None

    async def _node(self, task: Mapping[str, Any]) -> str:
        """Return the address of a task's node."""
        node = task["NodeID"]
        if node not in self._nodes:
            self._nodes[node] = (await self.api.call("GET", f"/nodes/{node}"))["Status"]["Addr"]
        return self._nodes[node]

    async def _numbers(self, node: str, port: int) -> Numbers:
        try:
            answer = await self.http.get(f"http://{node}:{port}/metrics")
            return of_metrics(answer.raise_for_status().text)
        except httpx.HTTPError as error:
            raise TargetError(f"{self.name}: no numbers from {node}:{port}: {error!r}") from error


def _replicas(spec: Mapping[str, Any]) -> int:
    return int(spec.get("Mode", {}).get("Replicated", {}).get("Replicas", 0))


def _percent(kept: int) -> int:
    """Return the share of one instance beside those that stay."""
    return round(100 / (kept + 1))


def _port(spec: Mapping[str, Any]) -> int:
    return int(spec["EndpointSpec"]["Ports"][0]["PublishedPort"])


def _marks(spec: Mapping[str, Any]) -> Mapping[str, str]:
    return spec["TaskTemplate"]["ContainerSpec"].get("Labels") or {}


def _release(spec: Mapping[str, Any]) -> str:
    image: str = spec["TaskTemplate"]["ContainerSpec"]["Image"]
    return _marks(spec).get(RELEASE, image)


def _fingerprint(spec: Mapping[str, Any]) -> str:
    return _marks(spec).get(FINGERPRINT, "")


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Return whether two services run the same, as far as Docker leaves what it is given as it is."""
    containers = [each["TaskTemplate"]["ContainerSpec"] for each in (one, other)]
    return all(containers[0].get(name) == containers[1].get(name) for name in ("Image", "Labels", "Env"))


def _with(spec: Mapping[str, Any], **changes: Any) -> Object:
    return {**spec, **changes}
