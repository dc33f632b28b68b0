"""Local activities in workers: what tells a process to end is not the activity's, and greenlets share one event loop."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from celeriac.executors.celery import activities, coroutines
from celeriac.orchestrator.inprocess import InProcess


class CeleryCalls(InProcess):
    """Calls the bodies of the app's tasks, and plain functions, in a worker's process."""

    def __init__(self) -> None:
        super().__init__((SoftTimeLimitExceeded,))

    def wait_for(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end, under gevent on the loop that all of the process share."""
        return coroutines.run_alone(coroutine) if coroutines.on_greenlets() else super().wait_for(coroutine)

    def lets_through(self, error: BaseException) -> bool:
        """Whether an exception is none of the function's own."""
        return super().lets_through(error) or activities.is_being_ended(error)
