"""Alerts about deployments: sent to Alertmanager when one fails or is rolled back, ended by a later success.

https://prometheus.io/docs/alerting/latest/clients/ has the API. Alerts with the same labels are one alert; it
ends when it is sent again with an end that has come, or at the end that it was sent with.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Self, get_args

import httpx

from errors import (
    InvalidAlertmanager,
    NoAnswer,
    NotAlerted,
    NothingToRestore,
    PipelineError,
    RolledBack,
    TakenOver,
    TargetBusy,
)
from net.http_responses import describe_response
from net.retry_policy import Retrying, patient

NAME = "DeploymentFailed"
RUNBOOK = "https://github.com/OWNER/NAME/blob/main/docs/runbook.md#deploymentfailed"
_PATH = "/api/v2/alerts"
_LASTS = timedelta(days=1)  # unless a deployment to the same place goes well before
_DESCRIPTION = 1000  # characters
# After these errors nothing was changed, or another deployment has taken over and sends its own alerts.
_NOTHING_FAILED = (NothingToRestore, TakenOver, TargetBusy)

Severity = Literal["critical", "warning"]


@dataclass(frozen=True)
class Place:
    """Place of a deployment: the environment's name in deploy/environments.toml, and its target's name."""

    environment: str
    target: str


@dataclass(frozen=True)
class Alert:
    """An alert as the API takes it; times are ISO 8601."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    startsAt: str
    endsAt: str


@dataclass(frozen=True)
class Alertmanager:
    """Alertmanager at a base address."""

    base: str
    connect: Callable[[], AbstractAsyncContextManager[Retrying]] = patient

    @classmethod
    def of(cls, address: str) -> Self:
        """Return the one at an address; raises InvalidAlertmanager when it is none."""
        try:
            url = httpx.URL(address)
        except httpx.InvalidURL:
            url = httpx.URL()
        if url.scheme not in ("http", "https") or not url.host or url.query or url.fragment:
            raise InvalidAlertmanager(
                f"alertmanager: {address!r} is no address; give its base, as in http://HOST:9093"
            )
        return cls(address.rstrip("/"))

    async def post(self, alerts: list[Alert]) -> None:
        """Send alerts; raises NotAlerted when they were not taken."""
        async with self.connect() as client:
            request = client.http.build_request(
                "POST", f"{self.base}{_PATH}", json=[asdict(each) for each in alerts]
            )
            try:
                answer = await client.send(request)
            except NoAnswer as error:
                raise NotAlerted(f"alertmanager: {error.message}") from None
            except httpx.HTTPError as error:
                raise NotAlerted(f"alertmanager: {error}") from None
        if not answer.is_success:
            raise NotAlerted(f"alertmanager: {request.url.path} answered {describe_response(answer, None)}")


@dataclass(frozen=True)
class Alerts:
    """Reports to Alertmanager, if there is one, how deployments end; `tell` prints a failure to report."""

    alertmanager: Alertmanager | None
    tell: Callable[[str], None]

    @asynccontextmanager
    async def about(self, what: str, place: Place) -> AsyncIterator[None]:
        """Report how the block ends. The block's own error is raised whether or not the report succeeds."""
        try:
            yield
        except _NOTHING_FAILED:
            raise
        except Exception as error:
            await self._post([alert_failure(what, place, error, datetime.now(UTC))])
            raise
        await self._post(list(end_alerts(what, place, datetime.now(UTC))))

    async def _post(self, alerts: list[Alert]) -> None:
        if self.alertmanager is None:
            return
        try:
            await self.alertmanager.post(alerts)
        except NotAlerted as error:
            self.tell(f"no alert was sent: {error.message}")


def alert_failure(what: str, place: Place, error: Exception, now: datetime) -> Alert:
    """Return the alert for a failure: only a warning after a rollback, as users are served then."""
    undone = isinstance(error, RolledBack)
    # What is not ours may have anything in it, tokens too.
    why = error.message if isinstance(error, PipelineError) else f"{type(error).__name__}; its log says more"
    end = "was undone" if undone else "failed and was not undone"
    annotations = {
        "summary": f"{place.environment}: {what} {end}",
        "description": why[:_DESCRIPTION],
        "runbook_url": RUNBOOK,
    }
    return Alert(_labels(place, "warning" if undone else "critical"), annotations, *_times(now, now + _LASTS))


def end_alerts(what: str, place: Place, now: datetime) -> Iterator[Alert]:
    """Yield the ends of whatever alerts there may be of an earlier deployment to the place."""
    annotations = {"summary": f"{place.environment}: {what} went well", "runbook_url": RUNBOOK}
    for severity in get_args(Severity):
        yield Alert(_labels(place, severity), annotations, *_times(now, now))


def _labels(place: Place, severity: Severity) -> dict[str, str]:
    return {"alertname": NAME, "severity": severity, **asdict(place)}


def _times(start: datetime, end: datetime) -> tuple[str, str]:
    return start.isoformat(), end.isoformat()
