"""Cloud Run, by its Admin API (v2): https://cloud.google.com/run/docs/reference/rest/v2.

A release is a revision of its own name, SERVICE-v1-0-0-<fingerprint>, with its image by digest. Traffic is
always written out as a list of named revisions, so that nothing moves unless a step moves it. The journal is
an annotation of the service. Every change names the etag of what was seen.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Self

from deploying.rollout.journal import FINGERPRINT, KEY, RELEASE, Journal
from deploying.rollout.target import SHARES, Address, Headers, Observed, Seen, Share, fingerprint, no_headers
from deploying.targets import traffic_split
from deploying.targets.api_client import Api
from deploying.targets.cloud_monitoring import Monitoring
from errors import NotStarted, TargetError
from keyless.federation import Federation
from net.retry_policy import Retrying
from net.tokens import Kept
from oci.reference import Release

_LONGEST_NAME = 63
_WAIT = 5  # seconds that one request waits for an operation


@dataclass(frozen=True)
class Settings:
    """Place of the service, and how a revision runs; `account` is the service account that it runs as."""

    project: str
    region: str
    service: str
    account: str = ""
    minimum: int = 0
    maximum: int = 10
    cpu: str = "1"
    memory: str = "512Mi"
    deadline: int = 300  # seconds for an operation
    collector: str = ""  # the image that sends what /metrics tells to Managed Service for Prometheus
    lag: int = 240  # seconds until Cloud Monitoring shows what was counted

    @property
    def parent(self) -> str:
        """Google's name of the place that services are in."""
        return f"projects/{self.project}/locations/{self.region}"

    @property
    def path(self) -> str:
        """Path of the service in the API."""
        return f"/v2/{self.parent}/services/{self.service}"


@dataclass
class CloudRun:
    """One service; `let_in` gives the headers for an audience."""

    settings: Settings
    api: Api
    monitoring: Monitoring
    let_in: Callable[[str], Headers]
    names: int = 9  # of one release: a revision that failed stays so, and its name is taken
    _shares: dict[str, Share] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings, federation: Federation, client: Retrying) -> Self:
        """Return the target, used with an identity; a private service accepts only a service account."""
        endpoints, mint = federation.identity.endpoints, federation.access_token
        monitoring = Monitoring(Api("monitoring", endpoints.monitoring, client, mint))
        return cls(
            settings, Api("Cloud Run", endpoints.run, client, mint), monitoring, letting_in(federation)
        )

    @property
    def name(self) -> str:
        """The target's name in messages."""
        return f"Cloud Run {self.settings.region}/{self.settings.service}"

    @property
    def lag(self) -> float:
        """Seconds until Cloud Monitoring shows what was counted."""
        return self.settings.lag

    def shares(self, snapshot: str) -> tuple[int, ...]:
        """Return the shares: the traffic list takes any."""
        return SHARES

    def fingerprint(self, release: Release) -> str:
        """Return what stands for the image and the revision's configuration."""
        return fingerprint(release.digest, self._template(release))

    async def look(self) -> Seen:
        """Return the service as it is."""
        service = await self.api.find(self.settings.path)
        if service is None:
            return Seen()
        listed = service.get("traffic", [])
        settled = traffic_split.fix_revisions(
            listed, service.get("latestReadyRevision", "").rpartition("/")[2]
        )
        addresses = {each.get("tag"): each.get("uri") for each in service.get("trafficStatuses", [])}
        let_in, own = self.let_in(service.get("uri", "")), addresses.get(traffic_split.CANDIDATE)
        return Seen(
            version=service["etag"],
            journal=Journal.of(service.get("annotations", {}).get(KEY)),
            shares=tuple([await self._share(*part) for part in traffic_split.shares(settled).items()]),
            snapshot=json.dumps(settled, separators=(",", ":")),
            address=Address(service.get("uri", ""), let_in),
            candidate=Address(own, let_in) if own else None,
            raw=service,
        )

    async def create(self, release: Release, journal: Journal) -> None:
        """Make the service; its first revision cannot be without traffic."""
        revision = self._revision(release)
        body = {
            "annotations": {KEY: journal.text()},
            "template": {"revision": revision, **self._template_with_marks(release)},
            "traffic": [traffic_split.revision_entry(revision, 100, traffic_split.CANDIDATE)],
        }
        parent, _, name = self.settings.path.rpartition("/")
        # Whether the revision has started is for `stage` to say.
        await self._wait(await self.api.call("POST", parent, params={"serviceId": name}, json=body))

    async def record(self, seen: Seen, journal: Journal) -> None:
        """Write the annotation."""
        kept = seen.raw.get("annotations", {})
        # What it ends with is about the revisions, not about this.
        await self._wait(await self._begin(seen, annotations={**kept, KEY: journal.text()}))

    async def stage(self, seen: Seen, release: Release) -> None:
        """Make the release's revision, tagged and without traffic unless it is the only one."""
        revision, settled = await self._choose_revision(seen, release), json.loads(seen.snapshot)
        first = [traffic_split.revision_entry(revision, 100, traffic_split.CANDIDATE)]
        others = set(traffic_split.shares(settled)) - {revision}
        operation = await self._begin(
            seen,
            template={"revision": revision, **self._template_with_marks(release)},
            traffic=[*settled, traffic_split.revision_entry(revision, 0, traffic_split.CANDIDATE)]
            if others
            else first,
        )
        self._check(await self._wait(operation))

    async def shift(self, seen: Seen, release: Release, snapshot: str, percent: int) -> None:
        """Write the list in which the candidate has its part."""
        before = json.loads(snapshot) if snapshot else []
        await self._route(seen, traffic_split.split(before, self._candidate(seen), percent))

    async def tidy(self, seen: Seen, release: Release) -> None:
        """Remove the candidate's address; other tags stay."""
        await self._route(seen, json.loads(seen.snapshot))

    async def restore(self, seen: Seen, snapshot: str) -> None:
        """Write the list that was there before, or remove what was not."""
        if snapshot:
            await self._route(seen, json.loads(snapshot))
            return
        gone = await self.api.remove(self.settings.path, params={"etag": seen.version})
        self._check(await self._wait(gone or {"done": True}))

    async def observe(self, seen: Seen, since: datetime) -> Observed:
        """Return what Cloud Monitoring has of each revision."""
        own = traffic_split.candidate(seen.raw.get("traffic", []))
        counted = await self.monitoring.numbers(self.settings, since)
        running = {revision: numbers for revision, numbers in counted.items() if revision != own}
        return {"candidate": {own or "": counted[own]} if own in counted else {}, "running": running}

    def _candidate(self, seen: Seen) -> str:
        revision = traffic_split.candidate(seen.raw.get("traffic", []))
        if revision is None:
            raise TargetError(f"{self.name}: nothing is tagged {traffic_split.CANDIDATE!r}; deploy again")
        return revision

    async def _share(self, revision: str, percent: int) -> Share:
        """Return a revision's part; what was not deployed here is called by its revision."""
        if revision not in self._shares:
            found = await self.api.find(f"{self.settings.path}/revisions/{revision}") or {}
            kept = found.get("annotations", {})
            self._shares[revision] = Share(kept.get(RELEASE, revision), kept.get(FINGERPRINT, ""), 0)
        known = self._shares[revision]
        return Share(known.release, known.fingerprint, percent)

    def _revision(self, release: Release, number: int = 1) -> str:
        version = release.image.tag.lower().replace(".", "-")
        end = f"-{self.fingerprint(release)}" + (f"-{number}" if number > 1 else "")
        return f"{self.settings.service}-{version}"[: _LONGEST_NAME - len(end)].rstrip("-") + end

    async def _choose_revision(self, seen: Seen, release: Release) -> str:
        """Return the release's revision: the candidate, one that has not failed, or a name that is free."""
        own = traffic_split.candidate(seen.raw.get("traffic", []))
        names = [self._revision(release, number) for number in range(1, self.names + 1)]
        if own in names:
            return own
        for name in names:
            found = await self.api.find(f"{self.settings.path}/revisions/{name}")
            if found is None or not _failure(found):
                return name
        raise NotStarted(f"{self.name}: {release} has failed {self.names} times; release another version")

    def _template(self, release: Release) -> dict[str, Any]:
        settings = self.settings
        probe = {"httpGet": {"path": "/readyz"}, "periodSeconds": 1, "failureThreshold": 60}
        container = {
            "image": f"{release.image.host}/{release.image.repository}@{release.digest}",
            "env": [{"name": "IMAGE_DIGEST", "value": release.digest}],
            "ports": [{"containerPort": 8080}],
            "resources": {"limits": {"cpu": settings.cpu, "memory": settings.memory}},
            "startupProbe": probe,
            "livenessProbe": {"httpGet": {"path": "/livez"}},
        }
        scaling = {"minInstanceCount": settings.minimum, "maxInstanceCount": settings.maximum}
        account = {"serviceAccount": settings.account} if settings.account else {}
        return {"containers": [container, *self._collector()], "scaling": scaling, **account}

    def _collector(self) -> list[dict[str, Any]]:
        """Return the container beside the service, if there is to be one; it scrapes port 8080 by itself."""
        image = self.settings.collector
        return [{"name": "collector", "image": image}] if image else []

    def _template_with_marks(self, release: Release) -> dict[str, Any]:
        marks = {RELEASE: str(release), FINGERPRINT: self.fingerprint(release)}
        return {**self._template(release), "annotations": marks}

    async def _route(self, seen: Seen, listed: list[dict[str, Any]]) -> None:
        """Let a traffic list be so; where it is, it matters not that the latest revision once failed."""
        ended = await self._wait(await self._begin(seen, traffic=listed))
        if "error" in ended:
            service = await self.api.find(self.settings.path) or {}
            if not traffic_split.same(listed, service.get("trafficStatuses", [])):
                self._check(ended)

    async def _begin(self, seen: Seen, **changed: Any) -> Mapping[str, Any]:
        """Change the named fields of what was seen, and return the operation."""
        name = f"{self.settings.parent}/services/{self.settings.service}"
        body = {"name": name, "etag": seen.version, **changed}
        params = {"updateMask": ",".join(changed)}
        return await self.api.call("PATCH", self.settings.path, params=params, json=body)

    def _check(self, ended: Mapping[str, Any]) -> None:
        if error := ended.get("error"):
            raise NotStarted(f"{self.name}: {error.get('message', error)}")

    async def _wait(self, operation: Mapping[str, Any]) -> Mapping[str, Any]:
        until = time.monotonic() + self.settings.deadline
        while not operation.get("done"):
            if time.monotonic() > until:
                raise NotStarted(f"{self.name}: not done in {self.settings.deadline} s: {operation['name']}")
            path, wait = f"/v2/{operation['name']}:wait", {"timeout": f"{_WAIT}s"}
            operation = await self.api.call("POST", path, json=wait)
        return operation


def letting_in(federation: Federation) -> Callable[[str], Headers]:
    """Return what gives the headers for an audience: an ID token, which only a service account can have."""
    if not federation.identity.service_account:
        return lambda audience: no_headers
    kept: dict[str, Kept] = {}

    def let_in(audience: str) -> Headers:
        minted = kept.setdefault(audience, Kept(partial(federation.id_token, audience)))

        async def headers() -> Mapping[str, str]:
            return {"Authorization": (await minted.token()).authorization()}

        return headers

    return let_in


def _failure(revision: Mapping[str, Any]) -> bool:
    return any(
        condition.get("type") == "Ready" and condition.get("state") == "CONDITION_FAILED"
        for condition in revision.get("conditions", [])
    )
