"""Cloud Run's traffic list: no revision's part is lost, and the parts are 100 percent."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from deploying.rollout.target import SHARES
from deploying.targets import traffic_split
from deploying.targets.traffic_split import revision_entry

LATEST: dict[str, Any] = {"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}
BEFORE: dict[str, list[dict[str, Any]]] = {
    "one": [revision_entry("a", 100)],
    "two": [revision_entry("a", 67), revision_entry("b", 33)],
    "three": [revision_entry("a", 34), revision_entry("b", 33), revision_entry("c", 33)],
    "tagged": [revision_entry("a", 100), revision_entry("b", 0, "old")],
    "itself": [revision_entry("x", 50), revision_entry("a", 50)],
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
    assert traffic_split.split([revision_entry("a", 67), revision_entry("b", 33)], "x", 25) == [
        revision_entry("a", 50),
        revision_entry("b", 25),
        revision_entry("x", 25, "candidate"),
    ]
    assert traffic_split.split([revision_entry("a", 100)], "x", 100) == [
        revision_entry("x", 100, "candidate")
    ]


def test_tags_of_others_stay_without_their_traffic() -> None:
    assert revision_entry("b", 0, "old") in traffic_split.split(BEFORE["tagged"], "x", 100)


def test_a_settled_list_has_no_candidate_and_nothing_that_moves_by_itself() -> None:
    listed = [LATEST, revision_entry("x", 0, "candidate"), revision_entry("b", 0, "old")]
    assert traffic_split.fix_revisions(listed, "newest") == [
        revision_entry("newest", 100),
        revision_entry("b", 0, "old"),
    ]
    assert traffic_split.fix_revisions([revision_entry("x", 100, "candidate")], "x") == [
        revision_entry("x", 100)
    ]
    assert traffic_split.fix_revisions([], "newest") == [revision_entry("newest", 100)]


def test_the_candidate_is_what_has_the_tag() -> None:
    assert traffic_split.candidate([revision_entry("a", 100), revision_entry("x", 0, "candidate")]) == "x"
    assert traffic_split.candidate([revision_entry("a", 100)]) is None


def test_a_list_is_what_is_served_whatever_its_order() -> None:
    listed = [revision_entry("a", 75), revision_entry("x", 25, "candidate")]
    served = [{**revision_entry("x", 25, "candidate"), "uri": "https://x"}, revision_entry("a", 75)]
    assert traffic_split.same(listed, served)
    assert not traffic_split.same(listed, [revision_entry("a", 100)])
