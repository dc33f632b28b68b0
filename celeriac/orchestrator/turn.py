"""One turn: inputs are applied to a live run, one at a time, and what follows from them is gathered into one commit.

Knows no store and no broker: it is made from a view of the run and ends in a :class:`Commit`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from celeriac.activities.options import ActivityOptions
from celeriac.errors import PayloadError, RuntimeFault, did_you_mean
from celeriac.orchestrator import commands, events
from celeriac.orchestrator.calls import LocalEvent
from celeriac.orchestrator.definition import Definitions
from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.live import LiveRun
from celeriac.orchestrator.model import Commit, Fence, InboxItem, Message, Micros, Run, Task, TurnView, micros
from celeriac.orchestrator.status import MessageKind, TaskKind, TaskState, WorkflowStatus
from celeriac.payloads import UNTYPED, Json


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """What a turn needs to know besides the run.

    :param republish_after: microseconds until an unclaimed activity is published again.
    :param start_to_close: microseconds one attempt may take where the activity says nothing.
    """

    republish_after: Micros
    start_to_close: Micros


Order = list[list[InboxItem]]
"""An inbox in the order in which a turn takes it: what stands together is one step. Only signals do."""


def as_it_came(inbox: Sequence[InboxItem]) -> Order:
    """Take each message by itself, in the order of arrival."""
    return [[item] for item in inbox]


def signals_first(order: Order, inbox: Sequence[InboxItem], closed_by: int) -> Order:
    """Order an inbox anew so that no signal is left behind what closed the run.

    Those that were are taken together, right before it; or with it, if it is a signal itself, since signals keep their order.
    What came before it stays where it was, so that it is not overtaken, and so that this comes to an end.
    """
    known = {item.number for together in order for item in together}
    order = [*order, *([item] for item in inbox if item.number not in known)]
    closing = (place for place, together in enumerate(order) if any(item.number == closed_by for item in together))
    place = next(closing, 0)
    signals = [item for together in order[place:] for item in together if item.message.kind.holds_open]
    others = [together for together in order[place:] if not together[0].message.kind.holds_open]
    return [*order[:place], *([signals] if signals else ()), *others]


class Turn:
    """The work of one turn, from its inputs to its commit.

    :param origin: replaces the run's origin if this is its first turn.
    """

    def __init__(
        self,
        view: TurnView,
        live: LiveRun,
        definitions: Definitions,
        limits: TurnLimits,
        origin: Mapping[str, Json] | None = None,
    ) -> None:
        self.run: Run = view.run
        self.origin: dict[str, Json] | None = None
        """What replaces the run's origin with the commit, if anything."""
        # What names another task than the one that started the run was made up by somebody.
        if (
            origin is not None
            and view.run.turns == 0
            and origin.get("task_id") == (view.run.origin or {}).get("task_id")
        ):
            self.origin = dict(origin)
            self.run = replace(view.run, origin=self.origin)
        self.live = live
        self.definitions = definitions
        self.limits = limits
        self.now = view.now
        self.seen = view.run.inbox_seq
        self.events: list[HistoryEvent] = []
        self.consumed: list[int] = []
        self.tasks: dict[tuple[TaskKind, int], Task] = {}
        self.dropped: list[tuple[TaskKind, int]] = []
        self.canceling: list[int] = []
        self.status = WorkflowStatus.RUNNING
        self.result: Json = None
        self.failure: dict[str, Json] | None = None
        self.closed_by: int | None = None
        """The number of the inbox item whose step closed the run, or 0 when none did (the first step, an inline outcome)."""
        self.closes_over = False
        """Whether signals are left that came after what closed the run; it must not close over them."""
        self.started = False
        self.signals: list[tuple[str, Json]] = []
        self.outcomes: list[tuple[str, Json, dict[str, Json] | None]] = []
        self._early: set[int] = set()
        self._version = view.run.version
        self._own: list[events.Input] = []

    @property
    def closed(self) -> bool:
        """Whether a step has closed the run."""
        return not self.status.open

    # -- inputs --------------------------------------------------------------------------------------------------------

    def take_all(self, view: TurnView, order: Order) -> None:
        """Take the first step, if it has not been taken, and then what has come in."""
        if view.run.turns == 0:
            self.begin(view.events[0], view.inbox)
        for together in order:
            self.take_together(together)

    def begin(self, started: HistoryEvent, inbox: Sequence[InboxItem]) -> None:
        """Take the first step: its input is recorded already. Signals that are here before it come with it."""
        self.started = True
        early: list[events.SignalReceived] = []
        for item in inbox:
            if item.message.kind is MessageKind.SIGNAL:
                self.consumed.append(item.number)
                self._early.add(item.number)
                signal = self._fitting(item.message, early=True)
                if signal is not None:
                    self._record(signal, item.message.key)
                    early.append(signal)
        event = started.event()
        if not isinstance(event, events.WorkflowStarted):
            raise RuntimeFault(f"a history begins with workflow_started, not {started.type!r}")
        self._conclude(self.live.apply(event, started.at, None, early), 0)

    def take(self, item: InboxItem) -> None:
        """Apply one inbox item, or drop it if nothing waits for it any more."""
        if item.number in self._early:
            return
        if self.closed and item.message.kind.holds_open:
            self.closes_over = True
            return
        self.consumed.append(item.number)
        if not self.closed:
            self._apply_message(item.message, item.number)

    def take_together(self, signals: Sequence[InboxItem]) -> None:
        """Apply signals as one step, so that none of them is left when one of them closes the run."""
        signals = [each for each in signals if each.number not in self._early]
        if self.closed or len(signals) == 1:
            for each in signals:
                self.take(each)
            return
        fitting: list[events.SignalReceived] = []
        for item in signals:
            self.consumed.append(item.number)
            event = self._fitting(item.message, early=bool(fitting))
            if event is not None:
                self._record(event, item.message.key)
                fitting.append(event)
        if fitting:
            self._conclude(self.live.apply(fitting[0], self.now, None, fitting[1:]), signals[0].number)
            self._take_own(signals[0].number)

    def take_message(self, message: Message) -> None:
        """Apply a message that is not in the inbox: the outcome that this process has just brought about."""
        self._apply_message(message, 0)

    def take_local(self, event: LocalEvent, at: Micros) -> None:
        """Apply what has become of a local activity that this turn has called.

        :param at: the store's time by now.
        """
        self.now = max(self.now, at)
        if isinstance(event, events.LocalActivityDelayed):
            self._add_timer(event.command, event.retry_at)
        self._take_local(event)
        self._take_own(0)

    def _take_local(self, event: LocalEvent) -> None:
        if self.live.local.wants(event):
            if not isinstance(event, events.LocalActivityDelayed):
                failure = event.failure if isinstance(event, events.LocalActivityFailed) else None
                result = event.result if isinstance(event, events.LocalActivityCompleted) else None
                self.outcomes.append((event.activity, result, failure))
            self._step(event, 0)

    def _apply_message(self, message: Message, number: int) -> None:
        _TAKE[message.kind](self, message, number)
        self._take_own(number)

    def _take_own(self, number: int) -> None:
        """Apply what the turn itself brings about: the end of activities that were asked to stop before anybody saw them."""
        while self._own and not self.closed:
            self._step(self._own.pop(0), number)

    def _step(self, event: events.Input, number: int, key: str | None = None, note: events.Note | None = None) -> None:
        if not self.live.wants(event):
            return
        if note is not None:
            self._record(note)
        self._record(event, key)
        self._conclude(self.live.apply(event, self.now), number)

    def _conclude(self, issued: Iterable[commands.Command], number: int) -> None:
        warnings = [events.WarningRecorded(each) for each in self.live.warnings()]
        for command in issued:
            effect = command.recorded()
            if isinstance(effect, events.Close):
                self._note(warnings)  # a history ends with how the run ended
            self._record(effect)
            _CARRY[type(command)](self, command)
        for call in self.live.local.let_go():
            self._drop_timer(call)
        self._note(warnings)
        if self.closed:
            self.closed_by = number

    def _note(self, notes: list[events.WarningRecorded]) -> None:
        while notes:
            self._record(notes.pop(0))

    def _record(self, event: events.Event, key: str | None = None) -> None:
        self._version += 1
        self.events.append(HistoryEvent.of(self._version, max(self.now, self.live.at), event, key))

    def _take_signal(self, message: Message, number: int) -> None:
        event = self._fitting(message)
        if event is not None:
            self._step(event, number, message.key)

    def _fitting(self, message: Message, *, early: bool = False) -> events.SignalReceived | None:
        """Return the signal's event, or record that it does not fit what is declared."""
        data = message.data
        event = events.SignalReceived(
            data["name"], data.get("payload"), data.get("sender_id", ""), data.get("sent_at"), early
        )
        reason = self._unfit(event)
        if reason is not None:
            rejected = events.SignalRejectedEvent(event.name, reason, event.payload, event.sender_id)
            self._record(rejected, message.key)
            return None
        self.signals.append((event.name, event.payload))
        return event

    def _unfit(self, event: events.SignalReceived) -> str | None:
        definition = self.live.definition
        taken = [each.name for each in definition.settings.signals]
        if taken and event.name not in taken:
            return f"workflow {definition.name!r} takes no signal {event.name!r}.{did_you_mean(event.name, taken)}"
        declared = self.definitions.signal_type(event.name)
        try:
            (declared.converter if declared else UNTYPED).read(event.payload, f"payload of signal {event.name!r}")
        except PayloadError as error:
            return str(error)
        return None

    def _take_outcome(self, message: Message, number: int) -> None:
        data = message.data
        if "local" in data:
            self._take_kept(data["local"])
            return
        activity: int = data["activity"]
        note = None
        if data.get("started_at"):
            note = events.ActivityStarted(activity, data["attempt"], data.get("worker", ""), data["started_at"])
        event = outcome_event(data)
        pending = self.live.pending.get(activity)
        if pending is not None:
            self.outcomes.append((pending.activity.name, data.get("result"), data.get("failure")))
        self._step(event, number, note=note)

    def _take_kept(self, data: dict[str, Any]) -> None:
        """Take the outcome of a local activity that was kept when its step could not be carried out (see :func:`kept`)."""
        event = events.decode(data["type"], data["version"], data["data"])
        call = self.live.local.pending.get(data["data"]["command"])
        if call is not None and not call.waiting and call.is_same(event):  # type: ignore[arg-type]  # kept() keeps ends only
            self._take_local(event)  # type: ignore[arg-type]

    def _take_timer(self, message: Message, number: int) -> None:
        self._step(events.TimerFired(message.data["timer"]), number)

    def _take_cancel(self, message: Message, number: int) -> None:
        self._step(events.CancelRequested(message.data.get("reason", "")), number, message.key)

    def _take_timeout(self, _: Message, number: int) -> None:
        started = self.live.started
        event, failure = timed_out(None if started is None else started.timeout)
        self._record(event)
        self._close(WorkflowStatus.TIMED_OUT, failure=failure)
        self.closed_by = number

    # -- commands ------------------------------------------------------------------------------------------------------

    def _schedule_activity(self, command: commands.ScheduleActivity) -> None:
        options = ActivityOptions.from_json(command.options)
        start_by = _after(self.now, options.schedule_to_start)
        close_by = _after(self.now, options.schedule_to_close)
        due = [self.now + self.limits.republish_after, *(each for each in (start_by, close_by) if each is not None)]
        data: dict[str, Json] = {"name": command.activity, "args": command.args}
        if command.kwargs:
            data["kwargs"] = command.kwargs
        if command.options:
            data["options"] = command.options
        if self.run.origin is not None and "carried" in self.run.origin:
            data["carried"] = self.run.origin["carried"]
        self._add(
            Task(
                self.run.run_id,
                TaskKind.ACTIVITY,
                command.number,
                TaskState.QUEUED,
                min(due),
                self.run.namespace,
                queue=options.queue,
                data=data,
                published=1,
                start_to_close=_length(options.start_to_close) or self.limits.start_to_close,
                heartbeat=_length(options.heartbeat),
                schedule_to_start_by=start_by,
                schedule_to_close_by=close_by,
            )
        )

    def _cancel_activity(self, command: commands.CancelActivity) -> None:
        key = (TaskKind.ACTIVITY, command.activity)
        if self.tasks.pop(key, None) is not None:  # scheduled in this very turn: nobody has seen it yet
            if command.wait:
                self._own.append(events.ActivityCanceled(command.activity))
        elif command.wait:
            self.canceling.append(command.activity)
        else:
            self.dropped.append(key)

    def _start_timer(self, command: commands.StartTimer) -> None:
        self._add_timer(command.number, command.fire_at)

    def _add_timer(self, number: int, fire_at: Micros) -> None:
        self._add(
            Task(
                self.run.run_id,
                TaskKind.TIMER,
                number,
                TaskState.QUEUED,
                fire_at,
                self.run.namespace,
                queue=self.run.queue,
            )
        )

    def _cancel_timer(self, command: commands.CancelTimer) -> None:
        self._drop_timer(command.timer)

    def _drop_timer(self, number: int) -> None:
        key = (TaskKind.TIMER, number)
        if self.tasks.pop(key, None) is None:
            self.dropped.append(key)

    def _add(self, task: Task) -> None:
        self.tasks[task.kind, task.seq] = task

    def _nothing(self, command: commands.Command) -> None:
        """Its event is all there is to it."""

    def _complete(self, command: commands.CompleteWorkflow) -> None:
        self._close(WorkflowStatus.COMPLETED, result=command.result)

    def _fail(self, command: commands.FailWorkflow) -> None:
        self._close(WorkflowStatus.FAILED, failure=command.failure)

    def _cancel_workflow(self, command: commands.CancelWorkflow) -> None:
        message = CANCELED + (f": {command.reason}" if command.reason else "")
        self._close(WorkflowStatus.CANCELED, failure={"type": "CancelledError", "message": message})

    def _close(self, status: WorkflowStatus, *, result: Json = None, failure: dict[str, Json] | None = None) -> None:
        self.status, self.result, self.failure = status, result, failure

    # -- the commit ----------------------------------------------------------------------------------------------------

    def commit(self, *, turn_token: str | None, settles: Fence | None = None, leave_due: bool = False) -> Commit:
        """Return all that the turn decided, as one commit."""
        tasks: Sequence[Task] = list(self.tasks.values())
        if self.closed:
            tasks = [finish_task(self.run, self.now, self.limits.republish_after)] if self.run.origin else []
        return Commit(
            run_id=self.run.run_id,
            epoch=self.run.epoch,
            version=self.run.version,
            inbox_seq=self.seen,
            status=self.status,
            events=self.events,
            consumed=self.consumed,
            tasks=tasks,
            dropped=() if self.closed else self.dropped,
            canceling=() if self.closed else self.canceling,
            result=self.result,
            failure=self.failure,
            waits=() if self.closed else tuple(islice(self.live.waits(), MAX_WAITS)),
            turn_token=turn_token,
            settles=settles,
            leave_due=leave_due,
            origin=self.origin,
        )

    @property
    def version(self) -> int:
        """The number of the last event, once the turn is committed."""
        return self._version


MAX_WAITS: Final = 20
"""How many of the things that a run waits for are shown with it."""


CANCELED: Final = "the workflow was canceled"
"""How the message of a canceled run's failure begins."""


def timed_out(timeout: float | None) -> tuple[events.WorkflowTimedOut, dict[str, Json]]:
    """Return the event and the failure of a run that took longer than ``timeout`` seconds."""
    seconds = timeout or 0.0
    return events.WorkflowTimedOut(seconds), {
        "type": "WorkflowTimedOutError",
        "message": f"the workflow took longer than {seconds:g} s",
    }


def finish_task(run: Run, now: Micros, republish_after: Micros) -> Task:
    """Return the row that stands for the last message to the one who started the run."""
    return Task(
        run.run_id,
        TaskKind.FINISH,
        0,
        TaskState.QUEUED,
        now + republish_after,
        run.namespace,
        queue=run.queue,
        published=1,
    )


def kept(event: LocalEvent, token: str) -> Message:
    """Return the message that keeps an outcome whose step could not be carried out, for when it can.

    :param token: makes it another message than any before, of calls with the same number that the code made then.
    """
    data = {"type": event.tag, "version": event.version, "data": event.data()}
    return Message(MessageKind.OUTCOME, f"local:{event.command}:{token}", {"local": data})


def outcome_event(data: dict[str, Any]) -> events.Input:
    """Return the event of an activity's outcome."""
    activity: int = data["activity"]
    if "failure" in data:
        return events.ActivityFailed(activity, data["failure"], data.get("attempt", 1))
    if data.get("canceled"):
        return events.ActivityCanceled(activity, data.get("details"))
    return events.ActivityCompleted(activity, data.get("result"))


def _after(now: Micros, seconds: Any) -> Micros | None:
    return None if seconds is None else now + micros(seconds)


def _length(seconds: Any) -> Micros | None:
    return None if seconds is None else micros(seconds)


_TAKE: Final[dict[MessageKind, Callable[[Turn, Message, int], None]]] = {
    MessageKind.SIGNAL: Turn._take_signal,  # noqa: SLF001 - its own table
    MessageKind.OUTCOME: Turn._take_outcome,  # noqa: SLF001
    MessageKind.TIMER: Turn._take_timer,  # noqa: SLF001
    MessageKind.CANCEL: Turn._take_cancel,  # noqa: SLF001
    MessageKind.TIMEOUT: Turn._take_timeout,  # noqa: SLF001
}

_CARRY: Final[dict[type[commands.Command], Callable[[Turn, Any], None]]] = {
    commands.ScheduleActivity: Turn._schedule_activity,  # noqa: SLF001
    commands.CancelActivity: Turn._cancel_activity,  # noqa: SLF001
    commands.StartTimer: Turn._start_timer,  # noqa: SLF001
    commands.CancelTimer: Turn._cancel_timer,  # noqa: SLF001
    commands.RecordSideEffect: Turn._nothing,  # noqa: SLF001
    commands.MarkPatch: Turn._nothing,  # noqa: SLF001
    commands.CompleteWorkflow: Turn._complete,  # noqa: SLF001
    commands.FailWorkflow: Turn._fail,  # noqa: SLF001
    commands.CancelWorkflow: Turn._cancel_workflow,  # noqa: SLF001
}
