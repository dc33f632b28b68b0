"""The end of a run, told to Celery by the process that has closed it: the last message's work without the message.

Celery's own tracer does it, with the request that the message would have brought, so that the result is stored and links, chains,
chords, handlers and signal receivers have their turn as ever. It saves a trip through broker, worker and store a run. Where it
can't be done, or not in time, the message is sent: this process does not serve the workflow's queue, has not been given a task to
run (a client, a relay), runs several at once, or may be struck by a soft time limit, which Celery would take for the workflow's.
Where it comes to nothing, because the process dies, the run's finish row is there, and a relay sends the message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from celery import states
from celery.utils.saferepr import saferepr

from celeriac.executors.celery import events
from celeriac.orchestrator.model import Run
from celeriac.orchestrator.ports import RunFinished

if TYPE_CHECKING:
    from celeriac.executors.celery.dispatcher import QuietMessage
    from celeriac.executors.celery.runtime import CeleryRuntime

CLOSED: Final = "celeriac_closed"
"""Set on a request that no message has brought: the run as it was closed."""
_ONE_AT_A_TIME: Final = frozenset({"prefork", "solo"})
"""Pools whose tasks run, turns included, on the one thread of their process."""


def may_end_here(runtime: CeleryRuntime, hint: RunFinished) -> bool:
    """Whether this process may have Celery trace the end of a run, here and now."""
    running = runtime.app.current_worker_task
    if running is None or hint.closed is None or runtime.worker_pool not in _ONE_AT_A_TIME:
        return False
    if hint.run.name not in runtime.app.tasks or _soft_limit(runtime, running) is not None:
        return False
    return runtime.may_inline(hint.run.queue)


def _soft_limit(runtime: CeleryRuntime, running: Any) -> float | None:
    limits = ((running.request.timelimit or (None, None))[1], running.soft_time_limit, runtime.time_limits[1])
    return next((each for each in limits if each), None)


def request_of(last: QuietMessage, hostname: str) -> dict[str, Any]:
    """Return the request that the last message of a run would have brought."""
    headers, properties, (args, kwargs, embedded), _ = last.message
    return {
        **headers,
        **last.options.get("headers", {}),
        **embedded,
        "properties": properties,
        "reply_to": properties.get("reply_to"),
        "correlation_id": last.task_id,
        "hostname": hostname,
        "delivery_info": {"priority": last.options.get("priority"), "redelivered": False},
        "args": args,
        "kwargs": kwargs,
        "is_eager": False,
    }


def end_here(runtime: CeleryRuntime, closed: Run, last: QuietMessage) -> None:
    """Have Celery trace the end of a run.

    :param closed: the run as it was closed.
    :param last: the message that would have been sent.
    """
    from celery.app.trace import trace_task  # noqa: PLC0415 - it brings the worker's modules, which clients do without

    app, hostname, task_id = runtime.app, runtime.hostname, last.task_id
    request = {**request_of(last, hostname), CLOSED: closed}
    args, kwargs = request["args"], request["kwargs"]
    task = app.tasks[closed.name]
    result, ended, took, shown = trace_task(
        task, task_id, args, kwargs, request, app=app, loader=app.loader, hostname=hostname
    )
    if ended is None:
        events.ended(app, hostname, task_id, "task-succeeded", result=shown, runtime=took)
    elif ended.state == states.FAILURE:
        told = {"exception": saferepr(ended.retval), "traceback": result.traceback}
        events.ended(app, hostname, task_id, "task-failed", **told)
