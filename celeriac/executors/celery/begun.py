"""``task_track_started`` for workflows: ``STARTED`` is stored by whoever takes the first turn, while it is his.

Celery stores it for each message of a task, before the task is called. A start may come twice, or when the run is over, and
result backends let it go over any end but ``SUCCESS``: a workflow that had failed was shown as started for ever. While a turn is
claimed that is a run's first, nobody else can have taken one, so that there is no end yet that it could go over.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, Final

from celery import states
from celery.app.task import Context
from celery.exceptions import SoftTimeLimitExceeded

from celeriac.executors.celery.ending import request_of
from celeriac.orchestrator.model import Run
from celeriac.orchestrator.undone import ref_of

if TYPE_CHECKING:
    from celeriac.executors.celery.runtime import CeleryRuntime

_LOG: Final = logging.getLogger("celeriac.workflows")


def store_started(runtime: CeleryRuntime, run: Run) -> None:
    """Store that a workflow's task is started, where its results are kept and that is wanted."""
    task: Any = runtime.app.tasks.get(run.name)
    if run.origin is None or not getattr(task, "tracks_started", False):
        return
    last = runtime.dispatcher.last_message(ref_of(run, run.status), run.origin)
    request = Context(request_of(last, runtime.hostname))
    if request.ignore_result:
        return
    try:
        meta = {"pid": os.getpid(), "hostname": runtime.hostname}
        task.backend.store_result(last.task_id, meta, states.STARTED, request=request)
    except SoftTimeLimitExceeded:
        raise
    except Exception:  # noqa: BLE001 - backends fail in many ways, and the run has no need of this
        _LOG.warning("workflow %s is not shown as started", run.workflow_id, exc_info=True)
