"""Histories in tests: in phrases that one reads at a glance, as JSON, and replayed from every step on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from celeriac.orchestrator import events
from celeriac.orchestrator.definition import Definitions, Registry, WorkflowDefinition
from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.live import LiveRun
from celeriac.orchestrator.model import SECOND
from celeriac.orchestrator.replay import Step, feed, replay, steps
from celeriac.payloads import Json

Story = list[str]


def compact(history: Sequence[HistoryEvent]) -> Story:
    """Put each event into a phrase, such as ``activity_scheduled charge#1('A-17', 4200)`` or ``timer_started #2 60s``.

    The number after ``#`` is the command's. Times are lengths, in whole milliseconds, so that the phrases are the same in
    every run of a test.
    """
    teller = _Teller()
    return [teller.tell(each) for each in history]


class _Teller:
    """Turns events into phrases, keeping in mind what the numbers stand for."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.at = 0

    def tell(self, recorded: HistoryEvent) -> str:
        event = recorded.event()
        if isinstance(event, events.Input):
            self.at = recorded.at
        phrase = _PHRASES.get(type(event))
        said = phrase(self, event) if phrase is not None else ""
        return f"{recorded.type} {said}".rstrip()

    def started(self, event: events.WorkflowStarted) -> str:
        version = f" version {event.definition_version}" if event.definition_version else ""
        return f"{event.workflow}{_call(event.args, event.kwargs)}{version}"

    def signal(self, event: events.SignalReceived) -> str:
        return f"{event.name}({_values(event.payload)}){' early' if event.early else ''}"

    def rejected(self, event: events.SignalRejectedEvent) -> str:
        return f"{event.name}({_values(event.payload)}): {event.reason}"

    def scheduled(self, event: events.ActivityScheduled) -> str:
        self.names[event.command] = f"{event.activity}#{event.command}"
        return self.names[event.command] + _call(event.args, event.kwargs)

    def attempt(self, event: events.ActivityStarted) -> str:
        return self.named(event.activity) + (f" attempt {event.attempt}" if event.attempt > 1 else "")

    def completed(self, event: events.ActivityCompleted) -> str:
        return f"{self.named(event.activity)} -> {_values(event.result)}"

    def failed(self, event: events.ActivityFailed) -> str:
        return f"{self.named(event.activity)}: {_failure(event.failure)}{_tries(event.attempts)}"

    def canceled(self, event: events.ActivityCanceled | events.ActivityCancelRequested) -> str:
        return self.named(event.activity)

    def local_completed(self, event: events.LocalActivityCompleted) -> str:
        return (
            f"{self.local(event)}{_call(event.args, event.kwargs)} -> {_values(event.result)}{_tries(event.attempts)}"
        )

    def local_failed(self, event: events.LocalActivityFailed) -> str:
        return (
            f"{self.local(event)}{_call(event.args, event.kwargs)}: {_failure(event.failure)}{_tries(event.attempts)}"
        )

    def local_delayed(self, event: events.LocalActivityDelayed) -> str:
        wait = _seconds((event.retry_at - self.at) / SECOND)
        return f"{self.local(event)} {wait}: {_failure(event.failure)}{_tries(event.attempts)}"

    @staticmethod
    def local(event: events.LocalActivityCompleted | events.LocalActivityFailed | events.LocalActivityDelayed) -> str:
        return f"{event.activity}#{event.command}"

    def named(self, number: int) -> str:
        return self.names.get(number, f"#{number}")

    def timer(self, event: events.TimerStarted) -> str:
        return f"#{event.command} {_seconds((event.fire_at - self.at) / SECOND)}"


def _seconds(length: float) -> str:
    return f"{length:.3f}".rstrip("0").rstrip(".") + "s"


def _values(*values: Json) -> str:
    return ", ".join(repr(each) for each in values)


def _call(args: Sequence[Json], kwargs: Mapping[str, Json]) -> str:
    named = [f"{name}={value!r}" for name, value in kwargs.items()]
    return f"({', '.join([*(repr(each) for each in args), *named])})"


def _tries(attempts: int) -> str:
    return f" ({attempts} attempts)" if attempts > 1 else ""


def _failure(failure: Mapping[str, Json]) -> str:
    return f"{failure.get('type')}: {failure.get('message')}".removesuffix(": ")


_PHRASES: Final[dict[type[events.Event], Callable[[_Teller, Any], str]]] = {
    events.WorkflowStarted: _Teller.started,
    events.SignalReceived: _Teller.signal,
    events.SignalRejectedEvent: _Teller.rejected,
    events.ActivityScheduled: _Teller.scheduled,
    events.ActivityStarted: _Teller.attempt,
    events.ActivityCompleted: _Teller.completed,
    events.ActivityFailed: _Teller.failed,
    events.ActivityCanceled: _Teller.canceled,
    events.ActivityCancelRequested: _Teller.canceled,
    events.LocalActivityCompleted: _Teller.local_completed,
    events.LocalActivityFailed: _Teller.local_failed,
    events.LocalActivityDelayed: _Teller.local_delayed,
    events.TimerStarted: _Teller.timer,
    events.TimerFired: lambda _, event: f"#{event.timer}",
    events.TimerCanceled: lambda _, event: f"#{event.timer}",
    events.SideEffectRecorded: lambda _, event: f"#{event.command} -> {event.value!r}",
    events.PatchMarked: lambda _, event: f"#{event.command} {event.patch}",
    events.WorkflowCompleted: lambda _, event: f"-> {event.result!r}",
    events.WorkflowFailed: lambda _, event: _failure(event.failure),
    events.WorkflowCanceled: lambda _, event: event.reason,
    events.CancelRequested: lambda _, event: event.reason,
    events.WarningRecorded: lambda _, event: event.message,
    events.WorkflowTimedOut: lambda _, event: _seconds(event.timeout),
    events.WorkflowTerminated: lambda _, event: event.reason,
}


# -- as JSON -----------------------------------------------------------------------------------------------------------


def to_json(history: Sequence[HistoryEvent]) -> str:
    """Write a history as JSON, an event a line, to be kept in a file."""
    lines = [
        json.dumps(
            {
                "number": each.number,
                "type": each.type,
                "version": each.version,
                "at": each.at,
                "data": each.data,
                **({} if each.key is None else {"key": each.key}),
            }
        )
        for each in history
    ]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def from_json(text: str) -> list[HistoryEvent]:
    """Read what :func:`to_json` wrote."""
    return [HistoryEvent(**each) for each in json.loads(text)]


# -- replayed ----------------------------------------------------------------------------------------------------------


def replay_every_prefix(
    definition: WorkflowDefinition,
    history: Sequence[HistoryEvent],
    definitions: Definitions | None = None,
    *,
    run_id: str = "",
    workflow_id: str = "",
) -> None:
    """Replay a history up to each of its steps, every time from nothing, and then take that step as if it were new.

    What the code asks for in it must be what is recorded, arguments included. (A step with a side effect is held against
    the recorded commands only, since a side effect may return something else the next time; so are runs with patches.)

    :raises Held: the code does not agree with the history.
    :raises AssertionError: it asks for something else in the step after.
    """
    cut = list(steps(history))
    definitions = definitions if definitions is not None else Registry()
    replay(definition, history, definitions=definitions, run_id=run_id, workflow_id=workflow_id).discard()
    for index, step in enumerate(cut):
        live = LiveRun(definition, run_id=run_id, workflow_id=workflow_id, definitions=definitions, only_looks=True)
        try:
            before = [each for each in history if each.number < _first_of(step, cut[:index])]
            feed(live, before)
            _take(live, step)
        finally:
            live.discard()


def _first_of(step: Step, before: Sequence[Step]) -> int:
    return before[-1].last + 1 if before else step.input.number - len(step.early)


def _take(live: LiveRun, step: Step) -> None:
    event = step.input.event()
    if not isinstance(event, events.Input):
        raise AssertionError(f"event {step.input.number} is no input")  # noqa: TRY004 - what tests raise
    recorded = [each.event() for each in step.effects]
    unrepeatable = (events.SideEffectRecorded, events.PatchMarked)
    if live.patches or any(isinstance(each, unrepeatable) for each in recorded):
        live.apply(event, step.input.at, step.effects, step.early)
        return
    issued = [each.recorded() for each in live.apply(event, step.input.at, None, step.early)]
    if [_lasting(each) for each in issued] != [_lasting(each) for each in recorded] and not live.patches:
        raise AssertionError(
            f"after event {step.input.number} ({step.input.type}) the code asks for\n  {issued}\nrecorded is\n  {recorded}"
        )


def _lasting(event: events.Event) -> tuple[str, Json]:
    return event.tag, without_stacks(event.data())


def without_stacks(data: Json) -> Json:
    """Leave the stacks out of recorded failures: they hold lines of code, which move."""
    if isinstance(data, dict):
        is_failure = {"type", "message"} <= data.keys()
        return {name: without_stacks(each) for name, each in data.items() if not (is_failure and name == "stack")}
    return [without_stacks(each) for each in data] if isinstance(data, list) else data
