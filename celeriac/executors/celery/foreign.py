"""Activities that are run by workers without celeriac: published once an attempt, with links that bring the outcome back.

Nobody there claims the attempt or renews its lease. So it is claimed before it is published, for as long as it may take
(``start_to_close``, counted from there, the wait in the queue included), and belongs to its links. When that time is up the
result backend is asked, in case only the link was lost, before the attempt counts as failed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from celery import states
from celery.result import AsyncResult

from celeriac.errors import PayloadError
from celeriac.executors.celery.outcomes import OUTCOME_TASK, OutcomeTicket
from celeriac.failures import Failure, failure_of
from celeriac.orchestrator.attempts import AttemptEnd, Attempts, activity_id
from celeriac.orchestrator.client import run_ref
from celeriac.orchestrator.model import Claim, Fence, Micros, RunRef, Task
from celeriac.orchestrator.ports import ActivityReady
from celeriac.payloads import UNTYPED, Json

if TYPE_CHECKING:
    from celeriac.executors.celery.runtime import CeleryRuntime

_LOG: Final = logging.getLogger("celeriac.foreign")

FOREIGN: Final = "(a worker without celeriac)"
"""Who has claimed an attempt that such a worker is to run."""


def is_foreign(hint: ActivityReady) -> bool:
    """Whether an activity is for workers without celeriac."""
    return bool(hint.data.get("options", {}).get("foreign"))


def task_id_of(run_id: str, seq: int, attempt: int) -> str:
    """Return the Celery task id of one attempt; each has its own, so that each has its own result."""
    first = activity_id(run_id, seq)
    return first if attempt == 1 else f"{first}.{attempt}"


def publish(runtime: CeleryRuntime, hint: ActivityReady, send: Callable[[dict[str, Any]], None]) -> None:
    """Claim an attempt and publish it.

    :param send: publishes the activity with these options.
    """
    attempts = runtime.attempts
    claim = attempts.claim(hint.run.run_id, hint.seq, attempt=hint.attempt, worker=FOREIGN)
    if claim is None:
        return
    limit = claim.task.data.get("options", {}).get("start_to_close")
    if limit is None:
        attempts.failed(claim.task, claim.run, claim.fence, _no_timeout(claim.task.data["name"]))
        return
    until = claim.task.start_to_close_by or claim.now
    runtime.store.renew([claim.fence], lease=max(until - claim.now, 1))
    outcome, destination = runtime.app.tasks[OUTCOME_TASK], runtime.dispatcher.destination(claim.run)
    ticket = OutcomeTicket.of(claim)
    try:
        send(
            {
                "task_id": task_id_of(hint.run.run_id, hint.seq, hint.attempt),
                "link": ticket.signature(outcome).set(**destination),
                "link_error": ticket.signature(outcome, failed=True).set(**destination),
                "expires": limit,
                "ignore_result": False,
            }
        )
    except Exception:
        attempts.release(claim)
        raise


def _no_timeout(name: str) -> Failure:
    return {
        "type": "InvalidCall",
        "message": (
            f"task {name!r} is not one of this app's, so it is taken for one of workers without celeriac, and those need a "
            f"timeout: durable.options({name!r}, timeout=...). If workers with celeriac have it, import its module here, or "
            f"say so: durable.options({name!r}, foreign=False)"
        ),
        "non_retryable": True,
    }


class CeleryAttempts(Attempts):
    """Looks into the result backend before it takes an attempt of a foreign worker for failed."""

    def __init__(self, runtime: CeleryRuntime, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._runtime = runtime

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
        """Record that the attempt has failed, unless its result says otherwise."""
        found = self._outcome(task) if failure.get("timeout") else None
        if found is not None and "result" in found:
            settled = self.completed(Claim(task, run, now or self.store.now()), found["result"])
            return AttemptEnd.SETTLED if settled else AttemptEnd.REFUSED
        if found is not None:
            failure = found["failure"]
        return super().failed(task, run, fence, failure, now=now, delay=delay, inline=inline)

    def timed_out(self, task: Task, fence: Fence, failure: Failure) -> bool:
        """Record a timeout after which no attempt follows, unless the result says otherwise."""
        found = self._outcome(task)
        if found is not None and "result" in found:
            run = self.store.find_run(task.namespace, run_id=task.run_id)
            return run is not None and self.completed(Claim(task, run_ref(run), self.store.now()), found["result"])
        return super().timed_out(task, fence, failure if found is None else found["failure"])

    def _outcome(self, task: Task) -> dict[str, Json] | None:
        """Return what the result backend has of an attempt of a foreign worker."""
        if task.worker != FOREIGN:
            return None
        try:
            result = AsyncResult(task_id_of(task.run_id, task.seq, task.attempt), app=self._runtime.app)
            state = result.state
            if state == states.SUCCESS:
                return {"result": UNTYPED.write(result.result, f"result of activity {task.data['name']!r}")}
            if state in states.PROPAGATE_STATES and isinstance(result.result, BaseException):
                return {"failure": failure_of(result.result, stack=False)}
        except PayloadError as error:
            return {"failure": {**failure_of(error, stack=False), "non_retryable": True}}
        except Exception:  # noqa: BLE001 - backends fail in many ways, and one may be absent
            _LOG.debug("no result could be had of activity %s", task.data.get("name"), exc_info=True)
        return None
