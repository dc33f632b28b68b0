"""Events of our own for those who watch (Flower, ``celery events``): in the form of Celery's, and as easily lost."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from celery import Celery

from celeriac.executors.celery.sharedflag import SharedFlag

_LOG: Final = logging.getLogger("celeriac.events")
WANTED: Final = "celeriac_events"
"""The attribute of a worker's app that says whether it sends events of tasks: from its start (``-E``), or by remote control."""
_MARK: Final = "_celeriac_notes"


def share(app: Celery, *, wanted: bool) -> None:
    """Have this worker's processes know whether it sends events; before the pool forks."""
    flag = SharedFlag()
    flag.share()
    flag.put(up=wanted)
    setattr(app, WANTED, flag)


def install_in_worker() -> None:
    """Have the commands that begin and end events, which Flower sends, be known to the worker's other processes.

    Celery's dispatcher calls nobody back then: it only changes the groups of events that it sends.
    """
    from celery.worker.control import Panel  # noqa: PLC0415 - only workers need Celery's worker

    for command in ("enable_events", "disable_events"):
        _note_after(Panel.data, command)


def _note_after(commands: dict[str, Any], name: str) -> None:
    original = commands[name]
    if getattr(original, _MARK, False):
        return

    @functools.wraps(original)
    def command(state: Any, *args: Any, **kwargs: Any) -> Any:
        answer = original(state, *args, **kwargs)
        flag = getattr(state.app, WANTED, None)
        if flag is not None:
            flag.put(up=_sends(state.consumer.event_dispatcher))
        return answer

    setattr(command, _MARK, True)
    commands[name] = command


def _sends(dispatcher: Any) -> bool:
    """Whether a worker's dispatcher sends events of tasks; without groups it sends all."""
    return dispatcher is not None and dispatcher.enabled and (not dispatcher.groups or "task" in dispatcher.groups)


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
    flag: SharedFlag | None = getattr(app, WANTED, None)
    return bool(app.conf.worker_send_task_events) if flag is None else flag.is_up()


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
