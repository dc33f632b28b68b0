"""A history in human words: each event as a phrase and its details."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from celeriac.cli.text import brief, call, clock, count, shortened, span, visible
from celeriac.failures import summary
from celeriac.orchestrator import events
from celeriac.orchestrator.model import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable

    from celeriac.orchestrator.calls import LocalEvent
    from celeriac.orchestrator.events import Event, HistoryEvent
    from celeriac.orchestrator.model import Micros

GOOD: Final = "green"
BAD: Final = "red"
ODD: Final = "yellow"
FROM_OUTSIDE: Final = "magenta"
OF_TIME: Final = "blue"
QUIET: Final = "dim"
PLAIN: Final = ""


@dataclass(frozen=True, slots=True)
class Phrase:
    """An event for people: what happened, to what, and the style of the first."""

    what: str
    details: str
    style: str = PLAIN


@dataclass(slots=True)
class Narrator:
    """Tells a history from its first event on; later events name what earlier ones numbered.

    :param limit: how many characters of a value are told; None for all.
    """

    limit: int | None = 72
    activities: dict[int, str] = field(default_factory=dict)
    timers: dict[int, float] = field(default_factory=dict)
    at: Micros = 0
    clock: Micros = 0
    """The time that the workflow's code has: that of the last input."""

    def tell(self, recorded: HistoryEvent) -> Phrase:
        """Put the next event into words. One that this release does not know is told as it was recorded."""
        what = visible(recorded.type.replace("_", " "))
        self.at = recorded.at
        try:
            event = recorded.event()
        except events.UnreadableHistory:
            return Phrase(what, brief(recorded.data, self.limit), ODD)
        if isinstance(event, events.Input) or not self.clock:
            self.clock = recorded.at
        describe, style = _TELL.get(type(event), (Narrator._fields, PLAIN))
        return Phrase(what, describe(self, event), style)

    def activity(self, number: int) -> str:
        """Name an activity by the number of the command that scheduled it."""
        return f"{self.activities.get(number, 'activity')} #{number}"

    def value(self, value: Any) -> str:
        """Write a value as far as the limit goes."""
        return brief(value, self.limit)

    def text(self, text: str) -> str:
        """Write a message as far as the limit goes."""
        return shortened(visible(text), None if self.limit is None else 2 * self.limit)

    def _fields(self, event: Event) -> str:
        return ", ".join(f"{each.name}={self.value(getattr(event, each.name))}" for each in fields(event))

    def _started(self, event: events.WorkflowStarted) -> str:
        version = f", version {visible(event.definition_version)}" if event.definition_version else ""
        limit = f", at most {span(event.timeout)}" if event.timeout is not None else ""
        return call(event.workflow, event.args, event.kwargs, self.limit) + version + limit

    def _signal(self, event: events.SignalReceived) -> str:
        sender = f" from {visible(event.sender_id)}" if event.sender_id else ""
        early = ", before the first turn" if event.early else ""
        return f"{visible(event.name)} {self.value(event.payload)}{sender}{early}"

    def _signal_rejected(self, event: events.SignalRejectedEvent) -> str:
        return f"{visible(event.name)} {self.value(event.payload)}: {self.text(event.reason)}"

    def _scheduled(self, event: events.ActivityScheduled) -> str:
        self.activities[event.command] = visible(event.activity)
        arguments = call("", event.args, event.kwargs, self.limit)
        return f"{self.activity(event.command)} {arguments}"

    def _attempt(self, event: events.ActivityStarted) -> str:
        where = f" on {visible(event.worker)}" if event.worker else ""
        took = f", took {span((self.at - event.started_at) / SECOND)}" if event.started_at else ""
        return f"{self.activity(event.activity)} attempt {event.attempt}{where}{took}"

    def _completed(self, event: events.ActivityCompleted) -> str:
        return f"{self.activity(event.activity)} → {self.value(event.result)}"

    def _activity_failed(self, event: events.ActivityFailed) -> str:
        after = count(event.attempts, "attempt")
        return f"{self.activity(event.activity)} after {after}: {self.text(summary(event.failure))}"

    def _canceled(self, event: events.ActivityCanceled) -> str:
        return self.activity(event.activity)

    def _local(self, event: LocalEvent) -> str:
        arguments = (
            "" if isinstance(event, events.LocalActivityDelayed) else call("", event.args, event.kwargs, self.limit)
        )
        return f"{visible(event.activity)} #{event.command} {arguments}".rstrip()

    def _local_completed(self, event: events.LocalActivityCompleted) -> str:
        after = f", attempt {event.attempts}" if event.attempts > 1 else ""
        return f"{self._local(event)} → {self.value(event.result)}{after}"

    def _local_failed(self, event: events.LocalActivityFailed) -> str:
        return f"{self._local(event)} after {count(event.attempts, 'attempt')}: {self.text(summary(event.failure))}"

    def _local_delayed(self, event: events.LocalActivityDelayed) -> str:
        wait = self.timers[event.command] = (event.retry_at - self.at) / SECOND
        after = count(event.attempts, "attempt")
        return f"{self._local(event)} for {span(wait)} after {after}: {self.text(summary(event.failure))}"

    def _cancel_activity(self, event: events.ActivityCancelRequested) -> str:
        return self.activity(event.activity) + (f": {self.text(event.reason)}" if event.reason else "")

    def _timer(self, event: events.TimerStarted) -> str:
        length = (event.fire_at - self.clock) / SECOND
        self.timers[event.command] = length
        return f"#{event.command} for {span(length)}, until {clock(event.fire_at)}"

    def _timer_over(self, event: events.TimerFired | events.TimerCanceled) -> str:
        length = self.timers.get(event.timer)
        return f"#{event.timer}" + (f" of {span(length)}" if length is not None else "")

    def _reason(self, event: Any) -> str:
        return self.text(event.reason)

    def _side_effect(self, event: events.SideEffectRecorded) -> str:
        return f"#{event.command} → {self.value(event.value)}"

    def _patch(self, event: events.PatchMarked) -> str:
        return f"{visible(event.patch)}: the new side"

    def _result(self, event: events.WorkflowCompleted) -> str:
        return f"→ {self.value(event.result)}"

    def _failed(self, event: events.WorkflowFailed) -> str:
        return self.text(summary(event.failure))

    def _warning(self, event: events.WarningRecorded) -> str:
        return self.text(event.message)

    def _timed_out(self, event: events.WorkflowTimedOut) -> str:
        return f"after {span(event.timeout)}"


_TELL: Final[dict[type[Event], tuple[Callable[[Narrator, Any], str], str]]] = {
    events.WorkflowStarted: (Narrator._started, PLAIN),  # noqa: SLF001 - its own table
    events.SignalReceived: (Narrator._signal, FROM_OUTSIDE),  # noqa: SLF001
    events.SignalRejectedEvent: (Narrator._signal_rejected, ODD),  # noqa: SLF001
    events.ActivityScheduled: (Narrator._scheduled, PLAIN),  # noqa: SLF001
    events.ActivityStarted: (Narrator._attempt, QUIET),  # noqa: SLF001
    events.ActivityCompleted: (Narrator._completed, GOOD),  # noqa: SLF001
    events.ActivityFailed: (Narrator._activity_failed, BAD),  # noqa: SLF001
    events.ActivityCanceled: (Narrator._canceled, ODD),  # noqa: SLF001
    events.ActivityCancelRequested: (Narrator._cancel_activity, ODD),  # noqa: SLF001
    events.LocalActivityCompleted: (Narrator._local_completed, GOOD),  # noqa: SLF001
    events.LocalActivityFailed: (Narrator._local_failed, BAD),  # noqa: SLF001
    events.LocalActivityDelayed: (Narrator._local_delayed, ODD),  # noqa: SLF001
    events.TimerStarted: (Narrator._timer, OF_TIME),  # noqa: SLF001
    events.TimerFired: (Narrator._timer_over, OF_TIME),  # noqa: SLF001
    events.TimerCanceled: (Narrator._timer_over, QUIET),  # noqa: SLF001
    events.CancelRequested: (Narrator._reason, FROM_OUTSIDE),  # noqa: SLF001
    events.SideEffectRecorded: (Narrator._side_effect, PLAIN),  # noqa: SLF001
    events.PatchMarked: (Narrator._patch, QUIET),  # noqa: SLF001
    events.WorkflowCompleted: (Narrator._result, GOOD),  # noqa: SLF001
    events.WorkflowFailed: (Narrator._failed, BAD),  # noqa: SLF001
    events.WorkflowCanceled: (Narrator._reason, ODD),  # noqa: SLF001
    events.WarningRecorded: (Narrator._warning, ODD),  # noqa: SLF001
    events.WorkflowTimedOut: (Narrator._timed_out, BAD),  # noqa: SLF001
    events.WorkflowTerminated: (Narrator._reason, BAD),  # noqa: SLF001
}
