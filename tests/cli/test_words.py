"""Every event in human words."""

from __future__ import annotations

import pytest

from celeriac.cli.words import Narrator, Phrase
from celeriac.orchestrator import events
from celeriac.orchestrator.events import Event, HistoryEvent
from celeriac.orchestrator.model import SECOND

START = 1_800_000_000 * SECOND
FAILURE = {"type": "CardDeclined", "message": "no funds"}


def tell(*told: Event, after: float = 0.0) -> str:
    """Return the details of the last of some events, ``after`` seconds behind the others."""
    narrator = Narrator()
    phrase = Phrase("", "")
    for number, each in enumerate(told, 1):
        late = after if number == len(told) else 0.0
        phrase = narrator.tell(HistoryEvent.of(number, START + round(late * SECOND), each))
    return phrase.details


CHARGE = events.ActivityScheduled(1, "shop.charge", ["A-17", 4200])
DELAYED = events.LocalActivityDelayed(4, "price", 2, FAILURE, START + 60 * SECOND)
TIMER = events.TimerStarted(2, START + 90 * SECOND)


@pytest.mark.parametrize(
    ("told", "details"),
    [
        (
            [events.WorkflowStarted("shop.fulfil", "v2", ["A"], {"fast": True}, timeout=3600.0)],
            'shop.fulfil("A", fast=true), version v2, at most 1 h',
        ),
        ([events.SignalReceived("approved", True)], "approved true"),
        (
            [events.SignalReceived("approved", None, "ops", early=True)],
            "approved null from ops, before the first turn",
        ),
        ([events.SignalRejectedEvent("aproved", "not declared", 1)], "aproved 1: not declared"),
        ([CHARGE], 'shop.charge #1 ("A-17", 4200)'),
        ([CHARGE, events.ActivityStarted(1, 2, "anna@vm")], "shop.charge #1 attempt 2 on anna@vm"),
        ([CHARGE, events.ActivityCompleted(1, {"ok": 1})], 'shop.charge #1 → {"ok": 1}'),
        (
            [CHARGE, events.ActivityFailed(1, FAILURE, 3)],
            "shop.charge #1 after 3 attempts: CardDeclined: no funds",
        ),
        ([CHARGE, events.ActivityCanceled(1)], "shop.charge #1"),
        ([CHARGE, events.ActivityCancelRequested(2, 1, "too slow")], "shop.charge #1: too slow"),
        ([events.ActivityCompleted(9, 1)], "activity #9 → 1"),
        ([events.LocalActivityCompleted(4, "price", 7, ["A"])], 'price #4 ("A") → 7'),
        ([events.LocalActivityCompleted(4, "price", 7, attempts=2)], "price #4 () → 7, attempt 2"),
        (
            [events.LocalActivityFailed(4, "price", FAILURE, ["A"], {}, 3)],
            'price #4 ("A") after 3 attempts: CardDeclined: no funds',
        ),
        ([DELAYED], "price #4 for 1 min after 2 attempts: CardDeclined: no funds"),
        ([DELAYED, events.TimerFired(4)], "#4 of 1 min"),
        ([TIMER, events.TimerFired(2)], "#2 of 1 min 30 s"),
        ([TIMER, events.TimerCanceled(3, 2)], "#2 of 1 min 30 s"),
        ([events.TimerFired(7)], "#7"),
        ([events.CancelRequested("wrong size")], "wrong size"),
        ([events.SideEffectRecorded(4, 0.5)], "#4 → 0.5"),
        ([events.PatchMarked(4, "new-bank")], "new-bank: the new side"),
        ([events.WorkflowCompleted(5, "receipt")], '→ "receipt"'),
        ([events.WorkflowFailed(5, FAILURE)], "CardDeclined: no funds"),
        ([events.WorkflowCanceled(5, "wrong size")], "wrong size"),
        ([events.WarningRecorded("a task raised and nobody awaited it")], "a task raised and nobody awaited it"),
        ([events.WorkflowTimedOut(3600.0)], "after 1 h"),
        ([events.WorkflowTerminated("stuck")], "stuck"),
    ],
)
def test_details(told: list[Event], details: str) -> None:
    assert tell(*told) == details


def test_a_timer_counts_from_the_time_that_the_code_had() -> None:
    narrator = Narrator()
    narrator.tell(HistoryEvent.of(1, START, events.WorkflowStarted("x")))
    late = narrator.tell(HistoryEvent.of(2, START + 5 * SECOND, events.TimerStarted(1, START + 60 * SECOND)))
    assert late.details.startswith("#1 for 1 min, until ")


def test_an_attempt_says_how_long_it_took() -> None:
    started = events.ActivityStarted(1, 1, "anna@vm", START)
    assert tell(CHARGE, started, after=1.25) == "shop.charge #1 attempt 1 on anna@vm, took 1.25 s"


def test_every_event_there_is_has_words_of_its_own() -> None:
    from celeriac.cli.words import _TELL

    assert sorted(kind.tag for kind in _TELL) == sorted(events.known_tags())


def test_an_event_of_a_later_release_is_told_as_recorded() -> None:
    phrase = Narrator().tell(HistoryEvent(1, "workflow_teleported", START, {"to": "\x1b[31m"}))
    assert phrase == Phrase("workflow teleported", r'{"to": "\u001b[31m"}', "yellow")
