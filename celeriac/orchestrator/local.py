"""The local activities of a turn: made one after the other, tried again, and handed back to the turn as outcomes.

How much a turn may gather before it commits is limited, so that a crash costs little of it; what is left then is done by the
next turn.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from celeriac.activities.context import ActivityContext
from celeriac.errors import NonRetryable, PayloadError, RetryAfter
from celeriac.failures import Failure, failure_of
from celeriac.orchestrator import events
from celeriac.orchestrator.endings import activity_id, schedule_to_close_failure, timeout_failure
from celeriac.orchestrator.inprocess import InProcess, TookTooLong
from celeriac.orchestrator.model import SECOND, Micros, micros
from celeriac.payloads import Arguments, Json, check_size

if TYPE_CHECKING:
    from celeriac.orchestrator.calls import LocalCall
    from celeriac.orchestrator.hooks import Hooks
    from celeriac.orchestrator.live import LiveRun
    from celeriac.orchestrator.ports import LocalRunner
    from celeriac.orchestrator.turn import Turn
    from celeriac.orchestrator.watchdog import Watchdog

MOST_SECONDS: Final = 1.0
MOST_OUTCOMES: Final = 1_000
MOST_BYTES: Final = 8_000_000
"""After this long, so many outcomes or bytes of results a turn commits what it has."""
MOST_WAITING: Final = 1.0
"""Seconds, in all, that a turn waits itself for the next attempts; longer waits are timers."""

Outcome = events.LocalActivityCompleted | events.LocalActivityFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """How an engine calls local activities.

    :param runner: makes what calls the functions, for one stretch of calls.
    :param clock: seconds, from anywhere, that pass evenly.
    :param sleep: lets so many seconds pass.
    :param draw: gives random numbers from 0 to 1, for the jitter of retries.
    """

    runner: Callable[[], LocalRunner] = InProcess
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    draw: Callable[[], float] = random.random


class LocalWork:
    """The local activities of one claimed turn. Knows what it has done, should the turn have to be taken again.

    :param now: the store's time by now.
    """

    def __init__(self, settings: LocalSettings, now: Micros, watchdog: Watchdog, hooks: Hooks) -> None:
        self._settings = settings
        self._base = now
        self._begun = settings.clock()
        self._watchdog = watchdog
        self._hooks = hooks
        self._bytes = 0
        self._waited = 0.0
        self._again: deque[Outcome] = deque()
        self._only_again = False
        self._applying = False
        self.done: list[Outcome] = []
        """The outcomes so far, in the order in which the turn took them."""

    def now(self) -> Micros:
        """Return the store's time by now."""
        return self._base + micros(self._settings.clock() - self._begun)

    def again(self) -> None:
        """Get ready for the same turn once more: a call that is the same has the outcome that it had."""
        self._again, self.done = deque([*self.done, *self._again]), []

    def unused(self) -> list[Outcome]:
        """Return the outcomes of the turn before that this one has not come to."""
        return list(self._again)

    def undo_last(self) -> Outcome | None:
        """Get ready for the same turn once more, without the step that could not be carried out, and without more calls.

        :returns: the outcome whose step it was, if it was an outcome's.
        """
        last = self.done.pop() if self._applying else None
        self.again()
        self._applying, self._only_again = False, True
        return last

    def carry_out(self, turn: Turn) -> bool:
        """Make the calls that are due, until there is none or the turn has gathered enough. True when some are left."""
        local = turn.live.local
        if turn.closed or not local.pending:
            return False
        with self._settings.runner() as runner:
            while local.pending and not turn.closed:
                outcome = self._known(turn)
                if outcome is None and (self._only_again or self._has_enough()):
                    break
                if outcome is None:
                    call = local.ready(self.now())
                    if call is None:
                        if self._wait(turn):
                            continue
                        break
                    outcome = self._attempt(turn.live, call, runner)
                if outcome is not None:
                    self._apply(turn, outcome)
        self._tell_of_delays(turn)
        return not turn.closed and local.left()

    def _known(self, turn: Turn) -> Outcome | None:
        """Return the next outcome that the turn had when it was taken before, where it makes the same call."""
        while self._again:
            outcome = self._again.popleft()
            call = turn.live.local.pending.get(outcome.command)
            if call is not None and not call.waiting and call.is_same(outcome):
                return outcome
        return None

    def _has_enough(self) -> bool:
        return (
            len(self.done) >= MOST_OUTCOMES
            or self._bytes >= MOST_BYTES
            or self._settings.clock() - self._begun >= MOST_SECONDS + self._waited
        )

    def _wait(self, turn: Turn) -> bool:
        """Wait for the next attempt that is due soon; False when there is none."""
        due = turn.live.local.next_due()
        if due is None:
            return False
        length = max(due - self.now(), 0) / SECOND
        if self._waited + length > MOST_WAITING:
            return False
        self._settings.sleep(length)
        self._waited += length
        return True

    def _apply(self, turn: Turn, outcome: Outcome) -> None:
        self.done.append(outcome)
        self._applying = True
        with self._watchdog.watching():
            turn.take_local(outcome, self.now())
        self._applying = False

    def _tell_of_delays(self, turn: Turn) -> None:
        """Record what has failed and is tried again in a later turn, so that its attempts are counted."""
        if turn.closed:
            return
        for call in turn.live.local.untold():
            failure = call.failure or {}
            delayed = events.LocalActivityDelayed(call.number, call.activity.name, call.attempts, failure, call.due)
            with self._watchdog.watching():
                turn.take_local(delayed, self.now())

    # -- one attempt -----------------------------------------------------------------------------------------------------

    def _attempt(self, live: LiveRun, call: LocalCall, runner: LocalRunner) -> Outcome | None:
        """Make a call and return its outcome; None when another attempt follows."""
        name, attempt = call.activity.name, call.attempts + 1
        self._hooks.call("on_activity_start", live.workflow_id, name, attempt)
        context = ActivityContext(live.workflow_id, live.run_id, name, activity_id(live.run_id, call.number), attempt)
        limit: float | None = call.activity.options.start_to_close  # type: ignore[assignment]  # seconds once constructed
        live.away = True
        try:
            args, kwargs = call.activity.read(Arguments(call.args, call.kwargs))
            value = runner.call(call.activity, args, kwargs, context, limit)
        except BaseException as error:
            if runner.lets_through(error):
                raise
            return self._failed(live, call, error)
        finally:
            live.away = False
        try:
            result = self._written(live, call, value)
        except PayloadError as error:
            failure = {**failure_of(error, stack=False), "non_retryable": True}
            return _failure(call, failure, attempt)
        return events.LocalActivityCompleted(call.number, name, result, call.args, call.kwargs, attempt)

    def _written(self, live: LiveRun, call: LocalCall, value: Json) -> Json:
        what = f"result of local activity {call.activity.name!r}"
        result = call.activity.result.write(value, what)
        self._bytes += check_size(result, live.definitions.max_payload, what)
        return result

    def _failed(self, live: LiveRun, call: LocalCall, error: BaseException) -> Outcome | None:
        attempt, options = call.attempts + 1, call.activity.options
        failure = _described(call, error, attempt)
        if not options.retry.allows(attempt, failure):
            return _failure(call, failure, attempt)
        delay = error.delay if isinstance(error, RetryAfter) else options.retry.delay(attempt, self._settings.draw())
        due = self.now() + micros(delay)
        if options.schedule_to_close is not None and due >= call.asked_at + micros(options.schedule_to_close):  # type: ignore[arg-type]
            return _failure(call, {**schedule_to_close_failure(options), "cause": failure}, attempt)
        call.attempts, call.failure, call.due, call.told = attempt, failure, due, False
        self._hooks.call("on_retry", live.workflow_id, call.activity.name, attempt, failure, delay)
        return None


def _described(call: LocalCall, error: BaseException, attempt: int) -> Failure:
    if isinstance(error, TookTooLong):
        limit = call.activity.options.start_to_close
        return timeout_failure("start_to_close", f"attempt {attempt} took longer than {limit:g} s")
    failure = failure_of(error)
    if isinstance(error, NonRetryable):
        failure["non_retryable"] = True
    return failure


def _failure(call: LocalCall, failure: Failure, attempts: int) -> events.LocalActivityFailed:
    return events.LocalActivityFailed(call.number, call.activity.name, failure, call.args, call.kwargs, attempts)
