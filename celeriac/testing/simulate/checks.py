"""What is held against a world when everything has come to rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from celeriac.orchestrator import events
from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.model import Micros, Run
from celeriac.orchestrator.status import WorkflowStatus
from celeriac.testing.histories import replay_every_prefix
from celeriac.testing.simulate.acting import GOOD_CODE, TYPED, read
from celeriac.testing.simulate.clients import CHANNEL, Story
from celeriac.testing.simulate.judging import Canceled, End, Failure, Judge, Value
from celeriac.testing.simulate.process import NAMESPACE
from celeriac.testing.simulate.scheduler import Violation

if TYPE_CHECKING:
    from celeriac.testing.simulate.world import World

_OUTSIDE: Final = {WorkflowStatus.TERMINATED: "terminate", WorkflowStatus.TIMED_OUT: "timeout"}
_LAST: Final = (events.Close, events.WorkflowTerminated, events.WorkflowTimedOut)


def check(world: World, story: Story, *, replay: bool) -> None:
    """Hold a run that has come to rest against the model and the promises.

    :param replay: replay its history from every step on, too.
    :raises Violation: something does not hold.
    """
    state = world.store.load(NAMESPACE, story.workflow_id)
    if state is None:
        raise Violation(f"{story.workflow_id} was started and is gone")
    run, history = state.run, state.history
    _must(not run.status.open, f"{story.workflow_id} is {run.status} and nothing more will happen: {run.blocked}")
    _must(not state.inbox, f"messages are left: {[each.message.key for each in state.inbox]}")
    _must(not state.tasks, f"rows are left: {[(each.kind, each.seq, each.state) for each in state.tasks]}")
    facts = History(history)
    facts.check()
    _check_end(story, run, facts)
    _check_channel(history)
    if run.status not in _OUTSIDE:
        _check_signals(story, history)
    _check_ledger(world, run, facts)
    if replay:
        _check_replay(world, story, history, run)


def _must(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Violation(otherwise)


class History:
    """A closed run's history, looked through once."""

    def __init__(self, history: Sequence[HistoryEvent]) -> None:
        self.history = history
        self.canceled = False
        self.locals: dict[int, int] = {}
        """The attempt that brought each local activity's result, by its number."""
        self.outcomes: dict[int, Any] = {}
        """The attempt that brought each activity's result, by the activity's number; None where it brought none."""
        self._scheduled: dict[int, dict[str, Any]] = {}
        self._asked: set[int] = set()
        self._timers: dict[int, int] = {}
        self._attempt: dict[int, events.ActivityStarted] = {}
        self._local_ends: set[int] = set()
        self._commands = 0

    def check(self) -> None:
        """Go through the events in order.

        :raises Violation: they can't have happened like this.
        """
        at, keys = 0, Counter(each.key for each in self.history if each.key is not None)
        _must(not [key for key, times in keys.items() if times > 1], f"recorded twice: {keys.most_common(1)}")
        for place, recorded in enumerate(self.history, 1):
            if recorded.number != place:
                raise Violation(f"event {place} is numbered {recorded.number}")
            if recorded.at < at:
                raise Violation(f"event {place} is older than the one before")
            at = recorded.at
            event = recorded.event()
            if isinstance(event, events.Effect):
                if event.command <= self._commands:
                    raise Violation(f"command {event.command} follows {self._commands}")
                self._commands = event.command
            self._look(event, recorded)
        _must(isinstance(self.history[0].event(), events.WorkflowStarted), "the history does not begin with its start")
        last = self.history[-1].event()
        _must(isinstance(last, _LAST), f"the history of a closed run ends with {self.history[-1].type}")

    def _look(self, event: events.Event, recorded: HistoryEvent) -> None:
        match event:
            case events.ActivityScheduled():
                self._scheduled[event.command] = read(event.args[0])
            case events.ActivityCancelRequested():
                self._asked.add(event.activity)
            case events.ActivityStarted():
                self._began(event, recorded.at)
            case events.ActivityCompleted() | events.ActivityFailed() | events.ActivityCanceled():
                self._end(event)
            case events.LocalActivityCompleted() | events.LocalActivityFailed():
                self._end_local(event)
            case events.CancelRequested():
                _must(not self.canceled, "the cancellation was delivered twice")
                self.canceled = True
            case _:
                self._look_at_timer(event, recorded.at)

    def _look_at_timer(self, event: events.Event, at: Micros) -> None:
        match event:
            case events.LocalActivityDelayed():
                self._timers[event.command] = event.retry_at
            case events.TimerStarted():
                self._timers[event.command] = event.fire_at
            case events.TimerFired():
                self._fired(event.timer, at)
            case events.TimerCanceled():
                if self._timers.pop(event.timer, None) is None:
                    raise Violation(f"timer {event.timer} canceled when it was over")
            case _:
                pass

    def _began(self, event: events.ActivityStarted, at: Micros) -> None:
        self._attempt[event.activity] = event
        if event.started_at > at:
            raise Violation(f"activity {event.activity} ended before it began")

    def _fired(self, timer: int, at: Micros) -> None:
        fire_at = self._timers.pop(timer, None)
        if fire_at is None:
            raise Violation(f"timer {timer} fired twice, or after it was canceled")
        if fire_at > at:
            raise Violation(f"timer {timer} fired early")

    def _end(self, event: events.ActivityCompleted | events.ActivityFailed | events.ActivityCanceled) -> None:
        number = event.activity
        if number not in self._scheduled:
            raise Violation(f"activity {number} ended and was never scheduled")
        if number in self.outcomes:
            raise Violation(f"activity {number} ended twice")
        waits = self._scheduled[number]["options"].get("cancellation") == "wait"
        _must(number not in self._asked or waits, f"activity {number} ended after the run had given it up")
        self.outcomes[number] = None
        if isinstance(event, events.ActivityCompleted):
            node, attempt = event.result
            began = self._attempt.get(number)
            _must(node == self._scheduled[number]["id"], f"activity {number} has the result of node {node}")
            if began is None or began.attempt != attempt:
                raise Violation(f"activity {number}: the result of attempt {attempt} is recorded as that of {began}")
            self.outcomes[number] = attempt

    def _end_local(self, event: events.LocalActivityCompleted | events.LocalActivityFailed) -> None:
        number = event.command
        _must(number not in self._local_ends, f"local activity {number} ended twice")
        self._local_ends.add(number)
        if isinstance(event, events.LocalActivityCompleted):
            node, attempt = event.result
            _must(node == read(event.args[0])["id"], f"local activity {number} has the result of node {node}")
            _must(attempt == event.attempts, f"local activity {number}: attempt {attempt} recorded as {event.attempts}")
            self.locals[number] = attempt


# -- the end -------------------------------------------------------------------------------------------------------


def _check_end(story: Story, run: Run, facts: History) -> None:
    asked = _OUTSIDE.get(run.status)
    if asked is not None:
        _must(asked in story.asked, f"the run is {run.status} and nobody asked for it")
        return
    sent: dict[str, list[str]] = {}
    for each in story.sent:
        sent.setdefault(each.name, []).append(each.payload)
    judge = Judge(sent, cancelable=facts.canceled)
    end = _end(run)
    _must(facts.canceled is False or "cancel" in story.asked, "the run was canceled and nobody asked for it")
    if facts.canceled and not isinstance(end, Canceled):
        _must(judge.may_outlive_cancel(story.tree), f"the run was canceled and ended with {end}")
    _must(judge.allows(story.tree, end), f"the run ended with {end}, which its program can't")


def _end(run: Run) -> End:
    if run.status is WorkflowStatus.COMPLETED:
        return Value(run.result)
    if run.status is WorkflowStatus.CANCELED:
        return Canceled()
    failure = run.failure or {}
    _must(failure.get("type") == "NodeFailed", f"the run is {run.status}: {failure}")
    node, _, kind = str(failure["message"]).partition(" ")
    return Failure(int(node), kind)


def _check_signals(story: Story, history: Sequence[HistoryEvent]) -> None:
    """Acknowledged signals are there, once, and those of one sender in their order; what was made up is not."""
    seen = [each.data for each in history if each.type == events.SignalReceived.tag]
    seen = [each for each in seen if each.get("sender_id") != CHANNEL]
    payloads = Counter(each["payload"] for each in seen)
    known = {each.payload for each in story.sent}
    _must(set(payloads) <= known, f"signals that nobody sent: {set(payloads) - known}")
    _must(not payloads or max(payloads.values()) == 1, f"a signal was recorded twice: {payloads}")
    missing = [each.payload for each in story.sent if each.acknowledged and each.payload not in payloads]
    _must(not missing, f"acknowledged to their senders and not in the history: {missing}")
    places = {each.payload: each.number for each in story.sent}
    for sender in {each.sender for each in story.sent}:
        order = [places[each["payload"]] for each in seen if each.get("sender_id") == sender]
        _must(order == sorted(order), f"the signals of {sender} are out of order: {order}")


def _check_channel(history: Sequence[HistoryEvent]) -> None:
    """What does not fit is refused, where it can be seen, and what fits is taken."""
    for each in history:
        if each.data.get("name") == TYPED:
            fits = isinstance(each.data["payload"], int)
            _must(fits == (each.type == events.SignalReceived.tag), f"{each.type} for {each.data['payload']!r}")


def _check_ledger(world: World, run: Run, facts: History) -> None:
    """What is recorded as done was done."""
    done = {(each.seq, each.attempt) for each in world.acts.ledger if each.run_id == run.run_id and each.ended}
    for number, attempt in facts.outcomes.items():
        if attempt is not None and (number, attempt) not in done:
            raise Violation(f"activity {number} is recorded and was never done")
    called = {(each.seq, each.attempt) for each in world.acts.local_ledger if each.run_id == run.run_id and each.ended}
    for place in facts.locals.items():
        _must(place in called, f"local activity {place[0]} is recorded and was never called")


def _check_replay(world: World, story: Story, history: Sequence[HistoryEvent], run: Run) -> None:
    definitions = world.client.engine.definitions
    try:
        replay_every_prefix(GOOD_CODE[story.name], history, definitions, run_id=run.run_id, workflow_id=run.workflow_id)
    except BaseException as error:
        raise Violation(f"the history can't be replayed: {type(error).__name__}: {error}") from error


def leftovers(world: World) -> Iterator[str]:
    """Name what should be gone when all runs have ended."""
    for lease in world.watch.leases:
        yield f"a lease of activity {lease[1]}"
    for process in world.workers:
        if process.held:
            yield f"{process.name} holds {len(process.held)} claims"
        if process.strands:
            yield f"{process.name} still does {[each.name for each in process.strands]}"
