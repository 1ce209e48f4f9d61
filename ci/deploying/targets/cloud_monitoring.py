"""Cloud Monitoring's numbers of a Cloud Run service.

https://cloud.google.com/monitoring/api/metrics_gcp_p_z#gcp-run has the metrics: sampled every minute, and
seen up to three minutes later. So a step that is judged by them lasts that long.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from deploying.rollout.request_counts import Numbers, of_series
from deploying.targets.api_client import Api

_REVISION = "resource.labels.revision_name"
_CLASS = "metric.labels.response_code_class"
_SHORTEST = 60  # seconds that are added up, at least
_PAGE = 1000

Series = Mapping[str, Any]


class Service(Protocol):
    """Which service it is about."""

    @property
    def project(self) -> str:
        """The project."""

    @property
    def region(self) -> str:
        """The region."""

    @property
    def service(self) -> str:
        """The service's name."""


@dataclass(frozen=True)
class Monitoring:
    """The API."""

    api: Api

    async def numbers(self, service: Service, since: datetime) -> dict[str, Numbers]:
        """Return what was counted since a time, by revision."""
        counts = await self._series(service, "request_count", since, _REVISION, _CLASS)
        latencies = await self._series(service, "request_latencies", since, _REVISION)
        return {
            revision: of_series(counts.get(revision, []), latencies.get(revision, []))
            for revision in {*counts, *latencies}
        }

    async def _series(
        self, service: Service, metric: str, since: datetime, *by: str
    ) -> dict[str, list[Series]]:
        """Return a metric's series by revision, each added up over all of the time."""
        now = datetime.now(UTC)
        period = max(_SHORTEST, int((now - since).total_seconds()) + 1)
        query = {
            "filter": f'metric.type="run.googleapis.com/{metric}" AND {_of(service)}',
            "interval.startTime": since.astimezone(UTC).isoformat(),
            "interval.endTime": now.isoformat(),
            "aggregation.alignmentPeriod": f"{period}s",
            "aggregation.perSeriesAligner": "ALIGN_DELTA",
            "aggregation.crossSeriesReducer": "REDUCE_SUM",
            "aggregation.groupByFields": list(by),
            "pageSize": _PAGE,
        }
        found: defaultdict[str, list[Series]] = defaultdict(list)
        answer = await self.api.call("GET", f"/v3/projects/{service.project}/timeSeries", params=query)
        for series in answer.get("timeSeries", []):
            found[series["resource"]["labels"]["revision_name"]].append(series)
        return found


def _of(service: Service) -> str:
    labels = {"service_name": service.service, "location": service.region}
    terms = [f'resource.labels.{name}="{value}"' for name, value in labels.items()]
    return " AND ".join(['resource.type="cloud_run_revision"', *terms])
