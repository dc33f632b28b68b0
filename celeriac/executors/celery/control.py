"""Revoking a workflow is canceling it: recorded in the store, not in the workers' memory. So it is with an activity."""

from __future__ import annotations

import functools
import logging
import re
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

from celery import Celery
from celery.utils.imports import symbol_by_name

from celeriac.errors import CeleriacError
from celeriac.executors.celery import forks
from celeriac.executors.celery.runtime import CeleryRuntime
from celeriac.orchestrator.model import Fence, Task
from celeriac.orchestrator.status import TaskKind

_LOG: Final = logging.getLogger("celeriac.control")
_MARK: Final = "_celeriac_wraps"
_ACTIVITY_ID: Final = re.compile(r"(?P<run>.+)-(?P<seq>\d+)")
PATIENCE: Final = 1.0
"""Seconds that a worker's command waits for the store, before it answers without having heard from it."""
MAX_TRIES: Final = 10


def install(app: Celery) -> None:
    """Have the app's ``control.revoke`` know workflows; the class of the app's control stays what it was, one level up."""
    base = symbol_by_name(app.control_cls)
    if not issubclass(base, _Control):
        app.control_cls = type(base.__name__, (_Control, base), {"__module__": base.__module__})
        app.__dict__.pop("control", None)


def install_in_worker() -> None:
    """Have the worker's own commands know workflows, which other programs send."""
    from celery.worker.control import Panel  # noqa: PLC0415 - only workers need Celery's worker

    for command in ("revoke", "terminate"):
        _wrap(Panel.data, command)


class _Control:
    """Cancels workflows and activities among the ids to revoke, and passes on what is not a workflow's."""

    app: Celery

    def revoke(self, task_id: Any, *args: Any, **kwargs: Any) -> Any:
        """Revoke tasks; a workflow's id cancels the workflow."""
        ids = _listed(task_id)
        rest = cancel(self.app, ids)
        if not rest and ids:
            return None
        return super().revoke(task_id if rest == ids else rest, *args, **kwargs)  # type: ignore[misc]


def cancel(app: Celery, ids: Iterable[str]) -> list[str]:
    """Cancel those of the ids that are workflows' or activities', and return what Celery is to revoke.

    An activity's id is among that: its message may be thrown away, its process ended.
    """
    runtime: CeleryRuntime | None = app.__dict__.get("celeriac_runtime")
    rest = list(ids)
    return rest if runtime is None else [each for each in rest if not _is_canceled(runtime, each)]


def _is_canceled(runtime: CeleryRuntime, task_id: str) -> bool:
    try:
        run = runtime.store.find_run(runtime.namespace, start_key=task_id)
        if run is None:
            cancel_activity(runtime, task_id)
            return False
        if run.status.open:
            runtime.client.cancel(run.workflow_id, "revoked")
    except CeleriacError as error:
        _LOG.warning("%s could not be canceled: %s", task_id, error)
        return False
    return True


def cancel_activity(runtime: CeleryRuntime, activity_id: str) -> None:
    """Record an activity as canceled, waiting or running. Nothing happens where the id is none of an activity under way."""
    named = _ACTIVITY_ID.fullmatch(activity_id)
    if named is None:
        return
    run_id, seq = named["run"], int(named["seq"])
    for _ in range(MAX_TRIES):  # its claim may change hands between the look and the deed
        task = _activity(runtime, run_id, seq)
        if task is None or runtime.attempts.canceled(task, Fence(run_id, task.kind, seq, task.token or "")):
            return


def _activity(runtime: CeleryRuntime, run_id: str, seq: int) -> Task | None:
    run = runtime.store.find_run(runtime.namespace, run_id=run_id)
    if run is None or not run.status.open:
        return None
    rows = runtime.store.tasks(run_id)
    return next((each for each in rows if each.kind is TaskKind.ACTIVITY and each.seq == seq), None)


# -- the workers' own commands, which other programs send -----------------------------------------------------------


def _wrap(commands: dict[str, Any], name: str) -> None:
    original = commands[name]
    if getattr(original, _MARK, None) is not None:
        return

    @functools.wraps(original)
    def command(state: Any, *args: Any, **kwargs: Any) -> Any:
        *given, task_id = args if "task_id" not in kwargs else (*args, kwargs.pop("task_id"))
        ids = _listed(task_id)
        rest = _within(PATIENCE, lambda: cancel(state.app, ids), ids)
        if not rest and ids:
            return {"ok": f"canceled: {', '.join(ids)}"}
        return original(state, *given, task_id=rest, **kwargs)

    setattr(command, _MARK, original)
    commands[name] = command


def _within(seconds: float, call: Callable[[], list[str]], otherwise: list[str]) -> list[str]:
    """Call from another thread, since this one serves the broker and must not wait for a store that is away."""
    found: list[list[str]] = []

    def work() -> None:
        with forks.working():
            found.append(call())

    thread = threading.Thread(target=work, name="celeriac-revoke", daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else otherwise


def _listed(task_id: Any) -> list[str]:
    return [task_id] if isinstance(task_id, str) else list(task_id or ())
