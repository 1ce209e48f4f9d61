"""Faults of a cluster during a deployment: a lost node, a restart of the API server, a missing image."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest

from deploying.rollout.golden_rows import Golden
from deploying.rollout.judge import Judge, Judging
from deploying.rollout.target import Target
from deploying.targets.manifests import INSTANCE, NAME
from errors import PipelineError, RolledBack, TakenOver, TargetBusy
from oci.reference import Release
from tests.ci.deploying.targets.labs.lab import LIMITS, worker
from tests.kubernetes.lab import ROOT, ClusterLab, Object

pytestmark = pytest.mark.anyio
FIRST_SHARE = "shift to 33 %"


@dataclass
class Disturbed:
    """A judge that lets something happen before it judges one step."""

    inner: Judging
    step: str
    disturb: Callable[[], Awaitable[None]]

    async def judge(self, target: Target, release: Release, step: str) -> None:
        """Let it happen at that step, then judge."""
        if step == self.step:
            await self.disturb()
        await self.inner.judge(target, release, step)


async def test_of_two_deployers_that_start_at_once_one_goes_live(lab: ClusterLab) -> None:
    outcomes: dict[str, str] = {}

    async def deploy(tag: str) -> None:
        release = await lab.release(tag)
        async with worker(lab, tag) as deployer:
            try:
                await deployer.deploy(release)
            except (TargetBusy, TakenOver) as error:
                outcomes[tag] = error.message
            else:
                outcomes[tag] = "live"

    for tags in (("v1.0.0", "v1.1.0"), ("v1.2.0", "v1.3.0")):  # first releases, then two over one of them
        outcomes.clear()
        async with anyio.create_task_group() as group:
            for tag in tags:
                group.start_soon(deploy, tag)
        (winner,) = [tag for tag in tags if outcomes[tag] == "live"]
        (loser,) = set(tags) - {winner}
        assert f"by {winner} since" in outcomes[loser]
        async with worker(lab) as deployer:
            assert await deployer.users(10) == {winner: 10}


async def test_an_image_that_cannot_be_pulled_is_named(lab: ClusterLab) -> None:
    first = await lab.release("v1.0.0")
    missing = Release(replace(first.image, tag="v1.1.0"), f"sha256:{'0' * 64}")
    async with worker(lab) as deployer:
        await deployer.deploy(first)
        with pytest.raises(
            RolledBack, match=r"does not start: (ErrImagePull|ImagePullBackOff): .*pull.*not found"
        ):
            await deployer.deploy(missing)
        assert await deployer.users(10) == {"v1.0.0": 10}


async def test_a_release_that_stops_starting_is_undone_at_the_deadline(lab: ClusterLab) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")

    async def stop_starting() -> None:
        lab.spoil(second)

    async with worker(lab) as deployer:
        await deployer.deploy(first)
        judge = Disturbed(deployer.judge, "shift to 50 %", stop_starting)
        with pytest.raises(RolledBack, match="milestone2 does not start: (CrashLoopBackOff: back-off|Error)"):
            await deployer.deployment.deploy(second, judge)
        assert await deployer.users(10) == {"v1.0.0": 10}


async def test_a_release_that_runs_but_never_responds_is_named(lab: ClusterLab) -> None:
    mute = lab.publish("v1.0.0", [sys.executable, "-c", "import signal; signal.pause()"], {})
    async with worker(lab) as deployer:
        with pytest.raises(RolledBack, match="milestone2-candidate does not start: NotReady: it runs, but"):
            await deployer.deploy(mute)


async def test_the_deployment_does_not_adopt_candidates_with_a_share(lab: ClusterLab) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")
    seen: dict[str, tuple[int, int, int]] = {}

    async def count() -> None:
        owners = [_find_owner(pod) for pod in lab.pods(f"{NAME}=milestone2")]
        candidates = len(lab.pods(f"{INSTANCE}=milestone2-candidate"))
        status = lab.deployment("milestone2")["status"]
        seen["counts"] = (status["replicas"], len(owners), candidates)
        seen["owners"] = (len(set(owners)), 0, 0)

    async with worker(lab) as deployer:
        await deployer.deploy(first)
        await deployer.deployment.deploy(second, Disturbed(deployer.judge, FIRST_SHARE, count))
        assert await deployer.users(10) == {"v1.1.0": 10}
    assert seen == {"counts": (2, 3, 1), "owners": (2, 0, 0)}


async def test_users_reach_the_candidate_by_its_share_of_the_pods(lab: ClusterLab) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")
    answers: dict[str, int] = {}

    async with worker(lab) as deployer:

        async def send_requests() -> None:
            answers.update(await deployer.users(120))

        await deployer.deploy(first)
        await deployer.deployment.deploy(second, Disturbed(deployer.judge, FIRST_SHARE, send_requests))
    # 40 are expected; one deployment of 10^9 is outside.
    assert sum(answers.values()) == 120
    assert 10 <= answers["v1.1.0"] <= 75


async def test_users_reach_one_candidate_beside_a_single_pod(lab: ClusterLab) -> None:
    single = replace(lab, replicas=1)
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")
    answers: dict[str, int] = {}

    async with worker(single) as deployer:

        async def send_requests() -> None:
            answers.update(await deployer.users(60))

        await deployer.deploy(first)
        await deployer.deployment.deploy(second, Disturbed(deployer.judge, "shift to 50 %", send_requests))
        assert await deployer.users(10) == {"v1.1.0": 10}
    printed = "\n".join(deployer.printed)
    assert "milestone2 shares its traffic by whole instances: 50, 100 %" in printed
    assert re.findall(r"shift to (\d+) %: v1.1.0", printed) == ["50", "100"]
    assert sum(answers.values()) == 60
    assert min(answers["v1.0.0"], answers["v1.1.0"]) >= 6  # by chance fewer once in 10^11 deployments


async def test_a_deployment_waits_for_an_api_server_that_restarts(lab: ClusterLab) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")
    plane = lab.cluster.plane

    async def restart() -> None:
        plane.stop("kube-apiserver")
        group.start_soon(anyio.to_thread.run_sync, plane.start_api_server)

    async with worker(lab) as deployer, anyio.create_task_group() as group:
        await deployer.deploy(first)
        await deployer.deployment.deploy(second, Disturbed(deployer.judge, FIRST_SHARE, restart))
        assert await deployer.users(10) == {"v1.1.0": 10}


async def test_a_deployment_during_which_a_node_is_lost_ends_with_one_live_release(
    lab: ClusterLab,
) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")

    async def lose() -> None:
        (candidate,) = lab.pods(f"{INSTANCE}=milestone2-candidate")
        lost.append(candidate["spec"]["nodeName"])
        lab.cluster.lose_node(lost[0])

    lost: list[str] = []
    async with worker(lab) as deployer:
        await deployer.deploy(first)
        outcome = "live"
        try:
            await deployer.deployment.deploy(second, Disturbed(deployer.judge, FIRST_SHARE, lose))
        except PipelineError as error:
            outcome = str(error)
    try:
        async with worker(lab) as successor:
            await successor.deploy(second, takeover=True)
            assert await successor.users(10) == {"v1.1.0": 10}, outcome
    finally:
        lab.cluster.add_node(lost[0])


async def test_the_projects_own_service_is_deployed_and_judged(lab: ClusterLab, model_dir: Path) -> None:
    folder = lab.cluster.images / "model"
    shutil.copytree(model_dir, folder)
    for each in [folder, *folder.rglob("*")]:
        each.chmod(0o755)
    own = {"PYTHONPATH": str(ROOT), "MODEL_DIR": str(folder)}
    golden = Golden.of((folder / "golden.json").read_bytes(), (folder / "card.json").read_bytes())
    async with worker(lab) as deployer:
        judge = Judge(golden, deployer.client.http, deployer.printed.append, 0, LIMITS)
        for tag in ("v1.0.0", "v1.1.0"):
            release = lab.publish(tag, [sys.executable, "-m", "app"], {**own, "MODEL_VERSION": tag})
            await deployer.deployment.deploy(release, judge)
        assert (await deployer.target.look()).live == str(release)
    assert re.search(
        r"judge, shift to 33 %: .* golden \d+ of \d+ right, .*: fit", "\n".join(deployer.printed)
    )


def _find_owner(pod: Object) -> str:
    (owner,) = pod["metadata"]["ownerReferences"]
    name: str = owner["name"]
    return name
