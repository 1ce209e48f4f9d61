"""Kubernetes: owners of fields, deadlines, refusals, and the manifests."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from typing import Any

import httpx
import pytest
import yaml

from deploying.rollout.journal import RELEASE
from deploying.rollout.target import Target
from deploying.targets.manifests import Manifests
from errors import InvalidEnvironment, ReleaseRejected, RolledBack, TargetError
from oci.reference import Release
from tests.ci.deploying.targets.labs import kubernetes_fake
from tests.ci.deploying.targets.labs.fleet import Model
from tests.ci.deploying.targets.labs.kubernetes_fake import TOKEN
from tests.ci.deploying.targets.labs.kubernetes_lab import MANIFESTS, ROOT, KubernetesLab
from tests.ci.deploying.targets.labs.lab import worker

pytestmark = pytest.mark.anyio
FILE = MANIFESTS.read_text()
DEPLOYMENT: dict[str, Any] = Manifests.of(FILE).objects["Deployment"]
POD = DEPLOYMENT["spec"]["template"]["spec"]


def edit(lab: KubernetesLab, manager: str, change: dict[str, Any]) -> httpx.Request:
    """Return another client's edit of the Deployment."""
    return httpx.Request(
        "PATCH",
        "https://cluster.test/apis/apps/v1/namespaces/production/deployments/milestone2",
        params={"fieldManager": manager},
        content=json.dumps({"metadata": {}, **change}).encode(),
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/merge-patch+json"},
    )


async def test_what_another_client_has_set_is_not_written_over(kubernetes_lab: KubernetesLab) -> None:
    first, second = await kubernetes_lab.release("v1.0.0"), await kubernetes_lab.release("v1.1.0")
    async with worker(kubernetes_lab) as operator:
        await operator.deploy(first)
        change = edit(kubernetes_lab, "kubectl-edit", {"spec": {"replicas": 5}})
        assert (await kubernetes_lab.cluster.answer(change)).status_code == 200
        with pytest.raises(RolledBack, match=r'conflict with "kubectl-edit" using apps/v1: \.spec\.replicas'):
            await operator.deploy(second)
        assert await operator.users(10) == {"v1.0.0": 10}


async def test_all_fields_of_another_manager_are_named(kubernetes_lab: KubernetesLab) -> None:
    first, second = await kubernetes_lab.release("v1.0.0"), await kubernetes_lab.release("v1.1.0")
    async with worker(kubernetes_lab) as deployer:
        await deployer.deploy(first)
        change = {"spec": {"replicas": 5, "revisionHistoryLimit": 9}}
        assert (await kubernetes_lab.cluster.answer(edit(kubernetes_lab, "helm", change))).is_success
        named = (
            r'2 conflicts: conflicts with "helm" using apps/v1:\W+spec\.replicas\W+spec\.revisionHistoryLimit'
        )
        with pytest.raises(RolledBack, match=named):
            await deployer.deploy(second)


async def test_what_others_add_stays(kubernetes_lab: KubernetesLab) -> None:
    first, second = await kubernetes_lab.release("v1.0.0"), await kubernetes_lab.release("v1.1.0")
    async with worker(kubernetes_lab) as operator:
        await operator.deploy(first)
        note = {"metadata": {"annotations": {"team": "models"}}}
        await kubernetes_lab.cluster.answer(edit(kubernetes_lab, "kubectl-annotate", note))
        await operator.deploy(second)
    found = kubernetes_lab.cluster.objects["deployments", "milestone2"]
    assert found["metadata"]["annotations"]["team"] == "models"


async def test_a_rollout_that_gets_stuck_is_undone_and_says_what_the_cluster_says(
    kubernetes_lab: KubernetesLab,
) -> None:
    first, second = await kubernetes_lab.release("v1.0.0"), await kubernetes_lab.release("v1.1.0")
    async with worker(kubernetes_lab) as operator:
        await operator.deploy(first)
        started = 0

        def start(name: str, digest: str, environment: dict[str, str] | None = None) -> str:
            nonlocal started
            started += 1  # the candidate without traffic, two with, and one instance of the Deployment
            lab_known[digest].starts = started <= 4
            return begin(name, digest, environment)

        begin, lab_known = kubernetes_lab.fleet.start, kubernetes_lab.fleet.known
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kubernetes_lab.fleet, "start", start)
            with pytest.raises(
                RolledBack, match="milestone2 does not start: CrashLoopBackOff: back-off"
            ) as raised:
                await operator.deploy(second)
        assert "CrashLoopBackOff: back-off" in str(raised.value)
        assert await operator.users(10) == {"v1.0.0": 10}


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({"running": {}}, "NotReady: it runs, but does not pass its startup or readiness probe$"),
        ({"terminated": {"reason": "Error", "exitCode": 3}}, "Error: exit status 3$"),
        ({"terminated": {"reason": "OOMKilled", "exitCode": 137, "message": "x"}}, "OOMKilled: x$"),
        ({"waiting": {}}, "Waiting$"),
    ],
)
async def test_the_state_of_a_container_that_does_not_start_is_the_reason(
    kubernetes_lab: KubernetesLab, state: dict[str, Any], reason: str
) -> None:
    release = await kubernetes_lab.release("v1.0.0", Model("v1.0.0", starts=False))
    kubernetes_lab.cluster.unready = state
    async with worker(kubernetes_lab) as deployer:
        with pytest.raises(RolledBack, match=rf"(?m)milestone2-candidate does not start: {reason}"):
            await deployer.deploy(release)


async def test_a_rollout_that_never_ends_is_ended_at_its_deadline(
    kubernetes_lab: KubernetesLab,
) -> None:
    release = await kubernetes_lab.release("v1.0.0")
    kubernetes_lab.cluster.stuck = True
    async with worker(replace(kubernetes_lab, margin=-120)) as operator:
        with pytest.raises(RolledBack, match="milestone2-candidate does not start: its deadline has passed"):
            await operator.deploy(release)


async def test_what_cannot_be_changed_is_refused_by_name(kubernetes_lab: KubernetesLab) -> None:
    release = await kubernetes_lab.release("v1.0.0")
    async with worker(kubernetes_lab) as operator:
        await operator.deploy(release)
        found = kubernetes_lab.cluster.objects["deployments", "milestone2"]
        found["spec"]["selector"] = {"matchLabels": {"app": "another"}}
        with pytest.raises(RolledBack, match=r"422 .*Invalid: Deployment.apps .* field is immutable"):
            await operator.deploy(await kubernetes_lab.release("v1.1.0"))


async def test_a_token_that_the_cluster_does_not_know_is_reported(kubernetes_lab: KubernetesLab) -> None:
    kubernetes_lab.cluster.token = "another"
    async with worker(kubernetes_lab) as operator:
        with pytest.raises(TargetError, match="Kubernetes: GET .* answered 401 Unauthorized: Unauthorized"):
            await operator.target.look()


async def test_a_deployment_waits_for_an_api_server_that_restarts(kubernetes_lab: KubernetesLab) -> None:
    async with worker(kubernetes_lab) as deployer:
        await deployer.deploy(await kubernetes_lab.release("v1.0.0"))
        kubernetes_lab.cluster.restart = ["stopped"] * 23 + ["starting"] * 3
        await deployer.deploy(await kubernetes_lab.release("v1.1.0"))
        assert kubernetes_lab.cluster.restart == []
        assert await deployer.users(10) == {"v1.1.0": 10}


@pytest.mark.parametrize(
    ("states", "reason"), [(["stopped"] * 9, "All connection attempts failed"), (["starting"], "cannot get")]
)
async def test_a_server_that_was_never_reached_is_not_waited_for(
    kubernetes_lab: KubernetesLab, states: list[str], reason: str
) -> None:
    kubernetes_lab.cluster.restart = states
    async with worker(kubernetes_lab) as deployer:
        with pytest.raises(TargetError, match=reason):
            await deployer.target.look()


async def test_a_server_that_stays_unready_is_given_up(kubernetes_lab: KubernetesLab) -> None:
    async with worker(kubernetes_lab) as deployer:
        await deployer.target.look()
        impatient = replace(deployer.target, api=replace(deployer.target.api, seconds=-1))  # type: ignore[type-var, attr-defined]
        kubernetes_lab.cluster.restart = ["starting"]
        with pytest.raises(TargetError, match="cannot get path"):
            await impatient.look()


async def test_what_runs_but_was_not_deployed_here_is_called_by_its_image(
    kubernetes_lab: KubernetesLab,
) -> None:
    async with worker(kubernetes_lab) as operator:
        await operator.deploy(await kubernetes_lab.release("v1.0.0"))
        template = kubernetes_lab.cluster.objects["deployments", "milestone2"]["spec"]["template"]
        del template["metadata"]["annotations"]
        seen = await operator.target.look()
        assert seen.live.startswith("registry.test/models/milestone2@sha256:")


@pytest.mark.parametrize(
    ("running", "shares"),
    [
        (1, (50, 100)),
        (2, (33, 50, 100)),
        (3, (25, 50, 100)),
        (10, (9, 23, 50, 100)),
        (20, (5, 26, 50, 100)),
        (100, (5, 25, 50, 100)),
    ],
)
async def test_shares_are_the_nearest_that_whole_pods_allow(
    kubernetes_lab: KubernetesLab, running: int, shares: tuple[int, ...]
) -> None:
    async with worker(kubernetes_lab) as operator:
        assert operator.target.shares(json.dumps({"replicas": running})) == shares


async def test_a_single_pod_shares_its_traffic_with_one_candidate_and_the_log_says_so(
    kubernetes_lab: KubernetesLab,
) -> None:
    lab = replace(kubernetes_lab, replicas=1)
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")
    async with worker(lab) as deployer:
        await deployer.deploy(first)
        assert not any("shares its traffic" in line for line in deployer.printed)
        await deployer.deploy(second)
    printed = "\n".join(deployer.printed)
    assert "milestone2 shares its traffic by whole instances: 50, 100 %" in printed
    assert re.findall(r"shift to (\d+) %: v1.1.0", printed) == ["50", "100"]


async def test_the_live_release_s_pods_stay_as_they_are_until_the_last_step(
    kubernetes_lab: KubernetesLab,
) -> None:
    first, second = await kubernetes_lab.release("v1.0.0"), await kubernetes_lab.release("v1.1.0")
    counts: dict[str, dict[str, int]] = {}

    class Counting:
        async def judge(self, target: Target, release: Release, step: str) -> None:
            pods = kubernetes_lab.cluster.pods.values()
            counts[step] = Counter(pod["metadata"]["annotations"][RELEASE].split(":")[1][:6] for pod in pods)

    async with worker(kubernetes_lab) as operator:
        await operator.deploy(first)
        await operator.deployment.deploy(second, Counting())
    assert counts == {
        "stage": {"v1.0.0": 2, "v1.1.0": 1},
        "shift to 33 %": {"v1.0.0": 2, "v1.1.0": 1},
        "shift to 50 %": {"v1.0.0": 2, "v1.1.0": 2},
        "shift to 100 %": {"v1.1.0": 4},
    }


async def test_a_first_release_that_is_undone_has_ended_when_its_failure_is_reported(
    kubernetes_lab: KubernetesLab,
) -> None:
    class Refusing:
        async def judge(self, target: Target, release: Release, step: str) -> None:
            if step == "shift to 100 %":
                raise ReleaseRejected("not fit")

    async with worker(kubernetes_lab) as deployer:
        with pytest.raises(RolledBack, match="not fit"):
            await deployer.deployment.deploy(await kubernetes_lab.release("v1.0.0"), Refusing())
    assert (kubernetes_lab.cluster.pods, kubernetes_lab.cluster.ending) == ({}, {})


async def test_pods_that_do_not_end_in_time_are_named(
    kubernetes_lab: KubernetesLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await kubernetes_lab.release("v1.0.0"), await kubernetes_lab.release("v1.1.0")
    monkeypatch.setattr(kubernetes_fake, "LISTED", 1_000_000)
    async with worker(replace(kubernetes_lab, margin=-40)) as deployer:  # so that no time is left
        await deployer.deploy(first)
        named = r"milestone2-candidate-\d+: still running 0 s after their deletion"
        with pytest.raises(TargetError, match=named):
            await deployer.deploy(second)


async def test_the_pods_of_a_lost_node_are_not_waited_for(
    kubernetes_lab: KubernetesLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await kubernetes_lab.release("v1.0.0"), await kubernetes_lab.release("v1.1.0")
    cluster, end = kubernetes_lab.cluster, kubernetes_lab.cluster._end

    def lose(name: str) -> None:
        cluster.pods[name]["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
        cluster.pods[name]["ready"] = False
        end(name)

    monkeypatch.setattr(kubernetes_fake, "LISTED", 1_000_000)
    monkeypatch.setattr(cluster, "_end", lose)
    async with worker(replace(kubernetes_lab, margin=-40)) as deployer:
        await deployer.deploy(first)
        await deployer.deploy(second)
        assert await deployer.users(10) == {"v1.1.0": 10}
    assert {pod["metadata"]["annotations"][RELEASE] for pod in cluster.ending.values()} >= {str(first)}


def test_pods_pass_the_restricted_standard() -> None:
    container = POD["containers"][0]
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC", "volumes"} & set(POD)
    assert POD["automountServiceAccountToken"] is False


def test_pods_have_all_three_probes_and_are_there_while_nodes_are_drained() -> None:
    container = POD["containers"][0]
    paths = {
        name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")
    }
    assert paths == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/livez"}
    assert DEPLOYMENT["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert Manifests.of(FILE).objects["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1


def test_the_image_is_by_digest_in_the_file_and_in_what_is_applied() -> None:
    assert "@sha256:" in POD["containers"][0]["image"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "no Deployment can be read"),
        ("kind: Service", "no Deployment can be read: KeyError"),
        ("a\n---\nb", "no Deployment can be read: TypeError"),
        (FILE.split("---")[0], "has Deployment with 1 containers; keep one each of Deployment, Service"),
        (f"{FILE}\n---\nkind: Secret\n", "Secret with 1 containers"),
    ],
)
def test_a_file_that_is_not_of_one_of_each_is_refused(text: str, problem: str) -> None:
    with pytest.raises(InvalidEnvironment, match=problem):
        Manifests.of(text)


def test_who_deploys_may_do_what_the_driver_does_and_no_more() -> None:
    rules = yaml.safe_load((ROOT / "deploy/kubernetes/deployer.yaml").read_text())["rules"]
    allowed = {resource: set(rule["verbs"]) for rule in rules for resource in rule["resources"]}
    assert allowed == {
        "deployments": {"get", "create", "patch", "delete"},
        "services": {"create", "patch", "delete"},
        "poddisruptionbudgets": {"create", "patch", "delete"},
        "pods": {"list"},
        "services/proxy": {"get", "create"},
        "pods/proxy": {"get"},
    }
    assert "*" not in json.dumps(rules)


async def test_every_instance_s_numbers_are_counted_and_a_bad_model_is_found_by_them(
    kubernetes_lab: KubernetesLab,
) -> None:
    release = await kubernetes_lab.release("v1.0.0", Model("v1.0.0"))
    async with worker(kubernetes_lab) as operator:
        await operator.deploy(release)
        await operator.users(7)
        seen = await operator.target.look()
        observed = await operator.target.observe(seen, None)  # type: ignore[arg-type]
        assert len(observed["running"]) == 2
        assert sum(numbers.requests for numbers in observed["running"].values()) >= 7
        assert observed["candidate"] == {}
