"""Attempts of activities: claimed, ended, tried again or given up. One place decides, for workers and relay alike."""

from __future__ import annotations

import logging
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

from celeriac.activities.context import ActivityContext
from celeriac.activities.options import ActivityOptions
from celeriac.crashes import CrashPoint, passing
from celeriac.durations import Duration, seconds
from celeriac.errors import NonRetryable, RetryAfter, StoreUnavailable
from celeriac.failures import Failure, failure_of
from celeriac.orchestrator.early import FIRST_PAUSE, PATIENCE, mark_of
from celeriac.orchestrator.endings import activity_id, schedule_to_close_failure, timeout_failure
from celeriac.orchestrator.engine import Engine
from celeriac.orchestrator.hooks import Hooks
from celeriac.orchestrator.loading import Head
from celeriac.orchestrator.model import SECOND, Claim, Fence, Message, Micros, Pulse, RunRef, Task, micros
from celeriac.orchestrator.ports import ActivityReady, Early
from celeriac.orchestrator.status import MessageKind, TaskKind
from celeriac.payloads import UNTYPED, Json, restore

T = TypeVar("T")

_LOG: Final = logging.getLogger("celeriac.activities")

SHORT_DELAY: Final = 5.0
"""Up to this many seconds a retry is published at once, with a countdown; a longer one is left to the relay."""
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.5
"""Seconds between tries to record an end. Short, so that it is there before a relay finds that the lease has run out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSettings:
    """Durations are seconds once constructed.

    :param lease: how long a claim holds without being renewed.
    :param republish_after: how much later than its time an unclaimed retry is published again.
    :param patience: how long an attempt that has ended waits for a store that is away.
    """

    lease: Duration = 10.0
    republish_after: Duration = 10.0
    patience: Duration = 30.0

    def __post_init__(self) -> None:
        for name in ("lease", "republish_after", "patience"):
            object.__setattr__(self, name, seconds(getattr(self, name), name=name, positive=True))


class AttemptEnd(StrEnum):
    """What followed from the end of an attempt."""

    SETTLED = "settled"
    """The activity has its one outcome."""
    RETRIED = "retried"
    """Another attempt follows."""
    REFUSED = "refused"
    """The claim was gone: this end counts for nothing."""


class Attempts:
    """Claims attempts and brings about their ends.

    :param draw: gives random numbers from 0 to 1, for jitter.
    :param sleep: lets so many seconds pass.
    """

    def __init__(
        self,
        engine: Engine,
        settings: AttemptSettings | None = None,
        *,
        draw: Callable[[], float] = random.random,
        hooks: Callable[[], Hooks] = Hooks,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._sleep = sleep
        self.engine = engine
        self.store = engine.store
        self.settings = settings or AttemptSettings()
        self._draw = draw
        self._hooks = hooks

    def claim(
        self, run_id: str, seq: int, *, attempt: int, inner: int = 0, worker: str = "", early: Early | None = None
    ) -> Claim | None:
        """Claim an attempt; None when it is not to be run (done, canceled, or somebody has it).

        :param early: the hint came before its commit was known to have come through.
        """

        def claimed() -> Claim | None:
            return self.store.claim_activity(
                run_id,
                seq,
                attempt=attempt,
                inner=inner,
                token=secrets.token_hex(16),
                lease=micros(self.settings.lease),  # type: ignore[arg-type]
                worker=worker,
                known=self.engine.loader.known_to_claim(run_id),
            )

        claim = claimed()
        if early is not None:
            claim = claim or self._claimed_once_committed(run_id, early, claimed)
            if claim is not None and mark_of(claim.task.data, claim.task.queue) != early.mark:
                self._give_to_its_own(claim)
                return None
        if claim is not None:
            self._hooks().call("on_activity_start", claim.run.workflow_id, claim.task.data["name"], attempt)
        return claim

    def _claimed_once_committed(self, run_id: str, early: Early, claimed: Callable[[], Claim | None]) -> Claim | None:
        """Claim as soon as the run is at the version that the hint tells of: one that has been passed is not to be waited for."""
        pause, left = FIRST_PAUSE, PATIENCE
        while True:
            run = self.store.find_run(self.engine.settings.namespace, run_id=run_id)
            claim = claimed()  # after the look: what it shows can be claimed
            if claim is not None or run is None or run.version >= early.version or left <= 0:
                return claim
            self._sleep(pause)
            left -= pause
            pause = min(pause * 2, left)

    def _give_to_its_own(self, claim: Claim) -> None:
        """Give back what a hint about something else has claimed, and publish it with the options that are its own."""
        task = claim.task
        _LOG.debug("activity %s of run %s is another than its early message was about", task.seq, task.run_id)
        if self.release(claim):
            self.engine.publish([ActivityReady(claim.run, task.seq, task.attempt, task.data, task.queue)])

    def context(self, claim: Claim, stopping: Callable[[], bool] = lambda: False) -> ActivityContext:
        """Return what the activity's code sees of its attempt.

        :param stopping: whether the worker has been told to stop.
        """
        task = claim.task

        def beat(details: Any) -> bool:
            recorded = UNTYPED.write(details, f"heartbeat details of activity {task.data['name']!r}")
            return self.store.heartbeat(claim.fence, recorded) is Pulse.ALIVE

        return ActivityContext(
            claim.run.workflow_id,
            claim.run.run_id,
            task.data["name"],
            activity_id(task.run_id, task.seq),
            task.attempt,
            restore(task.details),
            token=task.token or "",
            _beat=beat,
            _stopping=stopping,
        )

    # -- ends ----------------------------------------------------------------------------------------------------------

    def completed(self, claim: Claim, result: Json, *, inline: bool = False, elapsed: float = 0.0) -> bool:
        """Record a result. False when the claim is gone: the result counts for nothing.

        :param elapsed: seconds since the claim.
        """
        data = {**_origin(claim.task), "result": result}
        head = None if claim.head is None else Head(claim.head, claim.now + micros(elapsed), claim.events)
        first = inline and claim.task.attempt == 1

        def record() -> bool:
            if self._settle(claim.fence, claim.task, data, inline=first, head=head):
                return True
            return self.reassert(claim) and self._settle(claim.fence, claim.task, data)

        passing(CrashPoint.BEFORE_OUTCOME)
        settled = self._insist(record)
        passing(CrashPoint.AFTER_OUTCOME)
        return settled or _refused(claim.task)

    def canceled(self, task: Task, fence: Fence, details: Json = None) -> bool:
        """Record that the activity has stopped as it was asked to."""
        return self._settle(fence, task, {**_origin(task), "canceled": True, "details": details})

    def raised(self, claim: Claim, error: BaseException, *, inline: bool = False) -> AttemptEnd:
        """Record that the attempt raised: another one follows, or the activity has failed."""
        failure = failure_of(error)
        if isinstance(error, NonRetryable):
            failure["non_retryable"] = True
        delay = error.delay if isinstance(error, RetryAfter) else None

        def record() -> AttemptEnd:
            end = self.failed(claim.task, claim.run, claim.fence, failure, delay=delay, inline=inline)
            if end is AttemptEnd.REFUSED and self.reassert(claim):
                end = self.failed(claim.task, claim.run, claim.fence, failure, delay=delay)
            return end

        end = self._insist(record)
        if end is AttemptEnd.REFUSED:
            _refused(claim.task)
        return end

    def reassert(self, claim: Claim) -> bool:
        """Claim an attempt again whose claim is lost to the store, as after a crash of its database.

        :returns: False when the claim is gone for another reason: the attempt is over, or is no longer wanted.
        """
        task = claim.task
        again = self.store.claim_activity(
            task.run_id,
            task.seq,
            attempt=task.attempt,
            inner=task.inner,
            token=claim.fence.token,
            lease=micros(self.settings.lease),  # type: ignore[arg-type]
            worker=task.worker,
        )
        if again is None:
            return False
        if again.task.data != task.data:  # the run was restored meanwhile, and wants something else by this number
            self.release(again)
            return False
        _LOG.info("the claim of activity %s (attempt %d) was lost; asserted again", task.data.get("name"), task.attempt)
        return True

    def failed(
        self,
        task: Task,
        run: RunRef,
        fence: Fence,
        failure: Failure,
        *,
        now: Micros | None = None,
        delay: float | None = None,
        inline: bool = False,
    ) -> AttemptEnd:
        """Record that the attempt has failed: another one follows, or the activity has failed.

        :param delay: seconds until the next attempt, instead of the policy's back-off.
        """
        options = ActivityOptions.from_json(task.data.get("options", {}))
        if options.retry.allows(task.attempt, failure) and not task.cancel_requested:
            wait = options.retry.delay(task.attempt, self._draw()) if delay is None else delay
            if self._in_time(task, now, wait):
                again = self._again(task, run, fence, failure, wait)
                return AttemptEnd.RETRIED if again else AttemptEnd.REFUSED
            failure = _with_cause(schedule_to_close_failure(options), failure)
        if task.cancel_requested:
            settled = self.canceled(task, fence)
        else:
            settled = self._settle(fence, task, {**_origin(task), "failure": failure}, inline=inline)
        return AttemptEnd.SETTLED if settled else AttemptEnd.REFUSED

    def _in_time(self, task: Task, now: Micros | None, wait: float) -> bool:
        if task.schedule_to_close_by is None:
            return True
        return (self.store.now() if now is None else now) + micros(wait) < task.schedule_to_close_by

    def timed_out(self, task: Task, fence: Fence, failure: Failure) -> bool:
        """Record a timeout after which no attempt follows."""
        return self._settle(fence, task, {**_origin(task), "failure": failure})

    def release(self, claim: Claim, *, delay: float = 0.0) -> bool:
        """Give a claim back without an outcome: the same attempt goes on later, in whatever process takes it."""
        grace = micros(self.settings.republish_after)  # type: ignore[arg-type]
        return self._insist(
            lambda: self.store.requeue(claim.fence, delay=micros(delay), grace=grace, next_attempt=False)
        )

    def _insist(self, record: Callable[[], T]) -> T:
        """Record the end of an attempt that ran in this process, again and again while the store is away.

        What has been done would be done a second time otherwise, or count as lost where it must not. Each try names the
        claim: one that came through without our knowing has the next one refused.
        """
        deadline = time.monotonic() + self.settings.patience  # type: ignore[operator]
        pause = _FIRST_PAUSE
        while True:
            try:
                return record()
            except StoreUnavailable as error:
                if time.monotonic() + pause > deadline:
                    raise
                _LOG.info("the end of an activity waits for the store: %s", error)
            self._sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _again(self, task: Task, run: RunRef, fence: Fence, failure: Failure, wait: float) -> bool:
        short = wait <= SHORT_DELAY
        grace = micros(self.settings.republish_after) if short else 0  # type: ignore[arg-type]
        if not self.store.requeue(fence, delay=micros(wait), grace=grace, next_attempt=True, failure=failure):
            return False
        if short:
            self.engine.publish([ActivityReady(run, task.seq, task.attempt + 1, task.data, task.queue, delay=wait)])
        self._hooks().call("on_retry", run.workflow_id, task.data["name"], task.attempt, failure, wait)
        return True

    def _settle(
        self, fence: Fence, task: Task, data: dict[str, Json], *, inline: bool = False, head: Head | None = None
    ) -> bool:
        message = Message(MessageKind.OUTCOME, f"outcome:{task.seq}", data)
        return self.engine.settle(fence, message, inline=inline, head=head)


def _refused(task: Task) -> bool:
    _LOG.info("a late outcome of activity %s (attempt %d) was refused", task.data.get("name"), task.attempt)
    return False


def _origin(task: Task) -> dict[str, Json]:
    data: dict[str, Json] = {"activity": task.seq, "attempt": task.attempt}
    if task.started_at is not None and task.token is not None:
        data["started_at"] = task.started_at
        data["worker"] = task.worker
    return data


def _with_cause(failure: Failure, cause: Failure) -> Failure:
    return {**failure, "cause": cause}


def lost_failure(worker: str) -> Failure:
    """Return the failure of an attempt whose worker stopped renewing its lease."""
    return {
        "type": "WorkerLostError",
        "message": f"the worker {worker or '(unknown)'} was lost while it ran the activity",
    }


def overdue_failure(task: Task, now: Micros) -> Failure | None:
    """Return which deadline of a running attempt has passed, as its failure, or None while none has."""
    if task.start_to_close_by is not None and task.start_to_close_by <= now:
        limit = (task.start_to_close or 0) / SECOND
        return timeout_failure("start_to_close", f"attempt {task.attempt} took longer than {limit:g} s")
    if task.heartbeat_by is not None and task.heartbeat_by <= now:
        limit = (task.heartbeat or 0) / SECOND
        return timeout_failure("heartbeat", f"attempt {task.attempt} sent no heartbeat for {limit:g} s")
    if task.lease_until is not None and task.lease_until <= now:
        return lost_failure(task.worker)
    return None


__all__ = [
    "AttemptSettings",
    "Attempts",
    "TaskKind",
    "activity_id",
    "overdue_failure",
    "schedule_to_close_failure",
    "timeout_failure",
]
