"""Alerts about deployments, also with an Alertmanager that does not respond."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from deploying.alerts import Alertmanager, Alerts, Place
from deploying.shared_arguments import operator
from errors import (
    InvalidAlertmanager,
    NothingToRestore,
    PipelineError,
    RolledBack,
    TakenOver,
    TargetBusy,
    TargetError,
)
from net.retry_policy import Retrying
from tests.ci.alerted import operations
from tests.ci.connections import no_wait
from tests.ci.deploying.targets.labs.fleet import Fleet, Model

pytestmark = pytest.mark.anyio
PLACE = Place("production", "Swarm milestone2")
WHAT = "the deployment of v1.1.0"
UNDONE = RolledBack("v1.1.0 was rolled back: judge: v1.1.0 is not fit at stage: answered 500\nlive: v1.0.0")


@dataclass
class Listener:
    """Alertmanager with given responses, which keeps the requests."""

    outcome: Callable[[], httpx.Response] = lambda: httpx.Response(200)
    paths: list[str] = field(default_factory=list)
    alerts: list[dict[str, Any]] = field(default_factory=list)
    printed: list[str] = field(default_factory=list)

    def about(self, base: str = "http://alertmanager.test:9093") -> Alerts:
        """Return the alerts that go to it."""
        return Alerts(Alertmanager(base, self._open), self.printed.append)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Retrying]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(self._answer)) as http:
            yield Retrying(http, sleep=no_wait)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.paths.append(request.url.path)
        self.alerts += json.loads(request.content)
        return self.outcome()


def _unreachable() -> httpx.Response:
    raise httpx.ConnectError("refused")


def _garble() -> httpx.Response:
    return httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=b"no gzip")


async def end(alerts: Alerts, error: BaseException | None) -> None:
    """Have a deployment end well, or with an error, which is to come out of it."""
    if error is None:
        async with alerts.about(WHAT, PLACE):
            return
    with pytest.raises(type(error)) as raised:
        async with alerts.about(WHAT, PLACE):
            raise error
    assert raised.value is error


@pytest.mark.parametrize(
    ("error", "severity", "summary"),
    [
        (UNDONE, "warning", "production: the deployment of v1.1.0 was undone"),
        (TargetError("and undoing it failed"), "critical", "production: the deployment of v1.1.0 failed and"),
    ],
)
async def test_a_deployment_that_fails_is_an_alert_with_the_reason(
    error: PipelineError, severity: str, summary: str
) -> None:
    listener = Listener()
    await end(listener.about(), error)
    (alert,) = listener.alerts
    assert listener.paths == ["/api/v2/alerts"]
    assert alert["labels"] == {
        "alertname": "DeploymentFailed",
        "severity": severity,
        "environment": "production",
        "target": "Swarm milestone2",
    }
    assert alert["annotations"]["summary"].startswith(summary)
    assert alert["annotations"]["description"] == error.message
    assert alert["annotations"]["runbook_url"].endswith("/docs/runbook.md#deploymentfailed")
    starts, ends = (datetime.fromisoformat(alert[name]) for name in ("startsAt", "endsAt"))
    assert (ends - starts, starts.tzinfo is None) == (timedelta(days=1), False)


async def test_one_that_goes_well_ends_whatever_alerts_there_are_of_its_place() -> None:
    listener = Listener()
    await end(listener.about(), UNDONE)
    await end(listener.about(), TargetError("unknown"))
    await end(listener.about(), None)
    undone, failed, *over = listener.alerts
    labels = [alert["labels"] for alert in over]
    assert undone["labels"] in labels
    assert failed["labels"] in labels
    assert all(alert["startsAt"] == alert["endsAt"] for alert in over)


@pytest.mark.parametrize("error", [TargetBusy("busy"), TakenOver("taken over"), NothingToRestore("nothing")])
async def test_a_deployment_that_changed_nothing_sends_no_alert(error: PipelineError) -> None:
    listener = Listener()
    await end(listener.about(), error)
    assert listener.alerts == []


async def test_an_error_that_is_not_ours_is_reported_by_its_kind_only() -> None:
    listener = Listener()
    await end(listener.about(), ValueError("ya29.token"))
    assert listener.alerts[0]["annotations"]["description"] == "ValueError; its log says more"
    assert listener.alerts[0]["labels"]["severity"] == "critical"


async def test_a_long_reason_is_cut() -> None:
    listener = Listener()
    await end(listener.about(), TargetError("x" * 5000))
    assert len(listener.alerts[0]["annotations"]["description"]) == 1000


@pytest.mark.parametrize(
    ("outcome", "printed"),
    [
        (_unreachable, "no alert was sent: alertmanager: alertmanager.test: no answer to POST"),
        (_garble, "no alert was sent: alertmanager: Error -3 while decompressing"),
        (lambda: httpx.Response(503), "no alert was sent: alertmanager: /api/v2/alerts answered 503"),
        (
            lambda: httpx.Response(400, json="bad timestamp"),
            'no alert was sent: alertmanager: /api/v2/alerts answered 400 Bad Request: "bad timestamp"',
        ),
    ],
    ids=["unreachable", "garbled", "out of order", "refuses"],
)
async def test_an_alertmanager_that_does_not_respond_is_reported_and_changes_nothing(
    outcome: Callable[[], httpx.Response], printed: str
) -> None:
    listener = Listener(outcome)
    await end(listener.about(), UNDONE)
    assert [line.startswith(printed) for line in listener.printed] == [True]


async def test_an_alert_is_sent_again_after_a_transient_response() -> None:
    answers = [httpx.Response(503), httpx.Response(200)]
    listener = Listener(lambda: answers.pop(0))
    await end(listener.about(), UNDONE)
    assert listener.paths == ["/api/v2/alerts"] * 2
    assert listener.printed == []


async def test_without_an_alertmanager_no_alert_is_sent() -> None:
    printed: list[str] = []
    await end(Alerts(None, printed.append), UNDONE)
    await end(Alerts(None, printed.append), None)
    assert printed == []


async def test_its_address_may_have_a_path() -> None:
    listener = Listener()
    await end(listener.about(Alertmanager.of("https://alerts.test/main/").base), UNDONE)
    assert listener.paths == ["/main/api/v2/alerts"]


@pytest.mark.parametrize(
    "address",
    ["alertmanager:9093", "localhost", "ftp://a.test", "http://", "http://a.test/?b", "http://[::1"],
)
async def test_an_address_that_is_none_is_refused_before_anything_is_deployed(address: str) -> None:
    with pytest.raises(InvalidAlertmanager, match="is no address; give its base, as in http://HOST:9093"):
        await operator(alertmanager=address)


async def test_the_operator_brings_alertmanager_along() -> None:
    assert (await operator(alertmanager="http://localhost:9093")).alertmanager == Alertmanager(
        "http://localhost:9093"
    )
    assert (await operator()).alertmanager is None


async def test_operations_tell_of_what_was_undone_and_of_what_went_well_after_it(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = Listener()
    work, lab = operations(fleet, listener.about().alertmanager, listener.printed, monkeypatch)
    await work.deploy("production", str(await lab.release("v1.0.0")))
    listener.alerts.clear()
    with pytest.raises(RolledBack, match="answered 500"):
        await work.deploy("production", str(await lab.release("v1.1.0", Model("v1.1.0", failing=4))))
    assert [alert["annotations"]["summary"] for alert in listener.alerts] == [
        "production: the deployment of v1.1.0 was undone"
    ]
    assert listener.alerts[0]["labels"]["target"] == "Swarm milestone2"
    await work.deploy("production", str(await lab.release("v1.2.0")))
    await work.rollback("production", None)
    assert [alert["annotations"]["summary"] for alert in listener.alerts[1::2]] == [
        "production: the deployment of v1.2.0 went well",
        "production: the rollback to what was before went well",
    ]
