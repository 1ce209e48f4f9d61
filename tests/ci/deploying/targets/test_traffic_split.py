"""Cloud Run's traffic list: nobody's part is lost, and the parts are 100 percent."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from deploying.rollout.target import SHARES
from deploying.targets import traffic_split
from deploying.targets.traffic_split import named

LATEST: dict[str, Any] = {"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}
BEFORE: dict[str, list[dict[str, Any]]] = {
    "one": [named("a", 100)],
    "two": [named("a", 67), named("b", 33)],
    "three": [named("a", 34), named("b", 33), named("c", 33)],
    "tagged": [named("a", 100), named("b", 0, "old")],
    "itself": [named("x", 50), named("a", 50)],
    "nothing": [],
}


@pytest.mark.parametrize("percent", SHARES)
@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
def test_a_candidate_gets_its_part_and_the_others_keep_their_proportion(
    before: Sequence[dict[str, Any]], percent: int
) -> None:
    parts = traffic_split.shares(traffic_split.split(before, "x", percent))
    assert sum(parts.values()) == 100
    assert parts["x"] >= percent
    assert all(part > 0 for part in parts.values())
    ones = [part for name, part in sorted(parts.items()) if name != "x"]
    assert all(abs(one - other) <= 1 or one > other for one, other in pairwise(ones))


def test_a_split_has_exactly_the_part_that_is_asked_for() -> None:
    assert traffic_split.split([named("a", 67), named("b", 33)], "x", 25) == [
        named("a", 50),
        named("b", 25),
        named("x", 25, "candidate"),
    ]
    assert traffic_split.split([named("a", 100)], "x", 100) == [named("x", 100, "candidate")]


def test_tags_of_others_stay_without_their_traffic() -> None:
    assert named("b", 0, "old") in traffic_split.split(BEFORE["tagged"], "x", 100)


def test_a_settled_list_has_no_candidate_and_nothing_that_moves_by_itself() -> None:
    listed = [LATEST, named("x", 0, "candidate"), named("b", 0, "old")]
    assert traffic_split.settled(listed, "newest") == [named("newest", 100), named("b", 0, "old")]
    assert traffic_split.settled([named("x", 100, "candidate")], "x") == [named("x", 100)]
    assert traffic_split.settled([], "newest") == [named("newest", 100)]


def test_the_candidate_is_what_has_the_tag() -> None:
    assert traffic_split.candidate([named("a", 100), named("x", 0, "candidate")]) == "x"
    assert traffic_split.candidate([named("a", 100)]) is None


def test_a_list_is_what_is_served_whatever_its_order() -> None:
    listed = [named("a", 75), named("x", 25, "candidate")]
    served = [{**named("x", 25, "candidate"), "uri": "https://x"}, named("a", 75)]
    assert traffic_split.same(listed, served)
    assert not traffic_split.same(listed, [named("a", 100)])
