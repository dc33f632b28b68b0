"""Revoking a workflow is canceling it: recorded in the store, not in the workers' memory."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any, Final

from celery import Celery
from celery.utils.imports import symbol_by_name
from celery.worker.control import Panel

from celeriac.errors import CeleriacError
from celeriac.executors.celery.runtime import CeleryRuntime
from celeriac.orchestrator.model import Run

_LOG: Final = logging.getLogger("celeriac.control")
_MARK: Final = "_celeriac_wraps"


def install(app: Celery) -> None:
    """Have the app's ``control.revoke`` know workflows; the class of the app's control stays what it was, one level up."""
    base = symbol_by_name(app.control_cls)
    if not issubclass(base, _Control):
        app.control_cls = type(base.__name__, (_Control, base), {"__module__": base.__module__})
        app.__dict__.pop("control", None)
    _wrap_worker_command()


class _Control:
    """Cancels workflows among the ids to revoke and passes the others on."""

    app: Celery

    def revoke(self, task_id: Any, *args: Any, **kwargs: Any) -> Any:
        """Revoke tasks; a workflow's id cancels the workflow."""
        ids = [task_id] if isinstance(task_id, str) else list(task_id or ())
        rest = cancel_workflows(self.app, ids)
        if not rest and ids:
            return None
        return super().revoke(task_id if rest == ids else rest, *args, **kwargs)  # type: ignore[misc]


def cancel_workflows(app: Celery, ids: Iterable[str]) -> list[str]:
    """Cancel those of the ids that are workflows' task ids, and return the others."""
    runtime: CeleryRuntime | None = app.__dict__.get("celeriac_runtime")
    rest = list(ids)
    if runtime is None:
        return rest
    left = []
    for each in rest:
        try:
            run = _workflow(runtime, each)
            if run is None:
                left.append(each)
            elif run.status.open:
                runtime.client.cancel(run.workflow_id, "revoked")
        except CeleriacError as error:
            _LOG.warning("%s could not be canceled: %s", each, error)
            left.append(each)
    return left


def _workflow(runtime: CeleryRuntime, task_id: str) -> Run | None:
    return runtime.store.find_run(runtime.namespace, start_key=task_id)


def _wrap_worker_command() -> None:
    """Have the workers' own ``revoke`` command, which other programs send, know workflows too."""
    original = Panel.data["revoke"]
    if getattr(original, _MARK, None) is not None:
        return

    def revoke(state: Any, task_id: Any, *args: Any, **kwargs: Any) -> Any:
        ids = [task_id] if isinstance(task_id, str) else list(task_id or ())
        rest = cancel_workflows(state.app, ids)
        if not rest and ids:
            return {"ok": f"tasks {ids} are workflows; cancel requested"}
        return original(state, rest, *args, **kwargs)

    setattr(revoke, _MARK, original)
    revoke.__doc__ = original.__doc__
    Panel.data["revoke"] = revoke
