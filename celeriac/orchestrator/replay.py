"""Replay: a run's code, brought to where its history leaves off. A pure function of definition and history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from celeriac.errors import NonDeterminismError, RuntimeFault
from celeriac.frozen import quick
from celeriac.orchestrator import commands, events
from celeriac.orchestrator.calls import ENDS, LocalEvent
from celeriac.orchestrator.definition import Definitions, WorkflowDefinition
from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.live import NO_MORE, LiveRun

_NEVER_BEGUN: Final = [events.WorkflowStarted.tag, events.WorkflowTerminated.tag]


@quick
@dataclass(frozen=True, slots=True)
class Step:
    """One input event and the effects that applying it had."""

    input: HistoryEvent
    effects: Sequence[HistoryEvent]
    last: int
    """The number of the step's last event, notes included."""
    early: Sequence[events.SignalReceived] = ()
    """Signals that came before the function's start; with the first step only."""


def steps(history: Sequence[HistoryEvent]) -> Iterator[Step]:
    """Cut a history into its steps; notes belong to none of them. A run that was terminated before its first turn has none.

    :raises RuntimeFault: it begins with an effect, or has gaps.
    """
    if [each.type for each in history] == _NEVER_BEGUN:
        return
    opened: HistoryEvent | None = None
    effects: list[HistoryEvent] = []
    early: list[events.SignalReceived] = []
    last = history[0].number - 1 if history else 0
    for each in history:
        if each.number != last + 1:
            raise RuntimeFault(f"history has a gap: event {each.number} follows {last}")
        kind = events.kind_of(each.type)
        if kind is events.SignalReceived and each.data.get("early"):
            early.append(each.event())  # type: ignore[arg-type]  # its kind has just been looked at
        elif issubclass(kind, events.Input):
            if opened is not None:
                yield Step(opened, effects, last, early)
            opened, effects, early = each, [], []
        elif issubclass(kind, events.Effect):
            if opened is None:
                raise RuntimeFault(f"history begins with {each.type!r}, which is no input")
            effects.append(each)
        last = each.number
    if opened is not None:
        yield Step(opened, effects, last, early)


def feed(run: LiveRun, history: Sequence[HistoryEvent]) -> None:
    """Feed recorded steps to a live run.

    :raises NonDeterminismError: the code asks for something else than is recorded.
    """
    run.local.foresee(history)
    cut = list(steps(history))
    for step, after in zip_longest(cut, cut[1:]):
        event = step.input.event()
        if not isinstance(event, events.Input):
            raise RuntimeFault(f"event {step.input.number} is no input")
        if not run.wants(event):
            raise _unwanted(run, step.input.number, event)
        run.ahead = NO_MORE if after is None else _ahead(after.input)
        run.apply(event, step.input.at, step.effects, step.early, step.input.number)
        run.version = step.last
    run.local.foresee(())
    run.replaying = False


def _ahead(after: HistoryEvent) -> str:
    """Say what the history has instead of a command that is too many: nothing more in the step, or a call that was local."""
    return commands.local(after.data["activity"], after.data["command"]) if after.type in ENDS else NO_MORE


def _unwanted(run: LiveRun, number: int, event: events.Input) -> NonDeterminismError:
    """Describe an input that nothing waits for; where it is a local activity's, name the call that stands in its place."""
    if not isinstance(event, LocalEvent):
        return NonDeterminismError(number, f"{event.tag} {event.data()}", "nothing that waits for it any more", None)
    recorded, pending = commands.local(event.activity, event.command), run.local.pending
    call = pending.get(event.command) or next(iter(pending.values()), None)
    if call is None:
        return NonDeterminismError(number, recorded, "nothing that waits for it any more", None)
    return NonDeterminismError(number, recorded, call.phrase(), call.where)


def replay(
    definition: WorkflowDefinition,
    history: Sequence[HistoryEvent],
    *,
    definitions: Definitions,
    run_id: str = "",
    workflow_id: str = "",
) -> LiveRun:
    """Return the live run that a whole history leads to.

    :raises Held: the definition can't carry out the history.
    """
    run = LiveRun(definition, run_id=run_id, workflow_id=workflow_id, definitions=definitions)
    try:
        feed(run, history)
    except BaseException:
        run.discard()
        raise
    return run
