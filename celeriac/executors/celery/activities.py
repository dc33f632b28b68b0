"""An activity as a Celery task: the claim precedes the body, the outcome is written inside the task's call.

Any task of the app can be one. It is wrapped in the worker (see ``wrapping``): called by a message that a workflow has sent
it claims the attempt first and records what came of it; called by anybody else it is what it was.

What becomes of an attempt whose body ...

============================================  ==================================================================
returns                                       its result is recorded
raises                                        the retry policy decides: another attempt, or the failure is recorded
raises ``NonRetryable``                       the failure is recorded; no further attempt
raises ``Retry`` (``self.retry()``)           the same attempt goes on when Celery's own message comes
is under ``autoretry_for``                    the same; what it raises in the end is final by default
raises ``Reject(requeue=True)``               the same attempt goes on when the broker delivers the message again
raises ``Reject`` without requeue, ``Ignore`` the failure is recorded; no further attempt
is replaced (``self.replace()``)              the replacement's outcome is the outcome; its failure is the attempt's
hits the soft time limit                      like an exception: the retry policy decides
hits the hard limit, loses its process        the lease runs out: like an exception, ``WorkerLostError``; or the timeout does
raises ``ActivityCanceled``                   it is recorded as canceled where the workflow waits for that
============================================  ==================================================================

And of one that is not even begun ...

============================================  ==================================================================
its message is lost                           it is sent again, after a back-off
its message comes twice                       the second one finds the claim taken and does nothing
its message expires (``expires``)             a ``schedule_to_start`` timeout is recorded, once that time is up
it is revoked                                 it is recorded as canceled, running or not
no worker has the task                        it waits; with ``schedule_to_start`` that timeout is recorded
============================================  ==================================================================
"""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded

from celeriac.activities.context import ActivityCanceled, ActivityContext, running
from celeriac.activities.definition import ActivityDefinition
from celeriac.errors import StoreError
from celeriac.executors.celery import coroutines, events
from celeriac.executors.celery.headers import HEADER, ActivityTicket, BadTicket, refusal
from celeriac.executors.celery.registry import activity_of
from celeriac.executors.celery.replacing import Replacement
from celeriac.executors.celery.runtime import CeleryRuntime
from celeriac.executors.celery.wrapping import wrap
from celeriac.failures import failure_of
from celeriac.orchestrator.attempts import AttemptEnd, activity_id
from celeriac.orchestrator.model import Claim
from celeriac.orchestrator.runner import record_result
from celeriac.payloads import Arguments

_LOG: Final = logging.getLogger("celeriac.activities")
_ENDED: Final = frozenset(number - 256 for number in signal.valid_signals())
"""The exit codes that the pool of processes gives to a process that has been signalled to end."""
SPARE: Final = 5.0
"""With less than this many seconds left of a task's time limit no turn is begun inside it."""


def serve(task: Any, runtime: CeleryRuntime) -> None:
    """Have a task carry out attempts when a message of celeriac asks for one."""

    def around(task: Any, ticket: ActivityTicket, body: Callable[..., Any]) -> Any:
        return _Attempt(task, runtime, ticket).run(body)

    wrap(task, around)


class _Attempt:
    """One message of one attempt, from its claim to its end."""

    def __init__(self, task: Any, runtime: CeleryRuntime, ticket: ActivityTicket) -> None:
        self.task = task
        self.request = task.request
        self.runtime = runtime
        self.attempts = runtime.attempts
        self.ticket = ticket
        self.activity: ActivityDefinition = activity_of(task)

    def run(self, body: Callable[..., Any]) -> Any:
        self._check_id()
        claim = self._claim()
        begun = time.monotonic()
        if claim is None:
            _LOG.debug("attempt %s of %s is not to be run", self.ticket.attempt, self.request.id)
            raise Ignore
        self._check_claim(claim)
        context = self.attempts.context(claim, self.runtime.stopping.is_up)
        replacement = Replacement(self.runtime, self.request, claim)
        try:
            with self.runtime.leases.keeping(claim.fence, functools.partial(self._gone, claim, context)):
                value = self._body(body, claim, context)
        except Retry as retry:
            self.attempts.release(claim, delay=_delay(retry))
            raise
        except Reject as reject:
            self._rejected(claim, reject)
            raise
        except Ignore as ignore:
            if not replacement.took_place():
                self._given_up(claim, ignore, "raised Ignore, which leaves no result")
            raise
        except ActivityCanceled:
            self.attempts.canceled(claim.task, claim.fence)
            events.revoked(self.task)
            raise Ignore from None
        except KeyboardInterrupt:
            self.attempts.release(claim)
            raise
        except BaseException as error:
            if not is_being_ended(error):
                self._raised(claim, error)
            raise
        finally:
            replacement.undo()
        self._record(claim, value, time.monotonic() - begun)
        return value if not self.request.ignore_result else None

    def _claim(self) -> Claim | None:
        inner = self.request.retries if self.ticket.own else 0
        self.request.retries = inner
        headers = dict(self.request.headers or {})
        # What the task itself sends again within this attempt is its own: its retries count inside the attempt.
        own = ActivityTicket(self.ticket.run_id, self.ticket.seq, self.ticket.attempt, own=True)
        self.request.headers = {**headers, HEADER: own.header()}
        try:
            return self.attempts.claim(
                self.ticket.run_id,
                self.ticket.seq,
                attempt=self.ticket.attempt,
                inner=inner,
                worker=self.request.hostname or "",
                early=self.ticket.early,
            )
        except StoreError as error:
            _LOG.warning("activity %s waits for the store: %s", self.request.id, error)
            return None

    def _check_id(self) -> None:
        """Refuse a ticket that was made out for another task, such as one that a task has passed on with its headers."""
        expected = activity_id(self.ticket.run_id, self.ticket.seq)
        if self.request.id != expected:
            raise refusal(BadTicket(f"it was made out for the task {expected!r}, and this is {self.request.id!r}"))

    def _check_claim(self, claim: Claim) -> None:
        """Give back what a forged message has claimed: an activity of another name, or of another namespace's run."""
        if (claim.run.namespace, claim.task.data["name"]) == (self.runtime.namespace, self.activity.name):
            return
        self.runtime.store.requeue(claim.fence, delay=0, grace=0, next_attempt=False)
        raise refusal(
            BadTicket(f"the activity {self.request.id!r} of this namespace is none of {self.activity.name!r}")
        )

    def _body(self, body: Callable[..., Any], claim: Claim, context: ActivityContext) -> Any:
        data = claim.task.data
        args, kwargs = self.activity.read(Arguments(data.get("args", ()), data.get("kwargs", {})))
        with running(context):
            if self.activity.is_async:
                return coroutines.run(body(*args, **kwargs), context, self.task)
            return body(*args, **kwargs)

    def _gone(self, claim: Claim, context: ActivityContext) -> None:
        """Hold on to a claim that only the store has lost; else tell the activity that it is no longer wanted."""
        try:
            if self.attempts.reassert(claim):
                return
        except StoreError:
            _LOG.debug("the next renewal will tell", exc_info=True)
            return
        context.withdraw()

    # -- ends ----------------------------------------------------------------------------------------------------------

    def _record(self, claim: Claim, value: Any, elapsed: float) -> None:
        """Record a result; the soft time limit, which strikes once, must not undo what has been done."""
        record = functools.partial(record_result, self.attempts, claim, self.activity, value)
        try:
            record(inline=self._may_inline(claim, elapsed), elapsed=elapsed)
        except SoftTimeLimitExceeded:
            record()  # where the first one has come through, the claim is gone and this one changes nothing

    def _may_inline(self, claim: Claim, elapsed: float) -> bool:
        limits = [
            *(self.request.timelimit or ()),
            self.task.time_limit,
            self.task.soft_time_limit,
            *self.runtime.time_limits,
        ]
        shortest = min((each for each in limits if each), default=None)
        if shortest is not None and shortest - elapsed < SPARE:
            return False
        return self.runtime.may_inline(claim.run.queue)

    def _raised(self, claim: Claim, error: BaseException) -> None:
        end = self.attempts.raised(claim, error)
        if end is AttemptEnd.RETRIED and isinstance(error, Exception):
            # Shown as a retry, not as a failure, to those who watch; the message of the next attempt is on its way.
            raise Retry(str(error), error, when=datetime.now(UTC)) from error
        if isinstance(error, asyncio.CancelledError):  # which would end the worker's process, were it let through
            raise CanceledItself(f"activity {self.activity.name!r} canceled itself") from error

    def _rejected(self, claim: Claim, reject: Reject) -> None:
        if reject.requeue:
            self.attempts.release(claim)
            return
        reason = f": {reject.reason}" if reject.reason else ""
        self._given_up(claim, reject, f"raised Reject without requeue, which leaves no result{reason}")

    def _given_up(self, claim: Claim, error: Exception, what: str) -> None:
        failure = {
            **failure_of(error, stack=False),
            "message": f"activity {self.activity.name!r} {what}",
            "non_retryable": True,
        }
        self.attempts.failed(claim.task, claim.run, claim.fence, failure)


def is_being_ended(error: BaseException) -> bool:
    """Whether the process has been told to end, and is about to be killed: too late to begin a transaction.

    The pool turns a signal into a SystemExit with this code. The lease runs out and tells.
    """
    return isinstance(error, SystemExit) and error.code in _ENDED


class CanceledItself(Exception):
    """A coroutine that nobody wanted to stop let a ``CancelledError`` out."""


def _delay(retry: Retry) -> float:
    when = retry.when
    if isinstance(when, (int, float)):
        return max(float(when), 0.0)
    if isinstance(when, datetime):
        now = datetime.now(when.tzinfo or UTC)
        return max((when - now if when.tzinfo else when.replace(tzinfo=UTC) - now).total_seconds(), 0.0)
    return 0.0
