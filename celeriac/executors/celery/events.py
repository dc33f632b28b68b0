"""Events of our own for those who watch (Flower, ``celery events``): in the form of Celery's, and as easily lost."""

from __future__ import annotations

import logging
from typing import Any, Final

_LOG: Final = logging.getLogger("celeriac.events")
WANTED: Final = "celeriac_events"
"""The attribute of an app whose worker was told to send events (``-E``)."""


def waiting(task: Any) -> None:
    """Show a workflow's task as waiting: it has been begun, and its last message will come some day."""
    _send(task, "task-waiting")


def revoked(task: Any) -> None:
    """Show a task as revoked: it was canceled while it ran."""
    # Whoever follows Celery's order of states lets waiting, a state of our own, go over revoked, but anything over a retry.
    _send(task, "task-retried", exception="", traceback="")
    _send(task, "task-revoked", terminated=True, signum=None, expired=False)


def _send(task: Any, kind: str, **fields: Any) -> None:
    if not (task.app.conf.worker_send_task_events or getattr(task.app, WANTED, False)):
        return
    try:
        task.send_event(kind, retry=False, **fields)
    except Exception:  # noqa: BLE001 - whoever watches misses a line
        _LOG.debug("no event could be sent", exc_info=True)
