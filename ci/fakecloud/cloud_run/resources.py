"""Resources of Cloud Run: services with their revisions, and operations."""

import secrets
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import anyio
from google.cloud import run_v2
from google.protobuf.json_format import MessageToDict

from fakecloud.cloud_run.request_log import Counts

# Google's type, as protocol buffers have it.
Message = Any
STATES = run_v2.Condition.State
KINDS = run_v2.TrafficTargetAllocationType
SERVED = "/run.app"


@dataclass
class Revision:
    """A revision. The rehearsal says where its instance answers, or that it has none."""

    message: Message
    configuration: dict[str, Any]
    instance: str = ""
    failure: str = ""
    arrived: anyio.Event = field(default_factory=anyio.Event)
    settled: anyio.Event = field(default_factory=anyio.Event)

    @property
    def name(self) -> str:
        """Its name within the service."""
        return short(self.message.name)

    @property
    def ready(self) -> bool:
        """True if requests can be sent to it."""
        return self.settled.is_set() and not self.failure

    def arrive(self, instance: str) -> None:
        """Let its instance be at an address, or, without one, have ended before it listened."""
        self.instance = instance
        self.arrived.set()

    def settle(self, failure: str = "", **reason: int) -> None:
        """Let it be ready, or have failed for good."""
        self.failure = failure
        state = STATES.CONDITION_FAILED if failure else STATES.CONDITION_SUCCEEDED
        del self.message.conditions[:]
        self.message.conditions.append(condition(state, failure, **reason))
        self.settled.set()


@dataclass(frozen=True)
class TrafficShare:
    """Share of the traffic: a revision, its part of the requests, and a tag for an address of its own."""

    revision: str
    percent: int
    tag: str


@dataclass
class Service:
    """A service: what it shall be (`message`), and who is served now."""

    message: Message
    revisions: dict[str, Revision] = field(default_factory=dict)
    serving: tuple[TrafficShare, ...] = ()
    turns: dict[str, int] = field(default_factory=dict)
    lock: anyio.Lock = field(default_factory=anyio.Lock)

    @property
    def name(self) -> str:
        """Its name within the location."""
        return short(self.message.name)

    @property
    def latest(self) -> Revision:
        """The revision that was made last."""
        return self.revisions[short(self.message.latest_created_revision)]

    def traffic_list(self) -> tuple[TrafficShare, ...]:
        """Return the traffic list with names for all; without a list everything goes to the latest."""
        parts = [
            TrafficShare(each.revision or self.latest.name, each.percent, each.tag)
            for each in self.message.traffic
        ]
        return tuple(parts) or (TrafficShare(self.latest.name, 100, ""),)

    def touch(self) -> None:
        """Give the service another etag, as every change does, be it Google's own."""
        self.message.etag = f'"{secrets.token_urlsafe(12)}"'
        self.message.update_time = datetime.now(UTC)

    def as_json(self, base: str) -> dict[str, Any]:
        """Return it as Google's JSON, with its addresses below a base."""
        content, own = as_json(self.message), f"{base}{SERVED}"
        content["uri"] = f"{own}/{self.name}"
        content["urls"] = [content["uri"]]
        content["trafficStatuses"] = [
            {"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "revision": part.revision}
            | ({"percent": part.percent} if part.percent else {})
            | ({"tag": part.tag, "uri": f"{own}/{part.tag}---{self.name}"} if part.tag else {})
            for part in self.serving
        ]
        return content


@dataclass
class Operation:
    """Long-running operation."""

    name: str
    ended: anyio.Event = field(default_factory=anyio.Event)
    result: dict[str, Any] = field(default_factory=dict)

    def end(self, **result: Any) -> None:
        """Let it be done, with a response or an error."""
        self.result = result
        self.ended.set()

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON; false is left out."""
        return {"name": self.name, **({"done": True, **self.result} if self.ended.is_set() else {})}


@dataclass
class State:
    """All services and operations, and the revisions that the rehearsal has to start."""

    services: dict[str, Service] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    pending: list[Revision] = field(default_factory=list)
    announced: anyio.Event = field(default_factory=anyio.Event)

    def operation(self, parent: str) -> Operation:
        """Return a new operation."""
        operation = Operation(f"{parent}/operations/{uuid.uuid4()}")
        self.operations[operation.name] = operation
        return operation

    def announce(self, revision: Revision) -> None:
        """Queue a revision for the rehearsal to start."""
        self.pending.append(revision)
        self.announced.set()

    def revisions(self) -> Iterator[Revision]:
        """Yield the revisions of all services."""
        for service in self.services.values():
            yield from service.revisions.values()


def as_json(message: Message) -> dict[str, Any]:
    """Return a message as Google's JSON."""
    content: dict[str, Any] = MessageToDict(message)
    return content


def short(name: str) -> str:
    """Return the last part of a resource's name."""
    return name.rpartition("/")[2]


def condition(state: int, message: str = "", **reason: int) -> Message:
    """Return the condition that says whether something is ready."""
    now = datetime.now(UTC)
    made = run_v2.Condition(type_="Ready", state=state, message=message, last_transition_time=now, **reason)
    return run_v2.Condition.pb(made)
