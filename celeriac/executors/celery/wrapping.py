"""Puts an attempt around a task's body where a message of celeriac asks for one; to all other calls the task is what it was."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any, Final

from celery.app.task import Task
from celery.exceptions import Ignore

from celeriac.executors.celery.headers import (
    ActivityTicket,
    BadTicket,
    StartTicket,
    WorkflowTicket,
    refusal,
    ticket_of,
)
from celeriac.executors.celery.registry import BODY, OPTIONS

REPLACED: Final = "celeriac_replaced"
"""Set on a request whose task was replaced."""
REPLACING: Final = "celeriac_replacing"
"""Set on a request while its body runs as an activity: what to call before the task is replaced."""
_ENTERED: Final = "celeriac_entered"
_MARK: Final = "_celeriac_wrapped"

Around = Callable[[Any, ActivityTicket, Callable[..., Any]], Any]
"""Given the task, the ticket of its message and the body: carries out the attempt and returns what Celery is to see."""


def wrap(task: Any, around: Around) -> None:
    """Put ``around`` around a task; doing so twice is doing so once.

    A task whose class has a ``__call__`` of its own is wrapped there, any other at ``run``: where Celery calls it. Nothing
    is changed in the user's classes.
    """
    if task.__dict__.get(_MARK):
        return
    task.__dict__[BODY] = task.run  # its types are those of the body
    setattr(task, _MARK, True)
    task.replace = _announcing_replacement(task)
    task.on_replace = _noting_replacement(task)
    if _calls_itself(task):
        _wrap_call(task, around)
    else:
        task.run = _wrapped(task, around, task.run)


def _wrapped(task: Any, around: Around, body: Callable[..., Any]) -> Callable[..., Any]:
    runs_coroutines = inspect.iscoroutinefunction(body) and getattr(task, OPTIONS, None) is not None

    @functools.wraps(body)
    def run(*args: Any, **kwargs: Any) -> Any:
        request = task.request
        ticket = ticket_of(request)
        if isinstance(ticket, (StartTicket, WorkflowTicket)):
            ticket = BadTicket("it is a workflow's, and this is none")
        if isinstance(ticket, BadTicket):
            raise refusal(ticket)
        if isinstance(ticket, ActivityTicket) and not getattr(request, _ENTERED, False):
            setattr(request, _ENTERED, True)  # a body may call itself
            return around(task, ticket, body)
        return asyncio.run(body(*args, **kwargs)) if runs_coroutines else body(*args, **kwargs)

    return run


def _wrap_call(task: Any, around: Around) -> None:
    own = task.__class__
    wrapped = _wrapped(task, around, functools.partial(own.__call__, task))

    def call(_: Any, *args: Any, **kwargs: Any) -> Any:
        return wrapped(*args, **kwargs)

    names = {"__module__": own.__module__, "__qualname__": own.__qualname__, "__doc__": own.__doc__, "__call__": call}
    task.__class__ = type(own.__name__, (own,), names)


def _calls_itself(task: Any) -> bool:
    """Whether a class below Celery's own says what calling the task means; Celery's own test counts its worker's patches."""
    owner = next(each for each in type(task).__mro__ if "__call__" in each.__dict__)
    return owner is not Task


def _announcing_replacement(task: Any) -> Callable[[Any], Any]:
    original = task.replace

    def replace(sig: Any) -> Any:
        announce = getattr(task.request, REPLACING, None)
        if announce is not None:
            announce()
        return original(sig)

    return replace


def _noting_replacement(task: Any) -> Callable[[Any], Any]:
    original = task.on_replace

    def on_replace(sig: Any) -> Any:
        try:
            return original(sig)
        except Ignore:
            setattr(task.request, REPLACED, True)
            raise

    return on_replace
