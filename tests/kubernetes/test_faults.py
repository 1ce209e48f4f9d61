"""Faults of a cluster in the middle of a deployment: a lost node, a restart, an image that is not there."""

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
from errors import PipelineError, RolledBack
from oci.reference import Release
from tests.ci.deploying.targets.labs.lab import LIMITS, worker
from tests.kubernetes.lab import ROOT, ClusterLab, Object

pytestmark = pytest.mark.anyio
FIRST_SHARE = "shift to 33 %"


@dataclass
class Disturbed:
    """A judge in whose time something happens once, at one step."""

    inner: Judging
    step: str
    disturb: Callable[[], Awaitable[None]]

    async def judge(self, target: Target, release: Release, step: str) -> None:
        """Let it happen, then let the verdict fall."""
        if step == self.step:
            await self.disturb()
        await self.inner.judge(target, release, step)


async def test_an_image_that_cannot_be_pulled_is_named(lab: ClusterLab) -> None:
    first = await lab.release("v1.0.0")
    gone = Release(replace(first.image, tag="v1.1.0"), f"sha256:{'0' * 64}")
    async with worker(lab) as somebody:
        await somebody.deploy(first)
        with pytest.raises(RolledBack, match="does not start: ErrImagePull: failed to pull image"):
            await somebody.deploy(gone)
        assert await somebody.users(10) == {"v1.0.0": 10}


async def test_a_release_that_starts_once_and_then_no_more_is_undone_at_the_deadline(lab: ClusterLab) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")

    async def stop_starting() -> None:
        lab.spoil(second)

    async with worker(lab) as somebody:
        await somebody.deploy(first)
        judge = Disturbed(somebody.judge, "shift to 50 %", stop_starting)
        with pytest.raises(RolledBack, match="milestone2 does not start: CrashLoopBackOff: back-off"):
            await somebody.deployment.deploy(second, judge)
        assert await somebody.users(10) == {"v1.0.0": 10}


async def test_candidates_with_a_share_are_never_taken_for_the_deployment_s_own(lab: ClusterLab) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")
    seen: dict[str, tuple[int, int, int]] = {}

    async def count() -> None:
        owners = [_controller(pod) for pod in lab.pods(f"{NAME}=milestone2")]
        candidates = len(lab.pods(f"{INSTANCE}=milestone2-candidate"))
        status = lab.deployment("milestone2")["status"]
        seen["counts"] = (status["replicas"], len(owners), candidates)
        seen["owners"] = (len(set(owners)), 0, 0)

    async with worker(lab) as somebody:
        await somebody.deploy(first)
        await somebody.deployment.deploy(second, Disturbed(somebody.judge, FIRST_SHARE, count))
        assert await somebody.users(10) == {"v1.1.0": 10}
    assert seen == {"counts": (2, 3, 1), "owners": (2, 0, 0)}


async def test_users_reach_the_candidate_by_its_share_of_the_pods(lab: ClusterLab) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")
    counted: dict[str, int] = {}

    async with worker(lab) as somebody:

        async def ask() -> None:
            counted.update(await somebody.users(120))

        await somebody.deploy(first)
        await somebody.deployment.deploy(second, Disturbed(somebody.judge, FIRST_SHARE, ask))
    # 40 are expected; one deployment of 10^9 is outside.
    assert sum(counted.values()) == 120
    assert 10 <= counted["v1.1.0"] <= 75


async def test_an_api_server_that_restarts_is_waited_for(lab: ClusterLab) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")
    plane = lab.cluster.plane

    async def restart() -> None:
        plane.stop("kube-apiserver")
        group.start_soon(anyio.to_thread.run_sync, plane.start_api_server)

    async with worker(lab) as somebody, anyio.create_task_group() as group:
        await somebody.deploy(first)
        patient = replace(somebody.client, attempts=1000, seconds=120, sleep=anyio.sleep)
        target = replace(somebody.target, api=replace(somebody.target.api, client=patient))  # type: ignore[type-var, attr-defined]
        deployment = replace(somebody.deployment, target=target)
        await deployment.deploy(second, Disturbed(somebody.judge, FIRST_SHARE, restart))
        assert await somebody.users(10) == {"v1.1.0": 10}


async def test_a_node_that_is_lost_leaves_a_deployment_that_ends_and_one_release_live(
    lab: ClusterLab,
) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")

    async def lose() -> None:
        (candidate,) = lab.pods(f"{INSTANCE}=milestone2-candidate")
        lost.append(candidate["spec"]["nodeName"])
        lab.cluster.lose_node(lost[0])

    lost: list[str] = []
    async with worker(lab) as somebody:
        await somebody.deploy(first)
        said = "live"
        try:
            await somebody.deployment.deploy(second, Disturbed(somebody.judge, FIRST_SHARE, lose))
        except PipelineError as error:
            said = str(error)
    try:
        async with worker(lab) as heir:
            await heir.deploy(second, takeover=True)
            assert await heir.users(10) == {"v1.1.0": 10}, said
    finally:
        lab.cluster.add_node(lost[0])


async def test_the_projects_own_service_is_deployed_and_judged(lab: ClusterLab, model_dir: Path) -> None:
    folder = lab.cluster.images / "model"
    shutil.copytree(model_dir, folder)
    for each in [folder, *folder.rglob("*")]:
        each.chmod(0o755)
    own = {"PYTHONPATH": str(ROOT), "MODEL_DIR": str(folder)}
    golden = Golden.of((folder / "golden.json").read_bytes(), (folder / "card.json").read_bytes())
    async with worker(lab) as somebody:
        judge = Judge(golden, somebody.client.http, somebody.printed.append, 0, LIMITS)
        for tag in ("v1.0.0", "v1.1.0"):
            release = lab.published(tag, [sys.executable, "-m", "app"], {**own, "MODEL_VERSION": tag})
            await somebody.deployment.deploy(release, judge)
        assert (await somebody.target.look()).live == str(release)
    assert re.search(
        r"judge, shift to 33 %: .* golden \d+ of \d+ right, .*: fit", "\n".join(somebody.printed)
    )


def _controller(pod: Object) -> str:
    (owner,) = pod["metadata"]["ownerReferences"]
    name: str = owner["name"]
    return name
