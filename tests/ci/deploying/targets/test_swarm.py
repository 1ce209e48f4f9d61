"""Docker Swarm: ports, versions, and the daemon's messages when something does not start."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Literal

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deploying.rollout.target import Target
from deploying.targets.swarm import Settings, is_conflict, template
from errors import InvalidEnvironment, RolledBack, TargetError
from oci.reference import Release
from tests.ci.connections import serve
from tests.ci.deploying.targets.labs.docker_fake import Object
from tests.ci.deploying.targets.labs.fleet import Model
from tests.ci.deploying.targets.labs.lab import worker
from tests.ci.deploying.targets.labs.swarm_lab import SERVICE, SwarmLab

pytestmark = pytest.mark.anyio
NOW = datetime.now(UTC)
Order = Literal["start-first", "stop-first"]


@pytest.mark.parametrize(
    ("answer", "faster"),
    [
        (httpx.Response(409, json={"message": "name conflicts with an existing object"}), True),
        (httpx.Response(500, json={"message": "rpc error: desc = update out of sequence"}), True),
        (httpx.Response(500, json={"message": "no such node"}), False),
        (httpx.Response(404), False),
    ],
)
def test_a_conflict_is_recognised_by_the_daemon_s_message(answer: httpx.Response, faster: bool) -> None:
    assert is_conflict(answer) == faster


@pytest.mark.parametrize("text", ["", "[]", "TaskTemplate: {}", "{", "TaskTemplate: {ContainerSpec: 1}"])
def test_a_service_without_a_container_is_refused(text: str) -> None:
    with pytest.raises(InvalidEnvironment, match="deploy/swarm: no container can be read"):
        template(text)


@pytest.mark.parametrize(("status", "exit_status"), [(200, 0), (503, 1)])
def test_an_instance_is_healthy_as_long_as_it_is_ready(status: int, exit_status: int) -> None:
    async def readyz(request: Request) -> Response:
        return Response(status_code=status)

    container = template(SERVICE.read_text())["TaskTemplate"]["ContainerSpec"]
    kind, program, *words = container["Healthcheck"]["Test"]
    assert (kind, program) == ("CMD", "/venv/bin/python")
    with serve(Starlette(routes=[Route("/readyz", readyz)])) as address:
        words[-1] = words[-1].replace("8080", address.rpartition(":")[2])
        assert subprocess.run([sys.executable, *words], check=False).returncode == exit_status


def test_the_service_has_no_privileges_and_goes_back_by_itself() -> None:
    service = template(SERVICE.read_text())
    container = service["TaskTemplate"]["ContainerSpec"]
    assert (service["UpdateConfig"]["FailureAction"], service["UpdateConfig"]["Monitor"]) == (
        "rollback",
        3 * 10**9,
    )
    assert (container["ReadOnly"], container["User"], container["CapabilityDrop"]) == (
        True,
        "65532:65532",
        ["ALL"],
    )


@pytest.mark.parametrize(
    ("order", "replicas", "shares"),
    [
        ("stop-first", 1, (100,)),
        ("stop-first", 2, (50, 100)),
        ("stop-first", 4, (25, 100)),
        ("start-first", 1, (50, 100)),
        ("start-first", 2, (33, 100)),
    ],
)
async def test_one_instance_goes_first_where_another_is_left(
    swarm_lab: SwarmLab, order: Order, replicas: int, shares: tuple[int, ...]
) -> None:
    settings = Settings("milestone2", order=order)
    async with worker(replace(swarm_lab, settings=settings)) as operator:
        assert operator.target.shares(json.dumps({"Mode": {"Replicated": {"Replicas": replicas}}})) == shares


@pytest.mark.parametrize(
    ("order", "sharing"),
    [
        ("stop-first", [("milestone2", 1), ("milestone2-candidate", 1)]),
        ("start-first", [("milestone2", 2), ("milestone2-candidate", 1)]),
    ],
)
async def test_with_a_share_the_candidate_has_the_service_s_port_on_a_node(
    swarm_lab: SwarmLab, order: Order, sharing: list[tuple[str, int]]
) -> None:
    first, second = await swarm_lab.release("v1.0.0"), await swarm_lab.release("v1.1.0")
    seen: dict[str, list[tuple[str, int]]] = {}

    class Counting:
        async def judge(self, target: Target, release: Release, step: str) -> None:
            running = Counter(task["ServiceID"] for task in swarm_lab.swarm.tasks if serves(task, 8080))
            seen[step] = sorted(running.items())

    def serves(task: Object, port: int) -> bool:
        spec = swarm_lab.swarm.services[task["ServiceID"]]["Spec"]
        published = spec["EndpointSpec"]["Ports"][0]["PublishedPort"]
        return bool(task["DesiredState"] == "running" and published == port)

    settings = Settings("milestone2", replicas=2, order=order)
    async with worker(replace(swarm_lab, settings=settings)) as operator:
        await operator.deploy(first)
        await operator.deployment.deploy(second, Counting())
        assert (await operator.target.look()).live == str(second)
    share = next(step for step in seen if step != "stage")
    assert seen["stage"] == [("milestone2", 2)]
    assert seen[share] == sharing
    assert Counter(task["ServiceID"] for task in swarm_lab.swarm.tasks if serves(task, 8080)) == {
        "milestone2": 2
    }


async def test_a_service_that_cannot_share_its_traffic_says_so(swarm_lab: SwarmLab) -> None:
    first, second = await swarm_lab.release("v1.0.0"), await swarm_lab.release("v1.1.0")
    alone = replace(swarm_lab, settings=Settings("milestone2", replicas=1, order="stop-first"))
    async with worker(alone) as operator:
        await operator.deploy(first)
        await operator.deploy(second)
        assert any("cannot share its traffic: it will shift all at once" in line for line in operator.printed)


async def test_what_is_deployed_is_by_digest_with_ports_of_its_own(swarm_lab: SwarmLab) -> None:
    release = await swarm_lab.release("v1.0.0")
    async with worker(swarm_lab) as operator:
        await operator.deploy(release)
    spec = swarm_lab.swarm.services["milestone2"]["Spec"]
    assert (
        spec["TaskTemplate"]["ContainerSpec"]["Image"] == f"registry.test/models/milestone2@{release.digest}"
    )
    assert f"IMAGE_DIGEST={release.digest}" in spec["TaskTemplate"]["ContainerSpec"]["Env"]
    assert spec["EndpointSpec"]["Ports"] == [
        {"Protocol": "tcp", "TargetPort": 8080, "PublishedPort": 8080, "PublishMode": "host"}
    ]
    assert list(swarm_lab.swarm.services) == ["milestone2"]


async def test_an_update_that_swarm_took_back_is_undone_and_says_why(swarm_lab: SwarmLab) -> None:
    first, second = await swarm_lab.release("v1.0.0"), await swarm_lab.release("v1.1.0")
    async with worker(swarm_lab) as operator:
        await operator.deploy(first)
        begin, started = swarm_lab.fleet.start, 0

        def start(name: str, digest: str, environment: dict[str, str] | None = None) -> str:
            nonlocal started
            started += 1  # the candidate starts, without traffic and with it, and nothing after that
            return begin(name, digest, environment) if started <= 2 else ""

        async def restore(self: Target, seen: object, snapshot: str) -> None:
            """Wait for nothing, as nothing starts any more."""

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(swarm_lab.fleet, "start", start)
            patch.setattr(type(operator.target), "restore", restore)
            with pytest.raises(RolledBack, match="update rolled back due to failure"):
                await operator.deploy(second)
        assert swarm_lab.swarm.services["milestone2"]["UpdateStatus"]["State"] == "rollback_completed"


async def test_an_update_that_never_ends_is_ended_at_its_deadline(
    swarm_lab: SwarmLab,
) -> None:
    swarm_lab.swarm.state = "preparing"
    release = await swarm_lab.release("v1.0.0")
    async with worker(replace(swarm_lab, settings=Settings("milestone2", deadline=-1))) as operator:
        reason = "milestone2-candidate does not start: -1 s were not enough, and its tasks are preparing"
        with pytest.raises(RolledBack, match=reason):
            await operator.deploy(release)
        seen = await operator.target.look()
        assert not seen.version


async def test_an_instance_that_gives_no_numbers_is_named(swarm_lab: SwarmLab) -> None:
    release = await swarm_lab.release("v1.0.0", Model("v1.0.0"))
    async with worker(swarm_lab) as operator:
        await operator.deploy(release)
        seen = await operator.target.look()
        assert len((await operator.target.observe(seen, NOW))["running"]) == 2
        swarm_lab.swarm.silent = True
        with pytest.raises(TargetError, match=r"Swarm milestone2: no numbers from node-1:8080: ConnectError"):
            await operator.target.observe(seen, NOW)
