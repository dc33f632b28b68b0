"""celeriac's own tasks: turns, and outcomes that come by message. They send no events and store no results."""

from __future__ import annotations

import logging
from typing import Any, Final

from celery import Celery

from celeriac.errors import PayloadError, StoreError
from celeriac.executors.celery.dispatcher import TURN_TASK
from celeriac.executors.celery.replacing import OUTCOME_TASK
from celeriac.executors.celery.runtime import runtime_of
from celeriac.failures import Failure
from celeriac.orchestrator.model import Fence, Message
from celeriac.orchestrator.status import MessageKind, TaskKind
from celeriac.payloads import UNTYPED

_LOG: Final = logging.getLogger("celeriac.tasks")

_QUIET: Final = {"send_events": False, "ignore_result": True, "typing": False, "store_errors_even_if_ignored": False}


def declare(app: Celery) -> None:
    """Declare the internal tasks in an app; does not finalize it."""
    app.task(_turn, name=TURN_TASK, bind=True, shared=False, **_QUIET)
    app.task(_outcome, name=OUTCOME_TASK, bind=True, shared=False, **_QUIET)


def _turn(self: Any, run_id: str) -> None:
    """Take a run's turn. The message is only a hint: what goes wrong here is due in the store."""
    try:
        runtime_of(self.app).turn(run_id)
    except StoreError as error:
        _LOG.warning("the turn of run %s waits for the store: %s", run_id, error)


def _outcome(self: Any, *args: Any, ticket: list[Any], failed: bool = False) -> None:
    """Record the outcome of an attempt that another task has brought about: a replacement, or a foreign worker's."""
    run_id, seq, token, attempt = ticket
    runtime = runtime_of(self.app)
    data: dict[str, Any] = {"activity": seq, "attempt": attempt}
    if failed:
        data["failure"] = _failure(args)
    else:
        try:
            data["result"] = UNTYPED.write(args[0] if args else None, "result of a replaced activity")
        except PayloadError as error:
            data["failure"] = {"type": "PayloadError", "message": str(error)}
    fence = Fence(run_id, TaskKind.ACTIVITY, seq, token)
    try:
        runtime.engine.settle(fence, Message(MessageKind.OUTCOME, f"outcome:{seq}", data))
    except StoreError as error:
        raise self.retry(exc=error, countdown=min(2.0**self.request.retries, 30.0), max_retries=None) from error


def _failure(args: tuple[Any, ...]) -> Failure:
    """Return the failure that an error callback tells of: (request, exception, traceback), or the failed task's id."""
    error = next((each for each in args if isinstance(each, BaseException)), None)
    if error is not None:
        return {"type": type(error).__name__, "message": str(error)}
    return {"type": "TaskFailed", "message": f"the task {args[0] if args else ''} that the activity was replaced by failed"}
