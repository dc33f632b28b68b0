"""Workflows and activities of reusable apps, which don't know the Celery app that they will be part of.

As Celery's ``shared_task``: declared at import, made a task of each app that celeriac is attached to. What the decorators
return stands for the task of the current app.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final, overload

from celery import Celery, _state, current_app
from celery.local import Proxy

from celeriac.executors.celery.declaring import declare_activity, declare_workflow
from celeriac.executors.celery.runtime import is_attached

Declaration = Callable[[Celery], Any]
_DECLARED: Final[list[Declaration]] = []


@overload
def shared_workflow(fn: Callable[..., Any]) -> Any: ...
@overload
def shared_workflow(**options: Any) -> Callable[[Callable[..., Any]], Any]: ...


def shared_workflow(fn: Any = None, **options: Any) -> Any:
    """Declare a workflow in whatever app it will be part of (decorator); options as of ``Celeriac.workflow``."""
    if fn is None:
        return functools.partial(shared_workflow, **options)
    return _share(fn, options, declare_workflow)


@overload
def shared_activity(fn: Callable[..., Any]) -> Any: ...
@overload
def shared_activity(**options: Any) -> Callable[[Callable[..., Any]], Any]: ...


def shared_activity(fn: Any = None, **options: Any) -> Any:
    """Declare an activity in whatever app it will be part of (decorator); options as of ``Celeriac.activity``."""
    if fn is None:
        return functools.partial(shared_activity, **options)
    return _share(fn, options, declare_activity)


def _share(fn: Callable[..., Any], options: dict[str, Any], declare: Callable[..., Any]) -> Any:
    def declaration(app: Celery) -> Any:
        return declare(app, fn, options)

    _DECLARED.append(declaration)
    for app in _state._get_active_apps():  # noqa: SLF001 - as shared_task does
        if app.finalized and is_attached(app):
            declaration(app)
    name = options.get("name")
    return Proxy(lambda: current_app.tasks[name or current_app.gen_task_name(fn.__name__, fn.__module__)])


def declare_shared(app: Celery) -> None:
    """Have an app that celeriac is being attached to take all that is shared, now or when it is finalized."""
    if app.finalized:
        for declaration in _DECLARED:
            declaration(app)


def _on_finalize(app: Celery) -> None:
    if is_attached(app):
        for declaration in _DECLARED:
            declaration(app)


_state.connect_on_app_finalize(_on_finalize)
