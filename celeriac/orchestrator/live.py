"""A live run: one workflow's code, suspended between inputs. It knows no clock, no broker and no store.

``apply`` feeds it one input event and runs its code until nothing is ready; what the code asked for
meanwhile, in program order, are the step's commands. Fed with recorded steps it holds the commands against
the recorded effects instead.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from celeriac.errors import (
    ActivityError,
    ActivityTimeoutError,
    Held,
    InvalidCall,
    NonDeterminismError,
    PayloadError,
    RuntimeFault,
)
from celeriac.orchestrator import commands, events
from celeriac.orchestrator.bridge import run_sync
from celeriac.orchestrator.calls import LocalCalls
from celeriac.orchestrator.conditions import Conditions
from celeriac.orchestrator.frames import frames_of, raised_at, users_part
from celeriac.orchestrator.futures import ActivityFuture
from celeriac.orchestrator.guards import Guard
from celeriac.orchestrator.loop import RunDiscarded, WorkflowLoop, WorkflowTask, WorkflowTimer
from celeriac.orchestrator.model import SECOND, Micros, micros, moment
from celeriac.orchestrator.outcome import closed_by_cancel, closed_by_error, closed_by_result
from celeriac.orchestrator.primitives.blame import NOT_THE_USERS, place_of, user_line
from celeriac.orchestrator.quiet import install as install_quiet
from celeriac.orchestrator.signals import SignalBuffer
from celeriac.orchestrator.weight import PENDING, SUSPENDED, given
from celeriac.payloads import UNTYPED, Arguments, Converter, Json, check_size

if TYPE_CHECKING:
    from celeriac.activities.definition import ActivityDefinition
    from celeriac.orchestrator.definition import Definitions, WorkflowDefinition

_AWAY: Final = (
    "a local activity used the workflow's context, which can't be replayed. Hand it what it needs as arguments, and let "
    "the workflow do the rest with its result"
)
NO_MORE: Final = "nothing more in this step"


class UnreadablePayload(Held):
    """A recorded value that the code's annotations can no longer read; the run is held until they can."""


class SideEffectAhead(Held):
    """A copy of a run that only looks has come to a side effect that is not recorded yet, and must not bring it about."""


class LiveRun:
    """One run's code between two inputs.

    :param definition: the workflow.
    :param run_id: the run's id, also what its random numbers are seeded with unless the start event says otherwise.
    :param workflow_id: the workflow id.
    :param definitions: where activities and signal types are looked up.
    :param interrupts: exception types that are raised into a thread from outside (time limits of the
        executor). One that comes out of the code discards the turn.
    :param only_looks: this copy answers a query: it brings about no side effects and logs nothing.
    """

    def __init__(
        self,
        definition: WorkflowDefinition,
        *,
        run_id: str,
        workflow_id: str,
        definitions: Definitions,
        interrupts: tuple[type[BaseException], ...] = (),
        only_looks: bool = False,
    ) -> None:
        from celeriac.orchestrator.context import WorkflowContext  # noqa: PLC0415 - the two know each other

        self.definition = definition
        self.run_id = run_id
        self.workflow_id = workflow_id
        self.definitions = definitions
        self.interrupts = interrupts
        self.only_looks = only_looks
        self.version = 0
        """The number of the last event that this run has seen."""
        self.at: Micros = 0
        self.alive = True
        self.away = False
        """Whether a local activity is at work, whose code must keep its hands off the context."""
        self.closed = False
        self.replaying = False
        self.cancel_requested: str | None = None
        self._seed = run_id
        self._random: random.Random | None = None
        self.loop = WorkflowLoop(on_timer_started=self._timer_started, on_timer_cancelled=self._timer_canceled)
        self.signals = SignalBuffer(self.loop)
        self.queries: dict[str, Callable[..., Any]] = {}
        self.patches: dict[str, bool] = {}
        self.conditions = Conditions(interrupts)
        self.loop.on_idle = self.conditions.wake
        self.pending: dict[int, ActivityFuture[Any]] = {}
        self.local = LocalCalls(self)
        self.ahead = NO_MORE
        """On replay, what the history goes on with after the step, where that says more than that the step is over."""
        self.timers: dict[int, WorkflowTimer] = {}
        self.started: events.WorkflowStarted | None = None
        self.context = WorkflowContext(self)
        self._main: WorkflowTask[Any] | None = None
        self._numbers = 0
        self._steps = 0
        self._given = 0
        self._step: dict[int, commands.Command] = {}
        self._where: dict[int, str] = {}
        self._recorded: dict[int, tuple[int, events.Effect]] = {}
        install_quiet()

    @property
    def weight(self) -> int:
        """About how many bytes it keeps in memory; see :mod:`celeriac.orchestrator.weight` for how far that can be trusted."""
        return SUSPENDED + self._given + PENDING * (len(self.pending) + len(self.timers))

    # -- steps ---------------------------------------------------------------------------------------------------------

    def wants(self, event: events.Input) -> bool:
        """Say whether an input is for something still pending; one that is not is dropped before it is recorded."""
        if self.closed:
            return False
        match event:
            case events.ActivityCompleted() | events.ActivityFailed() | events.ActivityCanceled():
                return event.activity in self.pending
            case events.LocalActivityCompleted() | events.LocalActivityFailed() | events.LocalActivityDelayed():
                return self.local.wants(event)
            case events.TimerFired():
                return event.timer in self.timers or self.local.waits_for(event.timer)
            case events.CancelRequested():
                return self.cancel_requested is None
            case _:
                return True

    def apply(
        self,
        event: events.Input,
        at: Micros,
        recorded: Sequence[events.HistoryEvent] | None = None,
        early: Sequence[events.SignalReceived] = (),
        number: int = 0,
    ) -> list[commands.Command]:
        """Feed one input, run the code until nothing is ready, and return what it asked for, in program order.

        :param early: signals that come with it: before the start of the function, after another signal.
        :param at: when the input was taken up; the loop's clock until the next one.
        :param recorded: on replay, the effects that the history has for this step; the commands must agree with them.
        :param number: on replay, the input's number in the history.
        :raises NonDeterminismError: they don't.
        :raises Held: the step can't be carried out; the run must be discarded.
        """
        self.at = max(at, self.at)
        self.loop.now = self.at / SECOND
        self._steps += 1
        self._step.clear()
        self._where.clear()
        self.replaying = recorded is not None
        self.loop.silent = self.quiet
        effects = [(each.number, each.event()) for each in recorded or ()]
        self._recorded = {effect.command: (at, effect) for at, effect in effects if isinstance(effect, events.Effect)}
        arrivals = [event, *early] if isinstance(event, events.SignalReceived) else [*early, event]
        try:
            for each in arrivals:
                self._given += given(each)
                _APPLY[type(each)](self, each)
            self._run()
        finally:
            self._recorded = {}
        issued = list(self._step.values())
        if recorded is not None:
            self._compare(issued, effects, number)
        return issued

    def steps(self) -> int:
        """Return how many steps have been begun, whether they were recorded or new."""
        return self._steps

    def _run(self) -> None:
        loop = self.loop
        with Guard():
            while True:
                try:
                    loop.run_until_idle()
                except SystemExit as error:
                    self._note_exit(error)
                    continue
                break
        if loop.held is not None:
            raise loop.held
        if self._main is not None and self._main.done() and not self.closed:
            self._close(self._main)

    def _note_exit(self, error: SystemExit) -> None:
        """Account for an attempt to leave: a task keeps it as its exception, where it counts like any other; others don't."""
        # What it went through on its way out of the loop would keep the task alive, and its exception from being missed.
        error.__traceback__ = users_part(error.__traceback__)
        tasks = self.loop._tasks  # noqa: SLF001 - the finished ones too, which nobody else has to know
        if not any(getattr(each, "_exception", None) is error for each in tasks):
            self.loop.call_exception_handler({"message": "a callback tried to leave", "exception": error})

    def hold(self, error: Held) -> Held:
        """Make sure that the step can't be carried out, whatever the code does with the exception. Returns it."""
        if self.loop.held is None:
            self.loop.held = error
        return error

    @property
    def random(self) -> random.Random:
        """The run's own random numbers; few runs need any, and seeding costs more than most steps."""
        if self._random is None:
            self._random = random.Random(self._seed)  # noqa: S311 - reproducible is the point
        return self._random

    @property
    def quiet(self) -> bool:
        """Whether what the code logs has been logged before, or is none of the log's business."""
        return self.replaying or self.only_looks or not self.alive

    def _compare(
        self, issued: Sequence[commands.Command], effects: Sequence[tuple[int, events.Event]], number: int
    ) -> None:
        for position, (at, effect) in enumerate(effects):
            if not isinstance(effect, events.Effect):
                raise RuntimeFault(f"event {at} ({effect.tag}) can't stand among the effects of a step")
            if position >= len(issued):
                call = self.local.pending.get(effect.command)
                instead, where = (NO_MORE, None) if call is None else (call.phrase(), call.where)
                raise NonDeterminismError(at, commands.describe(effect), instead, where)
            command = issued[position]
            if not command.agrees(effect):
                where = self._where.get(command.number)
                raise NonDeterminismError(at, commands.describe(effect), command.phrase(), where)
        if len(issued) > len(effects):
            command = issued[len(effects)]
            after = (effects[-1][0] if effects else number) + 1
            raise NonDeterminismError(after, self.ahead, command.phrase(), self._where.get(command.number))

    # -- inputs --------------------------------------------------------------------------------------------------------

    def _start(self, event: events.WorkflowStarted) -> None:
        self.started = event
        if event.seed:
            self._seed = event.seed
        args, kwargs = self.read(lambda: self.definition.signature.read(Arguments(event.args, event.kwargs)))
        if self.definition.is_async:
            code = self.definition.fn(self.context, *args, **kwargs)
        else:
            code = _plain(self.definition.fn, self.context, *args, **kwargs)
        self._main = self.loop.create_task(code, name=self.definition.name)

    def _signal(self, event: events.SignalReceived) -> None:
        self.loop.call_soon(self.signals.arrived, event.name, self._payload(event))

    def _payload(self, event: events.SignalReceived) -> Any:
        declared = self.definitions.signal_type(event.name)
        converter = declared.converter if declared else UNTYPED
        return self.read(lambda: converter.read(event.payload, f"payload of signal {event.name!r}"))

    def _activity_completed(self, event: events.ActivityCompleted) -> None:
        future = self._settled(event.activity)
        if future is not None:
            self._cancel_later(future)
            converter = future.activity.result
            label = f"result of activity {future.activity.name!r}"
            future.set_result(self.read(lambda: converter.read(event.result, label)))

    def _activity_failed(self, event: events.ActivityFailed) -> None:
        future = self._settled(event.activity)
        if future is not None:
            self._cancel_later(future)
            kind = ActivityTimeoutError if event.failure.get("timeout") else ActivityError
            future.set_exception(kind(future.activity.name, event.failure, event.attempts))

    def _activity_canceled(self, event: events.ActivityCanceled) -> None:
        future = self._settled(event.activity)
        if future is not None:
            future.cancel_now()

    def _cancel_later(self, future: ActivityFuture[Any]) -> None:
        """Keep the promise of a cancellation that waited for an activity which then ended by itself.

        Its outcome belongs to the code that awaits it; the main function is canceled at what it awaits next.
        """
        main = self._main
        if future.asked and self.cancel_requested is not None and main is not None and _awaits(main, future):
            future.add_done_callback(lambda _: main.cancel(self.cancel_requested or None))

    def _settled(self, number: int) -> ActivityFuture[Any] | None:
        future = self.pending.pop(number, None)
        return future if future is not None and not future.done() else None

    def _timer_fired(self, event: events.TimerFired) -> None:
        if self.local.fired(event.timer):
            return
        handle = self.timers.pop(event.timer, None)
        if handle is not None:
            self.loop.fire(handle)

    def _cancel(self, event: events.CancelRequested) -> None:
        if self.cancel_requested is None and self._main is not None:
            self.cancel_requested = event.reason
            self._main.cancel(event.reason or None)

    def read(self, read: Callable[[], Any]) -> Any:
        """Read a recorded value, or hold the run.

        :raises UnreadablePayload: the code's annotations don't fit it.
        """
        try:
            return read()
        except PayloadError as error:
            raise UnreadablePayload(str(error)) from None

    # -- commands ------------------------------------------------------------------------------------------------------

    def issue(self, make: Callable[[int], commands.Command]) -> commands.Command:
        """Number a command and add it to the step."""
        self.check_alive()
        command = make(self.take_number())
        if not self.closed:
            self._step[command.number] = command
            if self.replaying and self.loop.is_running() and not self._is_recorded(command):
                self._where[command.number] = user_line(sys._getframe(1))  # noqa: SLF001 - the one cheap way to a frame
        return command

    @property
    def next_number(self) -> int:
        """The number of the next command."""
        return self._numbers + 1

    def take_number(self) -> int:
        """Count a command and return its number."""
        self._numbers += 1
        return self._numbers

    def _is_recorded(self, command: commands.Command) -> bool:
        known = self._recorded.get(command.number)
        return known is not None and command.agrees(known[1])

    def check_alive(self) -> None:
        """Raise out of a call on the context of a run that was dropped from memory, or that waits for a local activity."""
        if not self.alive:
            raise RunDiscarded
        if self.away:
            raise InvalidCall(_AWAY)

    def schedule_activity(
        self, activity: ActivityDefinition, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> ActivityFuture[Any]:
        """Issue a ScheduleActivity and return the future of its outcome.

        On replay the recorded arguments stand; what the code passes now is not even looked at.
        """
        self.check_alive()
        _, known = self._recorded.get(self._numbers + 1, (0, None))
        if isinstance(known, events.ActivityScheduled) and known.activity == activity.name:
            given, named, options = known.args, known.kwargs, known.options
        else:
            given, named = self.written(activity, args, kwargs, "activity")
            options = activity.options.to_json()
        command = self.issue(lambda number: commands.ScheduleActivity(number, activity.name, given, named, options))
        future: ActivityFuture[Any] = ActivityFuture(self, command.number, activity)
        self.pending[command.number] = future
        return future

    def written(
        self, activity: ActivityDefinition, args: Sequence[Any], kwargs: Mapping[str, Any], kind: str
    ) -> tuple[list[Json], dict[str, Json]]:
        """Check and write the arguments of a call.

        One that is refused takes a number all the same: else its replay, which looks at no arguments where a call of the
        same name is recorded, would take the next call's place.

        :raises InvalidCall, PayloadError: they can't be recorded.
        """
        try:
            written = activity.write(args, kwargs)
            given, named = list(written.args), dict(written.kwargs)
            limit = self.definitions.max_payload
            check_size([*given, *named.values()], limit, f"the arguments of {kind} {activity.name!r}")
        except Exception:
            self.take_number()
            raise
        return given, named

    def cancel_activity(self, future: ActivityFuture[Any], msg: Any) -> bool:
        """Cancel a pending activity's future: elided within its own step, recorded later, waited for where so declared."""
        if not self.alive:
            return future.cancel_now(msg)
        number, kind = future.command, future.activity.options.cancellation
        if self._step.pop(number, None) is not None or kind == "abandon":
            self.pending.pop(number, None)
            return future.cancel_now(msg)
        waits = kind == "wait"
        if waits and future.asked:
            return True
        self.issue(lambda own: commands.CancelActivity(own, number, str(msg or ""), waits))
        if waits:
            future.asked = True
            return True
        self.pending.pop(number, None)
        return future.cancel_now(msg)

    def _timer_started(self, handle: WorkflowTimer, delay: float) -> None:
        fire_at = self.at + micros(delay)
        handle.number = self.issue(lambda number: commands.StartTimer(number, fire_at)).number
        self.timers[handle.number] = handle

    def _timer_canceled(self, handle: WorkflowTimer) -> None:
        number = handle.number
        if not self.alive or number is None or self.timers.pop(number, None) is None:
            return
        if self._step.pop(number, None) is None:
            self.issue(lambda own: commands.CancelTimer(own, number))

    def side_effect(self, make: Callable[[], Any], converter: Converter) -> Any:
        """Return what ``make`` returned when the code first came here, and record it then."""
        number = self._numbers + 1
        at, known = self._recorded.get(number, (None, None))
        if isinstance(known, events.SideEffectRecorded):
            value: Json = known.value
        elif self.replaying:
            recorded = commands.describe(known) if known is not None else NO_MORE
            where = user_line(sys._getframe(1))  # noqa: SLF001 - the one cheap way to a frame
            raise self.hold(NonDeterminismError(at, recorded, f"side effect (command {number})", where))
        elif self.only_looks:
            raise self.hold(SideEffectAhead("this copy of the run only looks"))
        else:
            value = converter.write(make(), "value of a side effect")
        self.issue(lambda own: commands.RecordSideEffect(own, value))
        try:
            return self.read(lambda: converter.read(value, "value of a side effect"))
        except UnreadablePayload as error:
            raise self.hold(error) from None

    def patched(self, patch: str) -> bool:
        """Say whether the run is on the new side of a patch: yes for new code, no where the history was made without it."""
        decided = self.patches.get(patch)
        if decided is None:
            decided = not self.replaying or self._marked(patch)
            self.patches[patch] = decided
            if decided:
                self.issue(lambda number: commands.MarkPatch(number, patch))
        return decided

    def deprecate_patch(self, patch: str) -> None:
        """Stand where ``patched`` stood, now that every run takes the new side: old runs' marks are matched, none is made."""
        if patch not in self.patches and self._marked(patch):
            self.patches[patch] = True
            self.issue(lambda number: commands.MarkPatch(number, patch))

    def _marked(self, patch: str) -> bool:
        _, known = self._recorded.get(self._numbers + 1, (0, None))
        return isinstance(known, events.PatchMarked) and known.patch == patch

    # -- the end -------------------------------------------------------------------------------------------------------

    def _close(self, main: WorkflowTask[Any]) -> None:
        error = None if main.cancelled() else main.exception()
        definition = self.definition
        if main.cancelled():
            self.issue(lambda number: closed_by_cancel(number, self.cancel_requested))
        elif error is not None:
            self.issue(lambda number: closed_by_error(number, error, definition, self.interrupts))
        else:
            limit = self.definitions.max_payload
            self.issue(lambda number: closed_by_result(number, main.result(), definition, limit))
        if self.replaying and error is not None:
            self._where[self._numbers] = raised_at(error.__traceback__)
        self.closed = True

    def warnings(self) -> list[str]:
        """Return, once, what went wrong without ending the run, such as tasks whose exception nobody awaited."""
        found = [_told(each) for each in self.loop.errors]
        self.loop.errors.clear()
        if self.closed and self._main is not None and not self._main.cancelled() and self._main.exception() is None:
            names = sorted({each.activity.name for each in self.pending.values()})
            found += [
                f"it returned while activity {name!r} was under way; did it forget to await it?" for name in names
            ]
        return found

    def discard(self) -> None:
        """Take the run out of memory: its context raises from here on, its commands are ignored."""
        if self.alive:
            self.alive = False
            self.loop.silent = True
            self.loop.close()
            self._main = None
            self.pending.clear()
            self.timers.clear()
            self.conditions.clear()
            self.queries.clear()
            self.local.pending.clear()
            self.signals = SignalBuffer(self.loop)

    # -- looking in ----------------------------------------------------------------------------------------------------

    def waits(self) -> Iterator[str]:
        """Name what the run waits for, each in a phrase."""
        for each in self.pending.values():
            yield f"activity {each.activity.name!r}"
        for call in self.local.pending.values():
            yield f"local activity {call.activity.name!r}"
        for name in self.signals.waited_for():
            yield f"signal {name!r}"
        for _ in range(len(self.conditions)):
            yield "a condition"
        for timer in self.timers.values():
            yield f"timer until {moment(round(timer.when() * SECOND)).isoformat(timespec='milliseconds')}"

    def stack(self) -> list[str]:
        """Return where each of the run's tasks stands, as ``file:line in function``."""
        return [
            f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
            for task in self.loop.pending_tasks()
            for frame in frames_of(task.get_coro())
            if place_of(frame.f_code.co_filename) not in NOT_THE_USERS
        ]


_APPLY: Final[dict[type[events.Input], Callable[[LiveRun, Any], None]]] = {
    events.WorkflowStarted: LiveRun._start,  # noqa: SLF001 - its own table
    events.SignalReceived: LiveRun._signal,  # noqa: SLF001
    events.ActivityCompleted: LiveRun._activity_completed,  # noqa: SLF001
    events.ActivityFailed: LiveRun._activity_failed,  # noqa: SLF001
    events.ActivityCanceled: LiveRun._activity_canceled,  # noqa: SLF001
    events.LocalActivityCompleted: lambda run, event: run.local.completed(event),
    events.LocalActivityFailed: lambda run, event: run.local.failed(event),
    events.LocalActivityDelayed: lambda run, event: run.local.delayed(event),
    events.TimerFired: LiveRun._timer_fired,  # noqa: SLF001
    events.CancelRequested: LiveRun._cancel,  # noqa: SLF001
}


async def _plain(fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Run a plain function; one that turns out to return a coroutine (a decorator's doing) is awaited."""
    value = await run_sync(fn, *args, **kwargs)
    return await value if inspect.iscoroutine(value) else value


def _awaits(task: asyncio.Future[Any] | None, future: ActivityFuture[Any]) -> bool:
    """Say whether a task waits for this very future, itself or by way of tasks that it awaits."""
    while task is not None and task is not future:
        task = getattr(task, "_fut_waiter", None)
    return task is future


def _told(context: dict[str, Any]) -> str:
    """Put what reached the loop's exception handler into words."""
    error, task = context.get("exception"), context.get("task", context.get("future"))
    message = context.get("message", "error in a callback")
    if isinstance(task, asyncio.Task) and task.done():
        message = f"task {task.get_name()!r} raised, and nobody awaited it"
    return message if error is None else f"{message}: {type(error).__name__}: {error}"
