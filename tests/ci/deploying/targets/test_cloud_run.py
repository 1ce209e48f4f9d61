"""Cloud Run: names of revisions, shares at each step, changes by hand, and access."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from deploying.rollout.target import Target
from deploying.targets.cloud_run import CloudRun, letting_in
from errors import NotStarted, TargetError
from oci.reference import Release
from tests.ci.deploying.targets.labs.cloud_run_lab import CloudRunLab
from tests.ci.deploying.targets.labs.fleet import Model
from tests.ci.deploying.targets.labs.lab import worker

pytestmark = pytest.mark.anyio


@dataclass
class Watching:
    """A judge who only writes down who has which part of the traffic, and who answers."""

    lab: CloudRunLab
    shares: list[dict[str, int]] = field(default_factory=list)

    async def judge(self, target: Target, release: Release, step: str) -> None:
        """Look, and ask twenty times."""
        seen = await target.look()
        assert seen.candidate
        async with worker(self.lab) as user:
            self.shares.append(await user.users(20))


async def test_traffic_shifts_in_steps_and_users_are_split_just_so(google_lab: CloudRunLab) -> None:
    first, second = await google_lab.release("v1.0.0"), await google_lab.release("v1.1.0")
    watching = Watching(google_lab)
    async with worker(google_lab) as operator:
        await operator.deploy(first)
        await operator.deployment.deploy(second, watching)
    assert watching.shares == [
        {"v1.0.0": 20},
        {"v1.0.0": 19, "v1.1.0": 1},
        {"v1.0.0": 15, "v1.1.0": 5},
        {"v1.0.0": 10, "v1.1.0": 10},
        {"v1.1.0": 20},
    ]


async def test_a_revision_is_named_after_version_and_fingerprint_and_says_what_it_is(
    google_lab: CloudRunLab,
) -> None:
    release = await google_lab.release("v1.0.0")
    async with worker(google_lab) as operator:
        await operator.deploy(release)
        seen = await operator.target.look()
        (entry,) = seen.raw["traffic"]
        name = google_lab.settings.service
        assert entry["revision"] == f"{name}-v1-0-0-{operator.target.fingerprint(release)}"
        template = seen.raw["template"]
        assert template["annotations"]["milestone2/release"] == str(release)
        (container,) = template["containers"]
        assert container["image"].endswith(f"@{release.digest}")
        assert container["env"] == [{"name": "IMAGE_DIGEST", "value": release.digest}]
        assert container["startupProbe"]["httpGet"]["path"] == "/readyz"


async def test_another_configuration_of_the_same_digest_is_another_revision(google_lab: CloudRunLab) -> None:
    release = await google_lab.release("v1.0.0")
    async with worker(google_lab) as operator:
        await operator.deploy(release)
    larger = replace(google_lab, settings=replace(google_lab.settings, memory="1Gi"))
    async with worker(larger) as operator:
        assert await operator.deploy(release)
        assert (await operator.target.look()).raw["template"]["containers"][0]["resources"]["limits"] == {
            "cpu": "1",
            "memory": "1Gi",
        }


async def test_a_collector_runs_beside_each_instance_where_one_is_set(google_lab: CloudRunLab) -> None:
    release = await google_lab.release("v1.0.0")
    settings = replace(google_lab.settings, collector="us-docker.pkg.dev/google/collector:1")
    async with worker(replace(google_lab, settings=settings)) as operator:
        await operator.deploy(release)
        assert await operator.users(1) == {"v1.0.0": 1}
        service, collector = (await operator.target.look()).raw["template"]["containers"]
    assert (service["ports"][0]["containerPort"], service["image"].endswith(release.digest)) == (8080, True)
    assert (collector["name"], collector["image"]) == ("collector", "us-docker.pkg.dev/google/collector:1")
    assert "ports" not in collector


async def test_a_long_name_is_cut_but_not_its_fingerprint(google_lab: CloudRunLab) -> None:
    lab = replace(google_lab, settings=replace(google_lab.settings, service="a" * 49))
    release = await lab.release(f"v1.0.0-{'rc' * 20}")
    async with worker(lab) as operator:
        await operator.deploy(release)
        (entry,) = (await operator.target.look()).raw["traffic"]
        assert re.fullmatch(r"a{49}-v1-0-[0-9a-f]{8}", entry["revision"])


async def test_traffic_that_was_set_by_hand_is_what_is_restored(google_lab: CloudRunLab) -> None:
    bad = await google_lab.release("v1.1.0", Model("v1.1.0", offset=1))
    first = await google_lab.release("v1.0.0")
    async with worker(google_lab) as operator:
        await operator.deploy(first)
        target: Any = operator.target
        seen = await target.look()
        latest = [{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}]
        await target._wait(await target._begin(seen, traffic=latest))
        with pytest.raises(Exception, match=r"live: .*:v1\.0\.0@"):
            await operator.deploy(bad)
        assert [each.get("revision") for each in (await target.look()).raw["traffic"]] == [
            seen.raw["traffic"][0]["revision"]
        ]


async def test_what_was_not_deployed_here_is_called_by_its_revision(google_lab: CloudRunLab) -> None:
    release = await google_lab.release("v1.0.0")
    async with worker(google_lab) as operator:
        target: Any = operator.target
        body = {
            "template": {"revision": f"{google_lab.settings.service}-by-hand", **target._template(release)}
        }
        path, _, name = google_lab.settings.path.rpartition("/")
        await target._wait(await target.api.call("POST", path, params={"serviceId": name}, json=body))
        seen = await target.look()
        assert seen.live == f"{google_lab.settings.service}-by-hand"
        assert await operator.deploy(release)
        assert (await target.look()).live == str(release)


async def test_an_operation_that_is_never_done_is_given_up(google_lab: CloudRunLab) -> None:
    async with worker(google_lab) as operator:
        assert isinstance(operator.target, CloudRun)
        late = replace(operator.target, settings=replace(google_lab.settings, deadline=-1))
        with pytest.raises(NotStarted, match="not done in -1 s: projects/"):
            await late._wait({"name": "projects/p/locations/l/operations/o"})


async def test_a_release_that_fails_again_and_again_runs_out_of_names(google_lab: CloudRunLab) -> None:
    first = await google_lab.release("v1.0.0")
    bad = await google_lab.release("v1.1.0", Model("v1.1.0", starts=False))
    async with worker(replace(google_lab, names=2)) as operator:
        await operator.deploy(first)
        for why in ("failed to start", "failed to start", "has failed 2 times; release another version"):
            with pytest.raises(Exception, match=why):
                await operator.deploy(bad)


async def test_a_shift_without_a_candidate_is_refused(google_lab: CloudRunLab) -> None:
    release = await google_lab.release("v1.0.0")
    async with worker(google_lab) as operator:
        await operator.deploy(release)
        seen = await operator.target.look()
        with pytest.raises(TargetError, match="nothing is tagged 'candidate'; deploy again"):
            await operator.target.shift(seen, release, seen.snapshot, 5)


async def test_without_a_service_account_there_is_no_id_token(google_lab: CloudRunLab) -> None:
    async with worker(google_lab) as operator:
        federation = google_lab.federation(operator.client)
        federation.identity = replace(federation.identity, service_account=None)
        assert await letting_in(federation)("https://service.test")() == {}
        let_in = letting_in(google_lab.federation(operator.client))("https://service.test")
        token = (await let_in())["Authorization"]
        assert token.startswith("Bearer ey")
        assert (await let_in())["Authorization"] == token
