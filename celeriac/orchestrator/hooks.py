"""Callbacks on what happens to workflows, called after it was committed, in the process that did it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Final

_LOG: Final = logging.getLogger("celeriac.hooks")

Hook = Callable[..., Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """What to call. A hook that raises is logged and changes nothing.

    :param on_workflow_start: ``(workflow_id, input)`` after a run's first turn.
    :param on_workflow_complete: ``(workflow_id, result)``.
    :param on_workflow_fail: ``(workflow_id, failure)``; also for canceled, terminated and timed-out runs.
    :param on_activity_start: ``(workflow_id, activity, attempt)`` when an attempt is claimed.
    :param on_activity_complete: ``(workflow_id, activity, result, failure)``; one of the last two is None.
    :param on_signal: ``(workflow_id, name, payload)`` when a signal is taken up.
    :param on_retry: ``(workflow_id, activity, attempt, failure, delay)``; delay in seconds.
    """

    on_workflow_start: Hook | None = None
    on_workflow_complete: Hook | None = None
    on_workflow_fail: Hook | None = None
    on_activity_start: Hook | None = None
    on_activity_complete: Hook | None = None
    on_signal: Hook | None = None
    on_retry: Hook | None = None

    def call(self, name: str, *args: Any) -> None:
        """Call one hook, if there is one."""
        hook: Hook | None = getattr(self, name)
        if hook is None:
            return
        try:
            hook(*args)
        except Exception:  # noqa: BLE001 - users' code
            _LOG.exception("hook %s raised; the workflow is not affected", name)

    def merged(self, other: Hooks) -> Hooks:
        """Return hooks that call these first and ``other``'s after."""
        return Hooks(
            **{each.name: _both(getattr(self, each.name), getattr(other, each.name)) for each in fields(Hooks)}
        )


def _both(first: Hook | None, second: Hook | None) -> Hook | None:
    if first is None or second is None:
        return first or second

    def call(*args: Any) -> None:
        try:
            first(*args)
        finally:
            second(*args)

    return call
