"""The local activities that a run has asked for and has no outcome of: calls that its turns make themselves.

Nothing is recorded of the wish. The outcome is the one event, an input that names the command's number and the activity, so
that a history knows calls only that were made; what is asked for and has no outcome when a history ends is made then.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from celeriac.errors import ActivityError, ActivityTimeoutError
from celeriac.failures import Failure
from celeriac.orchestrator import commands, events
from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.futures import ActivityFuture
from celeriac.orchestrator.model import Micros
from celeriac.orchestrator.primitives.blame import user_line
from celeriac.payloads import Json

if TYPE_CHECKING:
    from celeriac.activities.definition import ActivityDefinition
    from celeriac.orchestrator.live import LiveRun

LocalEvent = events.LocalActivityCompleted | events.LocalActivityFailed | events.LocalActivityDelayed
"""What may become of an attempt."""
ENDS: Final = frozenset({events.LocalActivityCompleted.tag, events.LocalActivityFailed.tag})


class LocalFuture(ActivityFuture[Any]):
    """The outcome of a local activity. Canceled before its call it leaves no trace; a call that was begun has its outcome."""

    def cancel(self, msg: Any | None = None) -> bool:
        """Take the call back. True unless it is over."""
        return not self.done() and self.run.local.cancel(self, msg)


@dataclass(slots=True, eq=False)
class LocalCall:
    """A call to be made by a turn.

    :param asked_at: the workflow's time when the code asked for it.
    :param attempts: how many have failed so far.
    :param due: when the next is to be made, by the turn's clock.
    :param told: whether the history knows of these attempts.
    :param waiting: for the timer of the call's number, since the history says that it was delayed.
    :param where: the line that asked for it; on replay only.
    """

    number: int
    activity: ActivityDefinition
    args: list[Json]
    kwargs: dict[str, Json]
    future: LocalFuture
    asked_at: Micros
    attempts: int = 0
    failure: Failure | None = None
    due: Micros = 0
    told: bool = True
    waiting: bool = False
    where: str | None = None

    def phrase(self) -> str:
        """Name the call the way its author would."""
        return commands.local(self.activity.name, self.number)

    def is_of(self, event: LocalEvent) -> bool:
        """Say whether an event is of this call: same number, same name."""
        return event.command == self.number and event.activity == self.activity.name

    def is_same(self, event: events.LocalActivityCompleted | events.LocalActivityFailed) -> bool:
        """Say whether an outcome answers this very call, arguments included."""
        return self.is_of(event) and event.args == self.args and event.kwargs == self.kwargs


class LocalCalls:
    """The calls of one run, in the order in which its code asked for them."""

    def __init__(self, run: LiveRun) -> None:
        self._run = run
        self.pending: OrderedDict[int, LocalCall] = OrderedDict()
        self._foreseen: dict[int, str] = {}
        self._let_go: list[int] = []

    # -- what the code asks for ----------------------------------------------------------------------------------------

    def call(self, activity: ActivityDefinition, args: Sequence[Any], kwargs: Mapping[str, Any]) -> LocalFuture:
        """Number a call and return the future of its outcome."""
        run = self._run
        run.check_alive()
        given: list[Json] = []
        named: dict[str, Json] = {}
        known = self._foreseen.get(run.next_number) == activity.name
        if not known:  # else the recorded outcome stands, and nobody looks at the arguments again
            given, named = run.written(activity, args, kwargs, "local activity")
        number = run.take_number()
        future = LocalFuture(run, number, activity)
        if not run.closed:
            call = LocalCall(number, activity, given, named, future, run.at)
            if run.replaying and not known and run.loop.is_running():
                call.where = user_line(sys._getframe(1))  # noqa: SLF001 - the one cheap way to a frame
            self.pending[number] = call
        return future

    def cancel(self, future: LocalFuture, msg: Any) -> bool:
        """Take back a call that has not been made."""
        call = self.pending.pop(future.command, None)
        if call is not None and call.waiting:
            self._let_go.append(call.number)
        return future.cancel_now(msg)

    def let_go(self) -> list[int]:
        """Return, once, the calls that were taken back while a timer of theirs runs."""
        found, self._let_go = self._let_go, []
        return found

    # -- what becomes of it --------------------------------------------------------------------------------------------

    def wants(self, event: LocalEvent) -> bool:
        """Say whether an event is of a call that is pending."""
        call = self.pending.get(event.command)
        return call is not None and call.is_of(event)

    def waits_for(self, timer: int) -> bool:
        """Say whether a call waits for the timer of its number."""
        call = self.pending.get(timer)
        return call is not None and call.waiting

    def foresee(self, history: Sequence[HistoryEvent]) -> None:
        """Take note of the outcomes that are about to be fed."""
        self._foreseen = {each.data["command"]: each.data["activity"] for each in history if each.type in ENDS}

    def completed(self, event: events.LocalActivityCompleted) -> None:
        """Hand a result to the code."""
        call = self.pending.pop(event.command, None)
        if call is not None and not call.future.done():
            label = f"result of local activity {event.activity!r}"
            call.future.set_result(self._run.read(lambda: call.activity.result.read(event.result, label)))

    def failed(self, event: events.LocalActivityFailed) -> None:
        """Hand a failure to the code."""
        call = self.pending.pop(event.command, None)
        if call is not None and not call.future.done():
            kind = ActivityTimeoutError if event.failure.get("timeout") else ActivityError
            call.future.set_exception(kind(event.activity, event.failure, event.attempts))

    def delayed(self, event: events.LocalActivityDelayed) -> None:
        """Keep in mind what has failed, and wait for the timer."""
        call = self.pending.get(event.command)
        if call is not None:
            call.attempts, call.failure, call.due = event.attempts, event.failure, event.retry_at
            call.told = call.waiting = True

    def fired(self, timer: int) -> bool:
        """Let the call of this number be made; False when there is none."""
        if not self.waits_for(timer):
            return False
        call = self.pending[timer]
        call.waiting, call.due = False, 0
        return True

    # -- what is next ----------------------------------------------------------------------------------------------------

    def ready(self, now: Micros) -> LocalCall | None:
        """Return the next call to make, if one is due."""
        return next((each for each in self.pending.values() if not each.waiting and each.due <= now), None)

    def next_due(self) -> Micros | None:
        """Return when the next attempt is due of the calls that wait for no timer."""
        return min((each.due for each in self.pending.values() if not each.waiting), default=None)

    def untold(self) -> list[LocalCall]:
        """Return the calls with failed attempts that the history does not know of."""
        return [each for each in self.pending.values() if not each.told]

    def left(self) -> bool:
        """Whether there are calls to make."""
        return any(not each.waiting for each in self.pending.values())
