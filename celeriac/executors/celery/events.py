"""Events of our own for those who watch (Flower, ``celery events``): in the form of Celery's, and as easily lost."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from celery import Celery

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


def ended(app: Celery, hostname: str, task_id: str, kind: str, **fields: Any) -> None:
    """Show a task as ended where no message has brought its end, so that no worker's main process knows of it."""
    if is_wanted(app):
        with _unheard(), app.events.default_dispatcher(hostname=hostname) as dispatcher:
            dispatcher.send(kind, uuid=task_id, retry=False, **fields)


def is_wanted(app: Celery) -> bool:
    """Whether this worker sends events."""
    return bool(app.conf.worker_send_task_events or getattr(app, WANTED, False))


def _send(task: Any, kind: str, **fields: Any) -> None:
    if is_wanted(task.app):
        with _unheard():
            task.send_event(kind, retry=False, **fields)


@contextmanager
def _unheard() -> Iterator[None]:
    try:
        yield
    except Exception:  # noqa: BLE001 - whoever watches misses a line
        _LOG.debug("no event could be sent", exc_info=True)
