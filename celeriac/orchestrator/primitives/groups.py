"""``asyncio.TaskGroup`` as it is inside workflows: that of the newest Python, its tasks in their order.

The state stands in the attributes that asyncio gives the group, so that its ``repr`` and those who look
inside see what they expect.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from celeriac.orchestrator.primitives.futures import forget_cancel
from celeriac.orchestrator.primitives.ordered import OrderedSet

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

    Group = Any
    AnyTask = asyncio.Task[Any]

_FATAL = (SystemExit, KeyboardInterrupt)


async def enter(self: Group) -> Group:
    """Take ``TaskGroup.__aenter__``'s place."""
    if self._entered:
        raise RuntimeError(f"{self!r} has been entered before: a TaskGroup serves once")
    self._loop = asyncio.get_running_loop()
    self._parent_task = asyncio.current_task()
    if self._parent_task is None:
        raise RuntimeError(f"{self!r} has to be entered inside a task")
    self._entered = True
    self._tasks = OrderedSet()
    if getattr(self, "_cancel_on_enter", False):  # TaskGroup.cancel() of Python 3.15
        self.cancel()
    return self


def create_task(self: Group, coro: Coroutine[Any, Any, Any], **options: Any) -> AnyTask:
    """Take ``TaskGroup.create_task``'s place."""
    refusal = _why_not(self)
    if refusal:
        coro.close()
        raise RuntimeError(f"{self!r} {refusal}")
    task: AnyTask = self._loop.create_task(coro, **options)
    self._tasks.add(task)
    task.add_done_callback(lambda done: _one_is_done(self, done))
    return task


def _why_not(self: Group) -> str | None:
    if not self._entered:
        return "has not been entered"
    if self._exiting and not self._tasks:
        return "is finished"
    return "is shutting down" if self._aborting else None


async def leave(
    self: Group, et: type[BaseException] | None, exc: BaseException | None, _: TracebackType | None
) -> bool:
    """Take ``TaskGroup.__aexit__``'s place.

    :raises BaseExceptionGroup: of what the tasks and the body raised, cancellations left out.
    """
    self._exiting = True
    cancelled = exc if isinstance(exc, asyncio.CancelledError) else None
    if isinstance(exc, _FATAL) and self._base_error is None:
        self._base_error = exc
    if et is not None and not self._aborting:
        _abort(self)
    try:
        cancelled = await _all_done(self) or cancelled
        if self._base_error is not None:
            raise self._base_error
        if self._parent_cancel_requested and self._parent_task.uncancel() == 0:
            cancelled = None
            await forget_cancel(self._parent_task)
        _settle(self, exc, cancelled)
    finally:
        # Exceptions hold tracebacks, those hold frames, and one of them holds this group.
        self._parent_task = self._base_error = None
        self._errors = []
    return True


async def _all_done(self: Group) -> asyncio.CancelledError | None:
    """Wait for the tasks, however often that is cancelled; return a cancellation that came from outside."""
    from_outside = None
    while self._tasks:
        if self._on_completed_fut is None:
            self._on_completed_fut = self._loop.create_future()
        try:
            await self._on_completed_fut
        except asyncio.CancelledError as cancelled:
            if not self._aborting:
                from_outside = cancelled
                _abort(self)
        self._on_completed_fut = None
    return from_outside


def _settle(self: Group, exc: BaseException | None, cancelled: BaseException | None) -> None:
    """Raise what the group ends with, if it does not end well."""
    parent = self._parent_task
    errors = list(self._errors)
    if cancelled is not None and not errors:
        raise cancelled
    if exc is not None and not isinstance(exc, asyncio.CancelledError):
        errors.append(exc)
    if not errors:
        return
    if parent.cancelling():
        # Whoever cancels the parent from outside is heard at its next await; the count stays as it is.
        parent.uncancel()
        parent.cancel()
    if isinstance(exc, GeneratorExit) and len(errors) == 1:
        raise exc  # an async generator that is closed inside the group
    raise BaseExceptionGroup("unhandled errors in a TaskGroup", errors) from None


def _abort(self: Group) -> None:
    self._aborting = True
    for task in self._tasks.copy():
        if not task.done():
            task.cancel()


def _one_is_done(self: Group, task: AnyTask) -> None:
    self._tasks.discard(task)
    if not self._tasks and self._on_completed_fut is not None and not self._on_completed_fut.done():
        self._on_completed_fut.set_result(True)
    error = None if task.cancelled() else task.exception()
    if error is None:
        return
    self._errors.append(error)
    if isinstance(error, _FATAL) and self._base_error is None:
        self._base_error = error
    if not self._aborting and not self._parent_cancel_requested:
        # The body is interrupted where it waits; leave() takes this request back.
        _abort(self)
        self._parent_cancel_requested = True
        self._parent_task.cancel()
