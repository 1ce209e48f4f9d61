"""Reconciliation: a requested change takes effect after a while, or fails.

Error texts are the real service's where reports show them. A failed revision stays failed,
and traffic stays on the revisions that had it, as the documentation says. Whether an operation on a
service whose latest revision has failed may succeed was never seen: here it fails, though it is done.
"""

from dataclasses import dataclass

import anyio
import httpx
from google.cloud import run_v2

from fakecloud.cloud_run.resources import STATES, Message, Operation, Revision, Service, State, condition
from fakecloud.registry.upstream_registry import Relay

_LOGS = "Logs for this revision might contain more information."
_FAILED_START = (
    "The user-provided container failed to start and listen on the port defined provided by the PORT=8080 "
    "environment variable within the allocated timeout. This can happen when the container port is "
    f"misconfigured or if the timeout is too short. The health check timeout can be extended. {_LOGS}"
)
_FAILED_PROBE = f"The user-provided container failed the configured startup probe checks. {_LOGS}"
_INTERNAL = 13
_REASONS, _COMMON = run_v2.Condition.RevisionReason, run_v2.Condition.CommonReason
KIND = "type.googleapis.com/google.cloud.run.v2.Service"
_BETWEEN_PROBES = 0.1  # seconds; Cloud Run's are the probe's period


@dataclass(frozen=True)
class Reconciler:
    """Brings services to their requested state. A change takes some seconds to reach the users."""

    state: State
    registry: Relay
    http: httpx.AsyncClient
    seconds: float

    async def reconcile(self, service: Service, operation: Operation, base: str) -> None:
        """Start the latest revision unless it has been started, then let the traffic list be so."""
        async with service.lock:
            latest = service.latest
            if not latest.settled.is_set():
                await self._start(latest)
            await anyio.sleep(self.seconds)
            failed = [
                each
                for each in (service.revisions[part.revision] for part in service.traffic_list())
                if not each.ready
            ]
            if not failed:
                service.serving, service.turns = service.traffic_list(), {}
            if latest.ready:
                service.message.latest_ready_revision = latest.message.name
            else:
                failed = [latest]
            self._end_operation(service, failed)
            if failed:
                operation.end(
                    error={"code": _INTERNAL, "message": service.message.terminal_condition.message}
                )
            else:
                operation.end(response={"@type": KIND, **service.as_json(base)})

    def _end_operation(self, service: Service, failed: list[Revision]) -> None:
        outcome = condition(STATES.CONDITION_SUCCEEDED)
        if failed:
            text = f"Revision '{failed[0].name}' is not ready and cannot serve traffic. {failed[0].failure}"
            outcome = condition(STATES.CONDITION_FAILED, text, reason=_COMMON.REVISION_FAILED)
        service.message.terminal_condition.CopyFrom(outcome)
        service.message.reconciling = False
        service.message.observed_generation = service.message.generation
        service.touch()

    async def _start(self, revision: Revision) -> None:
        """Have the rehearsal start an instance, and probe it as long as the startup probe allows."""
        container = revision.message.containers[0]
        repository, _, digest = container.image.partition("/")[2].partition("@")
        if not repository or await self.registry.digest(repository, digest) is None:
            return revision.settle(f"Image '{container.image}' not found.", reason=_COMMON.CONTAINER_MISSING)
        self.state.announce(revision)
        probe = container.startup_probe
        with anyio.move_on_after(float((probe.period_seconds or 10) * (probe.failure_threshold or 3))):
            await revision.arrived.wait()
            if revision.instance:
                await self._probe(revision, probe)
        if not revision.settled.is_set():
            failure = _FAILED_PROBE if revision.instance else _FAILED_START
            revision.settle(failure, revision_reason=_REASONS.HEALTH_CHECK_CONTAINER_ERROR)

    async def _probe(self, revision: Revision, probe: Message) -> None:
        """Probe an instance until its response is good."""
        while not revision.settled.is_set():
            try:
                answer = await self.http.get(f"{revision.instance}{probe.http_get.path or '/'}")
                good = answer.is_success or not probe.http_get.path
            except httpx.TransportError:
                good = False
            if good:
                revision.settle()
            else:
                await anyio.sleep(_BETWEEN_PROBES)
