"""Alerts of a failed deployment, until one succeeds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploying.alerts import Alertmanager
from errors import RolledBack, TargetError
from tests.ci.alerted import operations
from tests.ci.deploying.targets.labs.fleet import Fleet, Model, run_fleet
from tests.monitoring.programs import needed
from tests.monitoring.watched import run_alertmanager

pytestmark = [needed, pytest.mark.anyio]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with run_fleet() as fleet:
        yield fleet


async def test_a_deployment_that_is_undone_alerts_the_team_until_one_succeeds(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with run_alertmanager(tmp_path) as (receiver, alerts):
        manager = Alertmanager.of(f"http://{alerts.address}")
        work, lab = operations(fleet, manager, [], monkeypatch)
        await work.deploy("production", str(await lab.release("v1.0.0")))
        bad = str(await lab.release("v1.1.0", Model("v1.1.0", failing=4)))
        with pytest.raises(RolledBack):
            await work.deploy("production", bad)
        undone = receiver.wait_for(lambda alert: alert.status == "firing")
        await work.deploy("production", str(await lab.release("v1.2.0")))
        over = receiver.wait_for(lambda alert: alert.status == "resolved")
        assert receiver.names() == {"DeploymentFailed"}
    assert undone.receiver == "team"
    assert undone.annotations["summary"] == "production: the deployment of v1.1.0 was undone"
    assert "answered 500" in undone.annotations["description"]
    assert over.labels == undone.labels


async def test_a_deployment_that_is_neither_live_nor_undone_alerts_the_pager(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unable(*_: object) -> None:
        raise TargetError("Docker: answered 500")

    with run_alertmanager(tmp_path) as (receiver, alerts):
        work, lab = operations(fleet, Alertmanager.of(f"http://{alerts.address}"), [], monkeypatch)
        await work.deploy("production", str(await lab.release("v1.0.0")))
        monkeypatch.setattr("deploying.targets.swarm.Swarm.stage", unable)
        monkeypatch.setattr("deploying.targets.swarm.Swarm.restore", unable)
        with pytest.raises(TargetError, match="undoing it failed"):
            await work.deploy("production", str(await lab.release("v1.1.0")))
        alert = receiver.wait_for(lambda alert: alert.name == "DeploymentFailed")
    assert (alert.receiver, alert.labels["severity"]) == ("pager", "critical")
    assert alert.annotations["summary"].endswith("failed and was not undone")
