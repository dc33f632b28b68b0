"""Making tasks of functions: workflows and activities."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from celery import Celery
from celery.app.task import Task
from celery.utils.imports import symbol_by_name

from celeriac.activities.definition import ActivityDefinition
from celeriac.activities.options import ActivityOptions
from celeriac.errors import InvalidCall
from celeriac.executors.celery.misspelt import refuse_misspelt
from celeriac.executors.celery.registry import OPTIONS, activity_of
from celeriac.executors.celery.workflows import WorkflowTask
from celeriac.orchestrator.definition import WorkflowSettings


def declare_workflow(app: Celery, fn: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """Make a workflow task of a function."""
    given = dict(options)
    own = {key: given.pop(key) for key in WorkflowSettings.__slots__ if key in given}
    _check_names(given, WorkflowSettings.__slots__, fn)

    @functools.wraps(fn)
    def run(*_: Any, **__: Any) -> Any:
        raise InvalidCall(
            f"workflow {fn.__name__!r} was called like a function; start it with {fn.__name__}.delay(...)"
        )

    del run.__wrapped__  # the task's signature is not the function's, which begins with the context
    # An errback that takes more than one argument Celery calls on the spot, unless it is bound: then it is sent.
    given["bind"] = True
    body = {"celeriac_fn": staticmethod(fn), "celeriac_settings": WorkflowSettings(**own), "abstract": True}
    return _declare(app, run, given, lambda base: type("Workflow", (WorkflowTask, base), body))


def declare_activity(app: Celery, fn: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """Make an activity task of a function."""
    given = dict(options)
    own = {key: given.pop(key) for key in (*ActivityOptions.__slots__, "timeout") if key in given}
    _check_names(given, (*ActivityOptions.__slots__, "timeout"), fn)
    given.setdefault("typing", False)

    def with_options(self: Any, **overrides: Any) -> ActivityDefinition:
        """Return the activity with some options replaced, for one call."""
        return activity_of(self).with_options(overrides)

    body = {OPTIONS: ActivityOptions().merged(own), "options": with_options, "abstract": True}
    return _declare(app, fn, given, lambda base: type("Activity", (base,), body))


def _check_names(options: Mapping[str, Any], own: Sequence[str], fn: Callable[..., Any]) -> None:
    refuse_misspelt(
        (name for name in options if not hasattr(Task, name)), own, f"{getattr(fn, '__name__', fn)!r} as it is declared"
    )


def _declare(app: Celery, fn: Callable[..., Any], options: dict[str, Any], derive: Callable[[Any], Any]) -> Any:
    """Declare a task whose class derives from the one given, else from the app's own (a tenant's, Flask's, Django's)."""
    given = options.pop("base", None) or app.task_cls
    base = symbol_by_name(given) if isinstance(given, str) else given
    options.setdefault("shared", False)  # else every other app of the process has it too, instead of one of its own
    return app.task(fn, base=derive(base if issubclass(base, Task) else Task), **options)
