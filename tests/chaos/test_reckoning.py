"""The reckoning sees what it is there for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.model import Run
from celeriac.orchestrator.status import WorkflowStatus
from tests.chaos.cluster import LEASE
from tests.chaos.ledger import Ledger
from tests.chaos.members import Diary, Span
from tests.chaos.plans import Plan
from tests.chaos.verdict import _order, _timers

EARLY, LATE = LEASE / 4, LEASE + 0.1


def ledger(folder: Path, *lines: tuple[int, float, str]) -> Ledger:
    """A ledger of one activity: process, time, what."""
    path = folder / "ledger"
    written = [
        {"pid": pid, "at": at, "what": what, "run": "r", "activity": "r-1", "attempt": pid} for pid, at, what in lines
    ]
    path.write_text("".join(json.dumps(each) + "\n" for each in written))
    return Ledger(path)


@pytest.mark.parametrize(
    ("again", "left", "diary", "found"),
    [
        (EARLY, None, Diary(), 1),
        (LATE, None, Diary(), 0),
        (EARLY, EARLY / 2, Diary(), 0),
        (EARLY, None, Diary(stops=[Span(0.1, 0.2, frozenset({1}))]), 0),
        (EARLY, None, Diary(stops=[Span(0.1, 0.2, frozenset({3}))]), 1),
        (EARLY, None, Diary(outages=[Span(0.1, 0.2)]), 0),
    ],
    ids=["within its lease", "after it", "after its end", "it stood still", "another one did", "its claim was lost"],
)
def test_a_second_execution(tmp_path: Path, again: float, left: float | None, diary: Diary, found: int) -> None:
    lines = [(1, 0.0, "begun"), (2, again, "begun"), *([(1, left, "left")] if left else [])]
    assert len(list(ledger(tmp_path, *lines).overlaps(diary))) == found


def test_a_line_that_a_kill_cut_short_counts_for_nothing(tmp_path: Path) -> None:
    found = ledger(tmp_path, (1, 0.0, "begun"))
    with (tmp_path / "ledger").open("a") as file:
        file.write('{"pid": 1, "at"')
    assert Ledger(tmp_path / "ledger").entries == found.entries


Line = tuple[int, int, str, dict[str, Any]]


def events(*numbered: Line) -> list[HistoryEvent]:
    return [HistoryEvent(number, kind, at, data) for number, at, kind, data in numbered]


def closed(version: int) -> Run:
    """A run as far as the reckoning looks at it."""
    found = object.__new__(Run)
    for name, value in {"version": version, "status": WorkflowStatus.COMPLETED}.items():
        object.__setattr__(found, name, value)
    return found


def test_an_order_that_is_not_one() -> None:
    begun: Line = (1, 10, "workflow_started", {})
    ended: Line = (2, 20, "workflow_completed", {})
    assert list(_order(closed(2), events(begun, ended))) == []
    assert list(_order(closed(3), events(begun, (3, 20, "workflow_completed", {})))) == [
        "the events are [1, 3], the version is 3"
    ]
    assert list(_order(closed(2), events(begun, (2, 5, "workflow_completed", {})))) == [
        "the times of the events run backwards: [10, 5]"
    ]
    assert list(_order(closed(1), events(begun))) == ["it begins with workflow_started and ends with workflow_started"]


def test_timers_that_fire_early_twice_or_never() -> None:
    plan = Plan("nap-1", "nap", (1.0,), ("slept",), timers=(1.0,))
    started = (1, 0, "timer_started", {"command": 1, "fire_at": 1_000_000})
    fired = (2, 1_000_000, "timer_fired", {"timer": 1})
    assert list(_timers(plan, events(started, fired))) == []
    assert list(_timers(plan, events(started))) == ["of its timers [1] and delays [] there fired []"]
    assert list(_timers(plan, events(started, fired, fired))) == [
        "of its timers [1] and delays [] there fired [(1, 1000000), (1, 1000000)]"
    ]
    assert list(_timers(plan, events(started, (2, 400_000, "timer_fired", {"timer": 1})))) == [
        "timer 1 fired 0.600 s too early"
    ]


def test_delays_of_local_activities_are_timers_too() -> None:
    plan = Plan("near-1", "near", ([4], 1), ([16, 1, 16],), (1,), near=(4, 4))
    delayed = (1, 0, "local_activity_delayed", {"command": 4, "retry_at": 500_000})
    fired = (2, 600_000, "timer_fired", {"timer": 4})
    again = (3, 600_000, "local_activity_delayed", {"command": 4, "retry_at": 900_000})
    early = (4, 700_000, "timer_fired", {"timer": 4})
    assert list(_timers(plan, events(delayed, fired))) == []
    assert list(_timers(plan, events(delayed))) == ["of its timers [] and delays [(4, 500000)] there fired []"]
    assert list(_timers(plan, events(delayed, fired, again, early))) == ["timer 4 fired 0.200 s too early"]
