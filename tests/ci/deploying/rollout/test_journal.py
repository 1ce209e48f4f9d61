"""What a target keeps about its deployments, and how it is read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from deploying.rollout.journal import Attempt, Entry, Journal, Lock, stamp
from deploying.rollout.journal_report import report
from deploying.rollout.target import Seen, Share
from errors import InvalidJournal

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
LOCK = Lock("acme/model run 7", "key", stamp(NOW), stamp(NOW + timedelta(seconds=900)))
V1, V2, V3 = (f"registry.test/m:v1.{minor}.0@sha256:{str(minor) * 64}" for minor in range(3))
ATTEMPT = Attempt("deploy", V3, "shift to 25 %", "before", LOCK)
ENTRIES = (Entry(V2, "live", stamp(NOW), snapshot="two"), Entry(V1, "live", stamp(NOW), snapshot="one"))


@pytest.mark.parametrize("journal", [Journal(), Journal(ATTEMPT, ENTRIES), Journal(None, ENTRIES)])
def test_a_journal_is_read_as_it_was_written(journal: Journal) -> None:
    assert Journal.of(journal.text()) == journal


def test_the_oldest_entries_go_when_an_annotation_would_be_too_long() -> None:
    long = tuple(replace(ENTRIES[0], at=str(number), snapshot="x" * 60_000) for number in range(4))
    kept = Journal.of(Journal(ATTEMPT, long).text())
    assert (kept.attempt, kept.entries) == (ATTEMPT, long[:3])
    alone = replace(ATTEMPT, snapshot="x" * 300_000)
    assert Journal.of(Journal(alone, long).text()) == Journal(alone)


def test_no_annotation_is_an_empty_journal() -> None:
    assert Journal.of(None) == Journal.of("") == Journal()


@pytest.mark.parametrize("text", ["{", "[]", '{"attempt":{"lock":{}}}', '{"entries":[{"x":2}]}', "1"])
def test_what_was_not_written_here_is_refused(text: str) -> None:
    with pytest.raises(InvalidJournal, match="annotation milestone2/journal .* remove it to start anew"):
        Journal.of(text)


def test_a_lock_is_held_until_its_time_is_up_wherever_the_clock_stands() -> None:
    assert LOCK.held(NOW.astimezone(timezone(timedelta(hours=9))))
    assert not LOCK.held(NOW + timedelta(seconds=900))


def test_an_undone_deployment_is_one_more_entry_and_old_ones_go() -> None:
    why = replace(ATTEMPT, why="w" * 5000)
    undone = Journal(ATTEMPT, ENTRIES * 6).undone(why, NOW)
    assert undone.attempt is None
    assert (undone.entries[0].release, undone.entries[0].outcome) == (V3, "rolled back")
    assert (len(undone.entries), len(undone.entries[0].why)) == (10, 1000)


def test_a_rollback_marks_what_was_live() -> None:
    attempt = Attempt("rollback", V2, "restore", "one", LOCK, "rolled back by me")
    undone = Journal(attempt, ENTRIES).undone(attempt, NOW)
    assert [(each.release, each.outcome, each.why) for each in undone.entries] == [
        (V2, "rolled back", "rolled back by me"),
        (V1, "live", ""),
    ]


def test_the_good_release_is_the_newest_that_is_not_live_or_of_the_version_asked_for() -> None:
    journal = Journal(None, (Entry(V3, "rolled back", ""), *ENTRIES))
    assert [journal.good(live) for live in (V3, V2, V1)] == [ENTRIES[0], ENTRIES[1], ENTRIES[0]]
    assert journal.good(V2, "v1.0.0") == ENTRIES[1]
    assert journal.good(V2, "v1.2.0") is None
    assert journal.good(V1, "v1.0.0") is None


def test_a_report_says_who_is_live_what_is_under_way_and_why_what_was_rolled_back() -> None:
    gone = Entry(V3, "rolled back", stamp(NOW), "judge: v1.2.0 is not fit\nand more")
    shares = (Share(V2, "", 75), Share(V3, "", 25))
    told = report("Cloud Run", Seen("1", Journal(replace(ATTEMPT, why="late"), (gone, *ENTRIES)), shares))
    assert told.splitlines() == [
        "Cloud Run",
        f"   75 % {V2}",
        f"   25 % {V3}",
        f"  under way: deploy of {V3}, at 'shift to 25 %', by acme/model run 7 since "
        "2026-07-01T12:00:00+00:00 (held until 2026-07-01T12:15:00+00:00): late",
        f"  2026-07-01T12:00:00+00:00  rolled back  {V3}: judge: v1.2.0 is not fit",
        f"  2026-07-01T12:00:00+00:00  live         {V2}",
        f"  2026-07-01T12:00:00+00:00  was live     {V1}",
    ]
    assert report("Swarm", Seen()) == "Swarm\n  nothing is live"
