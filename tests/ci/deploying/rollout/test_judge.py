"""Judge: duration of a step, number of golden rows sent, and the comparison with the running release."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any

import httpx
import pytest

from deploying.rollout.golden_rows import Golden
from deploying.rollout.journal import Attempt, Journal, Lock
from deploying.rollout.judge import STAGE, Judge
from deploying.rollout.request_counts import Numbers
from deploying.rollout.target import SHARES, WHOLE, Address, Observed, Seen
from deploying.rollout.verdict import GoldenResults, Limits
from errors import ReleaseRejected, SmokeError
from oci.reference import Image, Release
from tests.ci.deploying.targets.labs.fleet import GOLDEN, Fleet, Model

pytestmark = pytest.mark.anyio
DIGEST = f"sha256:{'a' * 64}"
RELEASE = Release(Image("registry.test", "m", "v1.0.0"), DIGEST)


def many(requests: int, errors: int = 0, seconds: float = 0.01) -> Numbers:
    return Numbers(requests, errors, {seconds: requests})


@dataclass
class Watched:
    """A target whose numbers are given beforehand, one look after another."""

    looks: list[tuple[Numbers, Numbers]]
    whole: bool = False
    lag: float = 0
    name: str = "a target"
    slept: list[float] = field(default_factory=list)

    async def look(self) -> Seen:
        attempt = Attempt("deploy", str(RELEASE), STAGE, "what runs", Lock("an operator", "key", "", ""))
        return Seen("1", Journal(attempt), candidate=Address("http://fleet/candidate"))

    def shares(self, snapshot: str) -> tuple[int, ...]:
        return WHOLE if self.whole else SHARES

    async def observe(self, seen: Seen, since: datetime) -> Observed:
        candidate, running = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        return {"candidate": {"one": candidate}, "running": {"one": running}}

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.fixture
def fleet() -> Fleet:
    """Return a fleet with one candidate."""
    fleet = Fleet(known={DIGEST: Model("v1.0.0")})
    fleet.start("candidate", DIGEST)
    return fleet


def judge(fleet: Fleet, target: Watched, printed: list[str], **limits: Any) -> Judge:
    """Return a judge of the candidate."""
    http = httpx.AsyncClient(transport=httpx.ASGITransport(fleet.app()))
    chosen = Limits(**{"requests": 10, "timed_requests": 100, "p95_seconds": 60, **limits})
    return Judge(GOLDEN, http, printed.append, 5, chosen, target.sleep)


async def judge_step(
    fleet: Fleet, target: Any, step: str = "shift to 5 %", **limits: Any
) -> tuple[int, list[str]]:
    """Return how many golden rows were sent, and the printed lines."""
    printed: list[str] = []
    before = fleet.running["candidate"].requests
    await judge(fleet, target, printed, **limits).judge(target, RELEASE, step)
    return fleet.running["candidate"].requests - before, printed


async def test_golden_rows_make_up_for_missing_requests_each_row_at_least_once(fleet: Fleet) -> None:
    for requests, golden in ((0, 10), (3, 7), (9, 4), (500, 4)):
        target = Watched([(Numbers(), Numbers()), (many(requests), many(100))])
        assert (await judge_step(fleet, target))[0] == golden


async def test_a_step_lasts_as_long_as_configured_or_as_the_numbers_lag(fleet: Fleet) -> None:
    for lag, length in ((0, 5), (240, 240)):
        target = Watched([(Numbers(), Numbers())], lag=lag)
        await judge_step(fleet, target)
        assert sum(target.slept) == pytest.approx(length)


async def test_a_candidate_without_traffic_gets_requests_as_from_users_and_is_not_watched(
    fleet: Fleet,
) -> None:
    target = Watched([(Numbers(), Numbers())])
    golden, printed = await judge_step(fleet, target, STAGE)
    assert (golden, target.slept) == (11, [])  # one of them for the contract
    figures = "judge, stage: 0 requests, 0 errors, running 0 requests, 0 errors, golden 10 of 10 right, p95 "
    assert printed[0].startswith(figures)


async def test_where_traffic_is_not_split_the_running_release_is_watched_before_it_is_over(
    fleet: Fleet,
) -> None:
    target = Watched([(Numbers(), Numbers()), (Numbers(), many(1000))], whole=True)
    printed: list[str] = []
    one = judge(fleet, target, printed)
    await one.judge(target, RELEASE, STAGE)  # type: ignore[arg-type]
    assert len(target.slept) == 5
    target.looks = [(Numbers(), Numbers()), (many(1000, 0, 0.5), Numbers())]
    with pytest.raises(ReleaseRejected, match=r"p99 495\.0 ms, more than 1[49]"):
        await one.judge(target, RELEASE, "shift to 100 %")  # type: ignore[arg-type]


async def test_what_plainly_goes_badly_is_not_waited_for(fleet: Fleet) -> None:
    target = Watched([(Numbers(), Numbers()), (many(50, 25), many(100))])
    with pytest.raises(ReleaseRejected, match=r"50 requests, 25 errors.*: 50\.00% errors, more than 1%"):
        await judge_step(fleet, target)
    assert len(target.slept) == 1


async def test_a_few_errors_in_the_beginning_are_waited_for(fleet: Fleet) -> None:
    target = Watched([(Numbers(), Numbers()), (many(5, 1), many(100)), (many(1000, 1), many(1000))])
    _, printed = await judge_step(fleet, target)
    assert len(target.slept) == 5
    assert printed[0].startswith("judge, shift to 5 %: 1000 requests, 1 errors, p99")
    assert printed[0].endswith(": fit")


@pytest.mark.parametrize(
    ("late", "sent", "fault"), [(4, 100, ""), (6, 8, "p95 9000.0 ms, more than 5000.0 ms")]
)
async def test_no_more_requests_are_sent_than_the_verdict_needs_and_one_pause_is_no_reason(
    fleet: Fleet, late: int, sent: int, fault: str
) -> None:
    took = iter([9.0] * late + [0.01] * 100)

    class Timed(Golden):
        async def send(self, http: object, address: object, version: str, times: int) -> GoldenResults:
            return GoldenResults(times, (), list(islice(took, times)))

    printed: list[str] = []
    target: Any = Watched([(Numbers(), Numbers())])
    one = judge(fleet, target, printed, requests=100, p95_seconds=5)
    one.golden = Timed(GOLDEN.rows, GOLDEN.hashes)
    with pytest.raises(ReleaseRejected) if fault else nullcontext():
        await one.judge(target, RELEASE, "shift to 5 %")
    assert f"golden {sent} of {sent} right" in printed[0]
    assert printed[0].endswith(f": {fault or 'fit'}")


async def test_a_service_with_another_identity_gets_no_more_requests(fleet: Fleet) -> None:
    fleet.running["candidate"].sha256 = "another"
    with pytest.raises(
        ReleaseRejected, match="compared with the release: /model says artifact_sha256 'another'"
    ):
        await judge_step(fleet, Watched([(Numbers(), Numbers())]))
    assert fleet.running["candidate"].requests == 0


async def test_a_candidate_that_breaks_the_contract_is_refused(fleet: Fleet) -> None:
    class Careless(Fleet):
        async def model(self, request: Any) -> Any:
            from starlette.responses import JSONResponse

            return JSONResponse({"artifact_sha256": "the-model"})

    careless = Careless(running=fleet.running)
    with pytest.raises(SmokeError, match="the model's card has no median for each feature"):
        await judge_step(careless, Watched([(Numbers(), Numbers())]), STAGE)
