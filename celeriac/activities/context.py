"""What a running activity may ask for: its attempt, its heartbeat, whether it is still wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from celeriac.errors import CeleriacError, InvalidCall


class ActivityCanceled(CeleriacError, asyncio.CancelledError):
    """Raised by :meth:`ActivityContext.heartbeat` when the attempt is no longer wanted.

    The workflow gave up on it, it timed out, or the run has closed. Clean up and let it pass.
    """


@dataclass(slots=True)
class ActivityContext:
    """The attempt under way.

    :param workflow_id: the workflow that wants it.
    :param run_id: its run.
    :param activity: the activity's name.
    :param activity_id: the same for all attempts of this one activity: an idempotency key for what it calls.
    :param attempt: from 1.
    :param details: what the last heartbeat of the attempt before this one carried, or None.
    """

    workflow_id: str
    run_id: str
    activity: str
    activity_id: str
    attempt: int
    details: Any = None
    token: str = ""
    _beat: Callable[[Any], bool] = field(default=lambda _: True, repr=False)
    _stopping: Callable[[], bool] = field(default=lambda: False, repr=False)
    _gone: bool = field(default=False, repr=False)
    _listeners: list[Callable[[], None]] = field(default_factory=list, repr=False)

    def heartbeat(self, details: Any = None) -> None:
        """Say that the attempt gets on, and how far it got; the next attempt finds ``details`` in its own context.

        :param details: any value that can be recorded as JSON.
        :raises ActivityCanceled: the attempt is no longer wanted.
        :raises PayloadError: the details can't be recorded.
        """
        if self._gone or not self._beat(details):
            self._gone = True
            raise ActivityCanceled(f"attempt {self.attempt} of activity {self.activity!r} is no longer wanted")

    @property
    def canceled(self) -> bool:
        """Whether the attempt is known to be no longer wanted."""
        return self._gone

    @property
    def worker_stopping(self) -> bool:
        """Whether the worker has been told to stop, and waits for this attempt to end.

        A long one may give its place up: after a heartbeat with its progress, ``raise Reject(requeue=True)`` has the same attempt
        go on in another worker.
        """
        return self._stopping()

    def withdraw(self) -> None:
        """Note that the attempt is no longer wanted; its next heartbeat raises."""
        self._gone = True
        for each in list(self._listeners):
            each()

    @contextmanager
    def on_withdrawal(self, call: Callable[[], None]) -> Iterator[None]:
        """Have ``call()`` called, from whatever thread notices it, when the attempt is withdrawn while the block runs."""
        self._listeners.append(call)
        try:
            yield
        finally:
            self._listeners.remove(call)


_CURRENT: Final[ContextVar[ActivityContext | None]] = ContextVar("celeriac_activity", default=None)


def activity_context() -> ActivityContext:
    """Return the context of the activity that is running here.

    :raises InvalidCall: none is.
    """
    found = _CURRENT.get()
    if found is None:
        raise InvalidCall(
            "activity_context() was called outside an activity that a workflow runs. "
            "When the task is also called directly, ask activity_running() first"
        )
    return found


def activity_running() -> bool:
    """Whether the code runs inside an activity that a workflow has scheduled."""
    return _CURRENT.get() is not None


@contextmanager
def running(context: ActivityContext) -> Iterator[ActivityContext]:
    """Make a context the current one."""
    token = _CURRENT.set(context)
    try:
        yield context
    finally:
        _CURRENT.reset(token)
