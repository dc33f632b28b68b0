"""celeriac's own tasks: turns, and outcomes that come by message. They send no events and store no results."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final, Self

from celery import Celery, current_app
from celery.result import AsyncResult

from celeriac.errors import PayloadError, StoreError
from celeriac.executors.celery.dispatcher import TURN_TASK
from celeriac.executors.celery.runtime import CeleryRuntime, runtime_of
from celeriac.failures import Failure, failure_of
from celeriac.orchestrator.client import run_ref
from celeriac.orchestrator.model import Claim, Fence
from celeriac.orchestrator.status import TaskKind
from celeriac.payloads import UNTYPED, Json

_LOG: Final = logging.getLogger("celeriac.tasks")

OUTCOME_TASK: Final = "celeriac.outcome"
INTERNAL: Final = frozenset({TURN_TASK, OUTCOME_TASK})
RETRY_MOST: Final = 30.0
"""Seconds, at most, between tries to record an outcome while the store is away."""

_QUIET: Final = {"send_events": False, "ignore_result": True, "typing": False, "store_errors_even_if_ignored": False}


def declare(app: Celery) -> None:
    """Declare the internal tasks in an app; does not finalize it."""
    app.task(_turn, name=TURN_TASK, bind=True, shared=False, **_QUIET)
    # Not bound, and with *args: so Celery calls it on the spot, with the exception, where a task it is linked to failed.
    app.task(_outcome, name=OUTCOME_TASK, shared=False, **_QUIET)


def _turn(self: Any, run_id: str) -> None:
    """Take a run's turn. The message is only a hint: what goes wrong here is due in the store."""
    try:
        runtime_of(self.app).turn(run_id)
    except StoreError as error:
        _LOG.warning("the turn of run %s waits for the store: %s", run_id, error)


@dataclass(frozen=True, slots=True)
class OutcomeTicket:
    """Names the claim whose outcome another task is to bring."""

    run_id: str
    seq: int
    token: str

    @classmethod
    def of(cls, claim: Claim) -> Self:
        """Return the ticket of a claim."""
        return cls(claim.fence.run_id, claim.fence.seq, claim.fence.token)

    def signature(self, outcome: Any, *, failed: bool = False) -> Any:
        """Return the signature to link to the task that brings the outcome."""
        more = {"failed": True} if failed else {}
        return outcome.s(ticket=[self.run_id, self.seq, self.token], **more)

    def claim(self, runtime: CeleryRuntime) -> Claim | None:
        """Return the claim, or None when it is gone."""
        store = runtime.store
        run = store.find_run(runtime.namespace, run_id=self.run_id)
        if run is None or not run.status.open:
            return None
        for task in store.tasks(self.run_id):
            if (task.kind, task.seq, task.token) == (TaskKind.ACTIVITY, self.seq, self.token):
                return Claim(task, run_ref(run), store.now())
        return None

    @property
    def fence(self) -> Fence:
        """Return the fence of the claim."""
        return Fence(self.run_id, TaskKind.ACTIVITY, self.seq, self.token)


def _outcome(
    *args: Any, ticket: list[Any], failed: bool = False, failure: Failure | None = None, tries: int = 0
) -> None:
    """Record the outcome of an attempt that another task has brought about: a replacement, or a foreign worker's.

    Called with its result; with (request, exception, traceback) where it failed in a worker that has this task; with the
    failed task's id where it failed elsewhere.
    """
    app = current_app._get_current_object()  # noqa: SLF001 - the proxy's own way
    runtime, named = runtime_of(app), OutcomeTicket(*ticket)
    result: Json = None
    if failed and failure is None:
        failure = _failure(app, args)
    if failure is None:
        try:
            result = UNTYPED.write(args[0] if args else None, "result of a replaced activity")
        except PayloadError as error:
            failure = {**failure_of(error, stack=False), "non_retryable": True}
    try:
        claim = named.claim(runtime)
        if claim is None:
            _LOG.info("a late outcome of activity %s of run %s was refused", named.seq, named.run_id)
        elif failure is not None:
            runtime.attempts.failed(claim.task, claim.run, claim.fence, failure)
        else:
            runtime.attempts.completed(claim, result)
    except StoreError as error:
        _LOG.warning("an outcome waits for the store: %s", error)
        again = {"ticket": ticket, "failed": failed, "failure": failure, "tries": tries + 1}
        sent = () if failure is not None else args[:1]
        app.tasks[OUTCOME_TASK].apply_async(sent, again, countdown=min(2.0**tries, RETRY_MOST))


def _failure(app: Celery, args: tuple[Any, ...]) -> Failure:
    error = next((each for each in args if isinstance(each, BaseException)), None)
    if error is None and args:
        error = stored_error(app, str(args[0]))
    if error is not None:
        return failure_of(error, stack=False)
    return {"type": "TaskFailed", "message": f"the task {args[0] if args else ''} that was to bring the outcome failed"}


def stored_error(app: Celery, task_id: str) -> BaseException | None:
    """Return the exception that a failed task has left in the result backend, if it has."""
    try:
        found = AsyncResult(task_id, app=app).result
    except Exception:  # noqa: BLE001 - backends fail in many ways, and one may be absent
        return None
    return found if isinstance(found, BaseException) else None
