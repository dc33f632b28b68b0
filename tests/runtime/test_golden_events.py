"""What has once been written to databases is read for ever: one of each event, frozen.

To record a new event: ``python -m tests.runtime.test_golden_events``. It never overwrites: what has been recorded stays true.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from celeriac.orchestrator import events
from celeriac.orchestrator.events import HistoryEvent

GOLDEN = Path(__file__).parent / "golden" / "events.json"

FAILURE = {"type": "ValueError", "message": "no", "stack": ["shop.py:1 in charge"], "bases": ["Exception"]}
SAMPLES: list[events.Event] = [
    events.WorkflowStarted("shop.fulfil", "2", ["A-17"], {"cents": 4200}, "seed", 60.0),
    events.SignalReceived("approved", {"by": "ann"}, "ann", 1893456000.5, early=True),
    events.ActivityCompleted(1, {"receipt": 7}),
    events.ActivityFailed(1, FAILURE, 3),
    events.ActivityCanceled(1, "half"),
    events.TimerFired(2),
    events.CancelRequested("enough"),
    events.ActivityScheduled(1, "shop.charge", ["A-17"], {"cents": 4200}, {"start_to_close": 30.0}),
    events.ActivityCancelRequested(3, 1, "enough"),
    events.TimerStarted(2, 1893456060000000),
    events.TimerCanceled(4, 2),
    events.SideEffectRecorded(5, [1, 2]),
    events.PatchMarked(6, "new-rate"),
    events.WorkflowCompleted(7, {"ok": True}),
    events.WorkflowFailed(7, FAILURE),
    events.WorkflowCanceled(7, "enough"),
    events.ActivityStarted(1, 2, "worker@host", 1893456000000000),
    events.SignalRejectedEvent("approved", "does not fit", "perhaps", "ann"),
    events.WarningRecorded("task 'audit' raised"),
    events.WorkflowTimedOut(60.0),
    events.WorkflowTerminated("enough"),
    events.LocalActivityCompleted(8, "shop.price", 4200, ["A-17"], {"cents": True}, 2),
    events.LocalActivityFailed(9, "shop.price", FAILURE, ["A-17"], {"cents": True}, 3),
    events.LocalActivityDelayed(10, "shop.price", 2, FAILURE, 1893456060000000),
]


def recorded(event: events.Event) -> dict[str, Any]:
    return {"type": event.tag, "version": event.version, "data": event.data()}


def golden() -> list[dict[str, Any]]:
    return json.loads(GOLDEN.read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "written", golden() if GOLDEN.exists() else [], ids=lambda each: f"{each['type']} {each['version']}"
)
def test_what_was_written_is_read_with_all_its_fields(written: dict[str, Any]) -> None:
    event = events.decode(written["type"], written["version"], written["data"])
    assert event.tag == written["type"]
    if event.version == written["version"]:
        assert event.data() == written["data"]
        assert json.loads(json.dumps(recorded(event))) == written
        assert {each.name for each in fields(event)} == set(written["data"])  # samples leave no field at its default


def test_there_is_one_of_each() -> None:
    known = {(tag, events.kind_of(tag).version) for tag in events.known_tags()}
    assert known <= {(each["type"], each["version"]) for each in golden()}
    assert [recorded(each) for each in SAMPLES] == [each for each in golden() if recorded_now(each)]


def recorded_now(written: dict[str, Any]) -> bool:
    return events.kind_of(written["type"]).version == written["version"]


def test_no_tag_disappears() -> None:
    assert {each["type"] for each in golden()} == set(events.known_tags())


def test_defaults_are_left_out_and_come_back() -> None:
    for sample in SAMPLES:
        required = {
            each.name: getattr(sample, each.name)
            for each in fields(sample)
            if each.default is each.default_factory  # neither has one
        }
        least = type(sample)(**required)
        assert set(least.data()) == set(required)
        assert events.decode(least.tag, least.version, least.data()) == least


def test_what_is_not_known_is_said() -> None:
    with pytest.raises(
        events.UnreadableHistory, match=r"holds an event 'moon_landed', which this version of celeriac does not"
    ):
        events.decode("moon_landed", 1, {})
    with pytest.raises(
        events.UnreadableHistory, match=r"holds 'timer_fired' of version 9; this celeriac reads up to 1"
    ):
        events.decode("timer_fired", 9, {"timer": 1})
    with pytest.raises(events.UnreadableHistory, match=r"holds a 'timer_fired' whose fields don't fit: .*'moon'"):
        HistoryEvent(1, "timer_fired", 0, {"moon": 1}).event()


def test_an_older_version_is_brought_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events.TimerFired, "version", 3)
    monkeypatch.setattr(
        events.TimerFired,
        "upcasts",
        {1: lambda data: {"number": data["timer"]}, 2: lambda data: {"timer": data["number"] + 100}},
    )
    assert events.decode("timer_fired", 1, {"timer": 1}) == events.TimerFired(101)
    assert events.decode("timer_fired", 2, {"number": 1}) == events.TimerFired(101)
    assert events.decode("timer_fired", 3, {"timer": 1}) == events.TimerFired(1)


if __name__ == "__main__":
    there = golden() if GOLDEN.exists() else []
    known = {(each["type"], each["version"]) for each in there}
    new = [recorded(each) for each in SAMPLES if (each.tag, each.version) not in known]
    GOLDEN.write_text(json.dumps([*there, *new], indent=1) + "\n")
