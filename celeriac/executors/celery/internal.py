"""celeriac's own tasks: turns, and outcomes that come by message. They send no events and store no results."""

from __future__ import annotations

import logging
from typing import Any, Final

from celery import Celery, current_app

from celeriac.errors import InvalidCall, PayloadError, StoreError, StoreRefused
from celeriac.executors.celery.headers import TURN_TASK
from celeriac.executors.celery.outcomes import OUTCOME_TASK, OutcomeTicket, stored_error
from celeriac.executors.celery.runtime import runtime_of
from celeriac.failures import Failure, failure_of
from celeriac.payloads import UNTYPED, Json

_LOG: Final = logging.getLogger("celeriac.tasks")

PURGE_TASK: Final = "celeriac.purge"
INTERNAL: Final = frozenset({TURN_TASK, OUTCOME_TASK, PURGE_TASK})
RETRY_MOST: Final = 30.0
"""Seconds, at most, between tries to record an outcome while the store is away."""

_QUIET: Final = {"send_events": False, "ignore_result": True, "typing": False, "store_errors_even_if_ignored": False}


def declare(app: Celery) -> None:
    """Declare the internal tasks in an app; does not finalize it."""
    app.task(_turn, name=TURN_TASK, bind=True, shared=False, **_QUIET)
    app.task(_purge, name=PURGE_TASK, bind=True, shared=False, **_QUIET)
    # Not bound, and with *args: so Celery calls it on the spot, with the exception, where a task it is linked to failed.
    app.task(_outcome, name=OUTCOME_TASK, shared=False, **_QUIET)


def _turn(self: Any, run_id: Any) -> None:
    """Take a run's turn. The message is only a hint: what goes wrong here is due in the store."""
    if not isinstance(run_id, str):
        raise InvalidCall(f"a turn's message names a run, and this one has a {type(run_id).__name__}")
    try:
        runtime_of(self.app).turn(run_id)
    except StoreError as error:
        _LOG.warning("the turn of run %s waits for the store: %s", run_id, error)


def _purge(self: Any, older_than: float) -> None:
    """Delete runs that closed so many seconds ago or earlier; for beat."""
    try:
        count = runtime_of(self.app).client.purge(older_than)
    except StoreError as error:
        _LOG.warning("closed runs are purged another time: %s", error)
    else:
        _LOG.info("%d closed runs were purged", count)


def _outcome(*args: Any, ticket: Any, failed: bool = False, failure: Failure | None = None, tries: int = 0) -> None:
    """Record the outcome of an attempt that another task has brought about: a replacement, or a foreign worker's.

    Called with its result; with (request, exception, traceback) where it failed in a worker that has this task; with the
    failed task's id where it failed elsewhere.
    """
    app = current_app._get_current_object()  # noqa: SLF001 - the proxy's own way
    runtime, named = runtime_of(app), OutcomeTicket.read(ticket)
    result: Json = None
    if failed and failure is None:
        failure = _failure(app, args)
    if failure is None:
        try:
            result = UNTYPED.write(args[0] if args else None, "result of a replaced activity")
        except PayloadError as error:
            failure = {**failure_of(error, stack=False), "non_retryable": True}
    try:
        claim = named.claim(runtime.store, runtime.namespace)
        if claim is None:
            _LOG.info("a late outcome of activity %s of run %s was refused", named.seq, named.run_id)
        elif failure is not None:
            runtime.attempts.failed(claim.task, claim.run, claim.fence, failure)
        else:
            runtime.attempts.completed(claim, result)
    except StoreRefused:
        raise  # as it would be each time; the attempt's lease runs out and tells
    except StoreError as error:
        _LOG.warning("an outcome waits for the store: %s", error)
        again = {"ticket": ticket, "failed": failed, "failure": failure, "tries": tries + 1}
        sent = () if failure is not None else args[:1]
        app.tasks[OUTCOME_TASK].apply_async(sent, again, countdown=min(2.0 ** min(tries, 10), RETRY_MOST))


def _failure(app: Celery, args: tuple[Any, ...]) -> Failure:
    error = next((each for each in args if isinstance(each, BaseException)), None)
    if error is None and args:
        error = stored_error(app, str(args[0]))
    if error is not None:
        return failure_of(error, stack=False)
    return {"type": "TaskFailed", "message": f"the task {args[0] if args else ''} that was to bring the outcome failed"}
