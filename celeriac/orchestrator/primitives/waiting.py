"""``asyncio.wait``, ``wait_for`` and ``all_tasks`` as they are inside workflows."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from celeriac.orchestrator.primitives.ordered import OrderedSet
from celeriac.orchestrator.primitives.running import DeterministicLoop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

AnyFuture = asyncio.Future[Any]
AnyTask = asyncio.Task[Any]

_ENDINGS = (asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION, asyncio.ALL_COMPLETED)


async def wait(
    fs: Iterable[AnyFuture],
    *,
    timeout: float | None = None,  # noqa: ASYNC109 - asyncio.wait has it
    return_when: str = asyncio.ALL_COMPLETED,
) -> tuple[OrderedSet[AnyFuture], OrderedSet[AnyFuture]]:
    """Wait for futures and return those that are done and those that are not, both in the order of ``fs``.

    :param timeout: in seconds; running out raises nothing.
    :raises TypeError: for a single future, and for coroutines: wrap them in tasks.
    :raises ValueError: for no futures at all, or an unknown ``return_when``.
    """
    if asyncio.isfuture(fs) or asyncio.iscoroutine(fs):
        raise TypeError(f"asyncio.wait() takes several futures, got one {type(fs).__name__}: wait([it])")
    futures = list(dict.fromkeys(fs))
    if not futures:
        raise ValueError("asyncio.wait() was given nothing to wait for")
    if return_when not in _ENDINGS:
        raise ValueError(f"asyncio.wait(return_when={return_when!r}): it is one of {', '.join(_ENDINGS)}")
    if any(asyncio.iscoroutine(future) for future in futures):
        raise TypeError("asyncio.wait() takes tasks, not coroutines: wait([asyncio.create_task(it), ...])")
    await _Wait(futures, return_when).until(timeout)
    done = OrderedSet(future for future in futures if future.done())
    return done, OrderedSet(future for future in futures if future not in done)


class _Wait:
    """Counts futures down until as many are done as are waited for."""

    def __init__(self, futures: list[AnyFuture], return_when: str) -> None:
        self._futures = futures
        self._return_when = return_when
        self._left = len(futures)
        self._waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def until(self, timeout: float | None) -> None:  # noqa: ASYNC109 - asyncio.wait has it
        """Return when enough futures are done, or after ``timeout`` seconds."""
        loop = asyncio.get_running_loop()
        timer = None if timeout is None else loop.call_later(timeout, release, self._waiter)
        for future in self._futures:
            future.add_done_callback(self._one_is_done)
        try:
            await self._waiter
        finally:
            if timer is not None:
                timer.cancel()
            for future in self._futures:
                future.remove_done_callback(self._one_is_done)

    def _one_is_done(self, future: AnyFuture) -> None:
        self._left -= 1
        if self._left <= 0 or self._is_enough(future):
            release(self._waiter)

    def _is_enough(self, future: AnyFuture) -> bool:
        if self._return_when == asyncio.FIRST_EXCEPTION:
            return not future.cancelled() and future.exception() is not None
        return self._return_when == asyncio.FIRST_COMPLETED


async def wait_for(fut: Awaitable[Any], timeout: float | None) -> Any:  # noqa: ASYNC109 - asyncio.wait_for has it
    """Await within the same task, and cancel what is awaited when ``timeout`` (seconds) runs out.

    :raises TimeoutError: the time ran out. With a timeout of 0 or less, at once, unless it is done already.
    """
    if timeout is not None and timeout <= 0:
        return await _without_time(fut)
    async with asyncio.timeout(timeout):
        return await fut


async def _without_time(awaitable: Awaitable[Any]) -> Any:
    future = asyncio.ensure_future(awaitable)
    if not future.done():
        await _cancel_and_wait(future)
    else:
        return future.result()
    try:
        return future.result()
    except asyncio.CancelledError as cancelled:
        raise TimeoutError from cancelled


async def _cancel_and_wait(future: AnyFuture) -> None:
    """Cancel a future and return when it is done; this wait can be cancelled itself."""
    waiter = asyncio.get_running_loop().create_future()

    def done(_: AnyFuture) -> None:
        release(waiter)

    future.add_done_callback(done)
    try:
        future.cancel()
        await waiter
    finally:
        future.remove_done_callback(done)


def release(waiter: asyncio.Future[None]) -> None:
    """Let whoever awaits ``waiter`` go on, if nothing has yet."""
    if not waiter.done():
        waiter.set_result(None)


def listing_tasks(outside: Callable[..., set[AnyTask]]) -> Callable[..., set[AnyTask]]:
    """Wrap ``asyncio.all_tasks``: a workflow's tasks come in the order of their making."""

    def all_tasks(loop: asyncio.AbstractEventLoop | None = None) -> set[AnyTask]:
        asked = loop or asyncio.get_running_loop()
        return OrderedSet(asked.pending_tasks()) if isinstance(asked, DeterministicLoop) else outside(loop)

    return all_tasks
