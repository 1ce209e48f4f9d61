"""Cloud Monitoring, as far as a deployment uses it: requests of a service's revisions in an interval.

Only the aggregation that gives one sum for each series is known here; others are refused.
"""

import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fakecloud.cloud_run.request_log import Request as Served
from fakecloud.cloud_run.request_log import distribution
from fakecloud.cloud_run.resources import State
from fakecloud.state.fixtures import CloudSetup
from fakecloud.state.ledger import Ledger
from fakecloud.state.policy import TIME_SERIES, allows
from fakecloud.state.refusals import ApiRefusal, permission_denied

_TERM = re.compile(r'([a-z._]+)\s*=\s*"([^"]*)"')
_KNOWN = {"ALIGN_DELTA": "perSeriesAligner", "REDUCE_SUM": "crossSeriesReducer"}
_METRICS = ("run.googleapis.com/request_count", "run.googleapis.com/request_latencies")


@dataclass(frozen=True)
class Monitoring:
    """The API; what happened is seen `lag` seconds later."""

    setup: CloudSetup
    ledger: Ledger
    state: State
    lag: float = 0

    @property
    def routes(self) -> list[Route]:
        """Return what is served below the API's address."""
        return [Route("/v3/projects/{project}/timeSeries", self.series)]

    async def series(self, request: Request) -> Response:
        """Answer with the series of one metric."""
        grant, project = self.ledger.bearer(request.headers), f"projects/{request.path_params['project']}"
        if not grant.unrestricted or not allows(self.setup, grant.principal, TIME_SERIES, project):
            raise permission_denied(TIME_SERIES, project)
        parameters, terms = request.query_params, dict(_TERM.findall(request.query_params.get("filter", "")))
        metric = terms.get("metric.type", "")
        if metric not in _METRICS or any(
            parameters.get(f"aggregation.{name}") != value for value, name in _KNOWN.items()
        ):
            raise ApiRefusal("INVALID_ARGUMENT", "The rehearsal does not have this metric or aggregation.")
        start, end = (_time(parameters.get(f"interval.{name}", "")) for name in ("startTime", "endTime"))
        revisions = self._revisions(terms)
        until = min(end, self.ledger.clock.google() - self.lag)
        found = [
            _series(
                metric,
                revision,
                kind,
                part,
                (parameters["interval.startTime"], parameters["interval.endTime"]),
            )
            for revision, requests in self.state.counts.between(start, until)
            if revision in revisions
            for kind, part in _classes(requests, metric).items()
        ]
        return JSONResponse({"timeSeries": found} if found else {})

    def _revisions(self, terms: dict[str, str]) -> set[str]:
        name, location = (terms.get(f"resource.labels.{label}") for label in ("service_name", "location"))
        return {
            revision
            for path, service in self.state.services.items()
            if service.name == name and f"/locations/{location}/" in path
            for revision in service.revisions
        }


def _classes(requests: list[Served], metric: str) -> dict[str, list[Served]]:
    """Return requests by the class of their status, by which latencies are not separated."""
    found: defaultdict[str, list[Served]] = defaultdict(list)
    for request in requests:
        found[f"{request.status // 100}xx" if metric.endswith("count") else ""].append(request)
    return found


def _series(
    metric: str, revision: str, kind: str, requests: list[Served], interval: tuple[str, str]
) -> dict[str, object]:
    counted = metric.endswith("count")
    value = {"int64Value": str(len(requests))} if counted else {"distributionValue": distribution(requests)}
    point = {"interval": dict(zip(("startTime", "endTime"), interval, strict=True)), "value": value}
    return {
        "metric": {"type": metric, "labels": {"response_code_class": kind} if counted else {}},
        "resource": {"type": "cloud_run_revision", "labels": {"revision_name": revision}},
        "metricKind": "DELTA",
        "valueType": "INT64" if counted else "DISTRIBUTION",
        "points": [point],
    }


def _time(text: str) -> float:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise ApiRefusal("INVALID_ARGUMENT", f"Invalid value at 'interval': {text!r}") from error
