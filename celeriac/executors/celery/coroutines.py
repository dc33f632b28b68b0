"""Activities that are coroutines: run to their end, and canceled as a coroutine is when their attempt is withdrawn."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import sys
import threading
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

from celery._state import _task_stack

from celeriac.activities.context import ActivityCanceled, ActivityContext

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T], context: ActivityContext, task: Any) -> T:
    """Run an activity's coroutine to its end.

    :param task: the Celery task whose body it is.
    :raises ActivityCanceled: the attempt was withdrawn, and the coroutine let its cancellation through.
    """
    if on_greenlets():
        steps = _Steps(coroutine, task, task.request_stack.top)
        return _shared_loop().run(_watched(_awaiting(steps), context))
    return asyncio.run(_watched(coroutine, context))


def run_alone(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that belongs to no Celery task on the loop that greenlets share, and wait for its end."""
    return _shared_loop().run(coroutine)


async def _watched(coroutine: Coroutine[Any, Any, T], context: ActivityContext) -> T:
    loop = asyncio.get_running_loop()
    task = loop.create_task(coroutine)

    def cancel() -> None:
        try:
            loop.call_soon_threadsafe(task.cancel)
        except RuntimeError:  # it has just come to its end
            return

    with context.on_withdrawal(cancel):
        try:
            return await task
        except asyncio.CancelledError:
            if context.canceled:
                raise ActivityCanceled(f"activity {context.activity!r} was canceled") from None
            raise


# -- under gevent, where all tasks share one thread, and a thread has one running loop --------------------------------


def on_greenlets() -> bool:
    """Whether threads are gevent's greenlets here."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


@functools.cache
def _shared_loop() -> _SharedLoop:
    return _SharedLoop()


class _SharedLoop:
    """One event loop for all coroutines of the process, in a greenlet of its own.

    While it waits it is not the thread's running loop, so that other greenlets may have theirs.
    """

    def __init__(self) -> None:
        loop = self._loop = asyncio.new_event_loop()
        selector: Any = getattr(loop, "_selector")  # noqa: B009 - where asyncio waits
        select = selector.select

        def select_apart(timeout: float | None = None) -> Any:
            asyncio._set_running_loop(None)  # noqa: SLF001 - the only way
            try:
                return select(timeout)
            finally:
                asyncio._set_running_loop(loop)  # noqa: SLF001

        selector.select = select_apart
        threading.Thread(target=loop.run_forever, name="celeriac-coroutines", daemon=True).start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop, in the caller's context, and wait for its end in the caller's greenlet."""
        over = threading.Event()
        tasks: list[asyncio.Task[T]] = []
        context = contextvars.copy_context()

        def begin() -> None:
            task = self._loop.create_task(coroutine, context=context)
            tasks.append(task)
            task.add_done_callback(lambda _: over.set())

        self._loop.call_soon_threadsafe(begin)
        over.wait()
        return tasks[0].result()


async def _awaiting(steps: _Steps[T]) -> T:
    return await steps


class _Steps(Generic[T]):
    """A coroutine each of whose steps finds the Celery task and its request, which Celery keeps by greenlet."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], task: Any, request: Any) -> None:
        self._coroutine = coroutine
        self._task = task
        self._request = request

    def __await__(self) -> Generator[Any, Any, T]:
        steps = self._coroutine.__await__()
        step = functools.partial(steps.send, None)
        while True:
            self._task.request_stack.push(self._request)
            _task_stack.push(self._task)
            try:
                awaited = step()
            except StopIteration as end:
                value: T = end.value
                return value
            finally:
                _task_stack.pop()
                self._task.request_stack.pop()
            try:
                step = functools.partial(steps.send, (yield awaited))
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's
                step = functools.partial(steps.throw, error)
