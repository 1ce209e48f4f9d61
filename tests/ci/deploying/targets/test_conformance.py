"""Conformance of every target: deployments, rollbacks, two operators at once."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace

import httpx
import pytest

from deploying.rollout.journal import Journal
from deploying.rollout.judge import Judging
from deploying.rollout.target import Target
from errors import NothingToRestore, ReleaseRejected, RolledBack, TakenOver, TargetChanged
from oci.reference import Release
from tests.ci.deploying.targets.labs.fleet import Model
from tests.ci.deploying.targets.labs.lab import LIMITS, Lab, Worker, worker

pytestmark = pytest.mark.anyio

BAD = {
    "another model": (Model("v1.1.0", sha256="another"), "says artifact_sha256 'another', not 'the-model'"),
    "another version": (Model("v1.0.9"), "says version 'v1.0.9', not 'v1.1.0'"),
    "wrong predictions": (
        Model("v1.1.0", offset=1e-6),
        r"predicts \d\.000001 for \[\d\.0, 1\.0\], where training",
    ),
    "errors": (Model("v1.1.0", failing=4), "answered 500"),
    "slowness": (Model("v1.1.0", delay=0.6), r"p95 \d+\.\d ms, more than 500\.0 ms"),
    "no start": (Model("v1.1.0", starts=False), "start"),
}


async def live(worker: Worker) -> str:
    """Return what is live."""
    return (await worker.target.look()).live


def outcomes(journal: Journal) -> list[tuple[str, str]]:
    """Return what became of each release by version, the newest first."""
    return [(entry.release.split(":")[-2].partition("@")[0], entry.outcome) for entry in journal.entries]


async def test_a_first_release_and_one_over_it_go_live(lab: Lab) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")
    async with worker(lab) as operator:
        for release, version in ((first, "v1.0.0"), (second, "v1.1.0")):
            assert await operator.deploy(release)
            assert await live(operator) == str(release)
            assert await operator.users(10) == {version: 10}
        journal = (await operator.target.look()).journal
    assert journal.attempt is None
    assert outcomes(journal) == [("v1.1.0", "live"), ("v1.0.0", "live")]


async def test_an_unchanged_release_changes_nothing_and_says_so(lab: Lab) -> None:
    release = await lab.release("v1.0.0")
    async with worker(lab) as operator:
        await operator.deploy(release)
    async with worker(lab) as another:
        assert not await another.deploy(release)
        assert another.mortal.changes == []
        assert another.printed == [f"{'':10}{another.target.name} runs {release} already; nothing to do"]


@pytest.mark.parametrize("fault", BAD)
async def test_a_bad_release_undoes_itself_and_the_journal_says_why(lab: Lab, fault: str) -> None:
    model, why = BAD[fault]
    first, bad = await lab.release("v1.0.0"), await lab.release("v1.1.0", model)
    async with worker(lab) as operator:
        await operator.deploy(first)
    async with worker(
        lab, limits=replace(LIMITS, p95_seconds=0.5 if fault == "slowness" else 60)
    ) as operator:
        with pytest.raises(RolledBack, match=why) as raised:
            await operator.deploy(bad)
        assert raised.value.message.endswith(f"\nlive: {first}")
        seen = await operator.target.look()
        assert (seen.live, seen.candidate, seen.journal.attempt) == (str(first), None, None)
        assert outcomes(seen.journal) == [("v1.1.0", "rolled back"), ("v1.0.0", "live")]
        assert re.search(why, seen.journal.entries[0].why)
        assert await operator.users(10) == {"v1.0.0": 10}


@dataclass
class Used:
    """A judge of a candidate that users ask, too, once it has a share of the traffic."""

    inner: Judging
    http: httpx.AsyncClient

    async def judge(self, target: Target, release: Release, step: str) -> None:
        """Ask as users do, then let the verdict fall."""
        address = (await target.look()).candidate
        for _ in range(10 if step.startswith("shift") and address else 0):
            assert address
            sent = {"json": {"features": [1, 1]}, "headers": await address.headers()}
            (await self.http.post(f"{address.url}/predict", **sent)).raise_for_status()  # type: ignore[arg-type]
        await self.inner.judge(target, release, step)


async def test_a_model_that_is_wrong_for_users_is_undone_at_the_first_share(lab: Lab) -> None:
    turning = Model("v1.1.0", offset=1, right=10)  # more requests than there are without traffic
    first, bad = await lab.release("v1.0.0"), await lab.release("v1.1.0", turning)
    async with worker(lab) as operator:
        await operator.deploy(first)
        share = operator.target.shares((await operator.target.look()).snapshot)[0]
        assert share < 100
        with pytest.raises(RolledBack, match=rf"not fit at shift to {share} %.* predicts ") as raised:
            await operator.deployment.deploy(bad, Used(operator.judge, operator.client.http))
        assert f"\nat most {share} % of the traffic went to it\n" in str(raised.value)
        said = "\n".join(operator.printed)
        assert re.findall(r"shift to (\d+) %: v1.1.0", said) == [str(share)]
        assert f"v1.1.0 is undone; at most {share} % of the traffic went to it" in said
        assert await operator.users(10) == {"v1.0.0": 10}


@pytest.mark.parametrize("fault", ["wrong predictions", "no start"])
async def test_a_bad_first_release_leaves_nothing(lab: Lab, fault: str) -> None:
    bad = await lab.release("v1.1.0", BAD[fault][0])
    async with worker(lab) as operator:
        with pytest.raises(RolledBack, match="live: nothing, as before"):
            await operator.deploy(bad)
        assert not (await operator.target.look()).version


async def test_a_release_that_was_bad_may_be_deployed_again(lab: Lab) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0", Model("v1.1.0", starts=False))
    async with worker(lab) as operator:
        await operator.deploy(first)
        with pytest.raises(RolledBack):
            await operator.deploy(second)
        lab.mend(second)
        assert await operator.deploy(second)
        assert await operator.users(10) == {"v1.1.0": 10}


@dataclass
class Interrupted:
    """A judge in whose time something else happens."""

    what: str
    lab: Lab
    release: Release

    async def judge(self, target: Target, release: Release, step: str) -> None:
        """Let it happen when everything goes to the candidate."""
        if step != "shift to 100 %":
            return
        async with worker(self.lab, "the other one") as other:
            await (other.rollback() if self.what == "rollback" else other.deploy(self.release))


async def test_of_two_deployments_at_once_the_second_is_refused_by_name(lab: Lab) -> None:
    first, second, third = [await lab.release(tag) for tag in ("v1.0.0", "v1.1.0", "v1.2.0")]
    async with worker(lab, "the one") as one:
        await one.deploy(first)
        with pytest.raises(
            RolledBack, match=r"a deploy of \S+:v1.1.0@\S+ is under way, .* by the one since 20"
        ):
            await one.deployment.deploy(second, Interrupted("deploy", lab, third))
        assert await live(one) == str(first)


async def test_a_rollback_takes_a_running_deployment_over_which_then_stops(lab: Lab) -> None:
    first, second = await lab.release("v1.0.0"), await lab.release("v1.1.0")
    async with worker(lab, "the one") as one:
        await one.deploy(first)
        with pytest.raises(TakenOver, match="taken over by another deployment, which has ended"):
            await one.deployment.deploy(second, Interrupted("rollback", lab, second))
        seen = await one.target.look()
        assert (seen.live, seen.candidate) == (str(first), None)
        assert seen.journal.entries[0].why == "rolled back by the other one"


async def test_a_rollback_restores_the_last_good_release_or_that_of_a_version(lab: Lab) -> None:
    releases = [await lab.release(tag) for tag in ("v1.0.0", "v1.1.0", "v1.2.0")]
    async with worker(lab) as operator:
        for release in releases:
            await operator.deploy(release)
        assert await operator.rollback() == str(releases[1])
        assert await operator.users(10) == {"v1.1.0": 10}
        assert await operator.rollback("v1.0.0") == str(releases[0])
        assert await operator.users(10) == {"v1.0.0": 10}
        journal = (await operator.target.look()).journal
        assert outcomes(journal) == [
            ("v1.2.0", "rolled back"),
            ("v1.1.0", "rolled back"),
            ("v1.0.0", "live"),
        ]
        for version in (None, "v1.2.0", "v0.0.1"):
            with pytest.raises(NothingToRestore, match="there was no good release"):
                await operator.rollback(version)


async def test_nothing_is_restored_where_nothing_is(lab: Lab) -> None:
    async with worker(lab) as operator:
        with pytest.raises(NothingToRestore, match="no good release before"):
            await operator.rollback()


async def test_what_was_changed_since_it_was_seen_is_not_written_over(lab: Lab) -> None:
    release = await lab.release("v1.0.0")
    async with worker(lab) as operator:
        await operator.deploy(release)
        for _ in range(20):  # a controller may write the status in between
            seen = await operator.target.look()
            with suppress(TargetChanged):
                # Kubernetes takes what changes nothing at any version.
                await operator.target.record(seen, replace(seen.journal, entries=()))
                break
        with pytest.raises(TargetChanged):
            await operator.target.record(seen, seen.journal)
        with pytest.raises(TargetChanged):
            await operator.target.create(release, seen.journal)


async def test_a_judge_needs_a_candidate(lab: Lab) -> None:
    release = await lab.release("v1.0.0")
    async with worker(lab) as operator:
        await operator.deploy(release)
        with pytest.raises(ReleaseRejected, match="has no candidate to judge"):
            await operator.judge.judge(operator.target, release, "stage")
