"""Calls of tasks that workflow code must not make: called or sent from there, a task would run again at every replay."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any, Final

from celery import Celery
from celery.app.task import Task

from celeriac.orchestrator import guards
from celeriac.orchestrator.primitives.blame import Place
from celeriac.orchestrator.primitives.redirect import redirect

_THROUGH: Final = frozenset({Place.CELERIAC, Place.GENERATED, Place.INSTALLED, Place.STDLIB})


@functools.cache
def install() -> None:
    """Have Celery's tasks refuse to be called and sent inside workflows, once a process; elsewhere they are what they were."""
    tracing = sys.modules.get("celery.app.trace")  # imported in workers, which patch what is called
    called = getattr(tracing, "_patched", {}).get("BaseTask.__call__", Task.__call__)
    redirect(inspect.unwrap(called), _refusing_call)
    redirect(inspect.unwrap(Task.apply_async), _refusing_task("apply_async"))
    redirect(inspect.unwrap(Task.apply), _refusing_task("apply"))
    redirect(inspect.unwrap(Celery.send_task), _refusing_name)


def refuse_to_start(name: str) -> None:
    """Refuse a workflow that workflow code starts by Celery's verbs.

    :raises ForbiddenCallError: workflow code does.
    """
    short = name.rpartition(".")[2]
    guards.forbid(f"{short}.apply_async(...)", "start it in an activity", sys._getframe(2), _THROUGH)  # noqa: SLF001


def _refusing_call(outside: Callable[..., Any]) -> Callable[..., Any]:
    def call(task: Any, *args: Any, **kwargs: Any) -> Any:
        guards.refuse_direct_call(task.name, args, kwargs)
        return outside(task, *args, **kwargs)

    return call


def _refusing_task(verb: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def inside(outside: Callable[..., Any]) -> Callable[..., Any]:
        def send(task: Any, *args: Any, **kwargs: Any) -> Any:
            short = task.name.rpartition(".")[2]
            instead = guards.execute_instead([short, "..."])
            guards.forbid(f"{short}.{verb}(...)", instead, sys._getframe(2), _THROUGH)  # noqa: SLF001
            return outside(task, *args, **kwargs)

        return send

    return inside


def _refusing_name(outside: Callable[..., Any]) -> Callable[..., Any]:
    def send(app: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        instead = guards.execute_instead([repr(name), "..."])
        guards.forbid(f"app.send_task({name!r}, ...)", instead, sys._getframe(2), _THROUGH)  # noqa: SLF001
        return outside(app, name, *args, **kwargs)

    return send
