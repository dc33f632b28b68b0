"""``asyncio.gather`` and ``as_completed`` as they are inside workflows."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, cast

from celeriac.orchestrator.primitives.futures import WorkflowFuture
from celeriac.orchestrator.primitives.running import DeterministicLoop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Iterable

AnyFuture = asyncio.Future[Any]


def gather(*coros_or_futures: Awaitable[Any], return_exceptions: bool = False) -> AnyFuture:
    """Return a future of all results, in the order of the arguments; what is passed twice is awaited once.

    What is done already counts at once, without another round of the loop.
    """
    loop = cast(DeterministicLoop, asyncio.get_running_loop())
    known: dict[Awaitable[Any], AnyFuture] = {}
    for awaitable in coros_or_futures:
        if awaitable not in known:
            known[awaitable] = asyncio.ensure_future(awaitable, loop=loop)
    outer = _Gathered(list(known.values()), [known[it] for it in coros_or_futures], return_exceptions, loop)
    outer.start()
    return outer


class _Gathered(WorkflowFuture[list[Any]]):
    """What :func:`gather` returns. Cancelling it cancels the children; it ends when they have ended."""

    __slots__ = ("_answers", "_cancel_requested", "_children", "_left", "_return_exceptions")

    def __init__(
        self,
        children: list[AnyFuture],
        answers: list[AnyFuture],
        return_exceptions: bool,  # noqa: FBT001 - called in one place
        loop: DeterministicLoop,
    ) -> None:
        super().__init__(loop=loop)
        self._children = children
        self._answers = answers
        self._return_exceptions = return_exceptions
        self._left = len(children)
        self._cancel_requested = False

    def start(self) -> None:
        """Listen to the children, and count those in that are done."""
        if not self._children:
            self.set_result([])
        for child in self._children:
            if not child.done():
                child.add_done_callback(self._one_is_done)
        for child in self._children:
            if child.done():
                self._one_is_done(child)

    def cancel(self, msg: Any | None = None) -> bool:
        if self.done():
            return False
        cancelled = [child.cancel(msg) for child in self._children]
        self._cancel_requested |= any(cancelled)
        return any(cancelled)

    def _one_is_done(self, child: AnyFuture) -> None:
        self._left -= 1
        error = _error_of(child)
        if self.done():
            return
        if error is not None and not self._return_exceptions:
            self.set_exception(error)
        elif self._left == 0:
            self._finish(child)

    def _finish(self, last: AnyFuture) -> None:
        # An outer future that was cancelled ends as cancelled even if the children went on and returned.
        if self._cancel_requested:
            self.set_exception(_error_of(last) if last.cancelled() else asyncio.CancelledError())  # type: ignore[arg-type]
        else:
            self.set_result([_outcome_of(answer) for answer in self._answers])


def _error_of(future: AnyFuture) -> BaseException | None:
    """Return how a future failed or was cancelled, and mark that as seen."""
    if future.cancelled():
        try:
            future.result()
        except asyncio.CancelledError as cancelled:
            return cancelled
    return future.exception()


def _outcome_of(future: AnyFuture) -> Any:
    error = _error_of(future)
    return future.result() if error is None else error


def as_completed(fs: Iterable[Awaitable[Any]], *, timeout: float | None = None) -> AsCompleted:
    """Iterate over awaitables in the order in which they are done; both a plain and an async iterator.

    :param timeout: in seconds, from now; running out raises TimeoutError for each that is not done.
    :raises TypeError: for a single awaitable.
    """
    if inspect.isawaitable(fs):
        raise TypeError(f"asyncio.as_completed() takes several awaitables, got one {type(fs).__name__}")
    return AsCompleted(fs, timeout)


class AsCompleted:
    """What :func:`as_completed` returns: plain, it iterates over coroutines, async, over the futures."""

    def __init__(self, awaitables: Iterable[Awaitable[Any]], timeout: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._done: asyncio.Queue[AnyFuture | None] = asyncio.Queue()
        self._todo = {asyncio.ensure_future(awaitable): None for awaitable in dict.fromkeys(awaitables)}
        self._left = len(self._todo)
        for future in self._todo:
            future.add_done_callback(self._one_is_done)
        self._timer = loop.call_later(timeout, self._time_is_up) if timeout is not None and self._todo else None

    def __iter__(self) -> AsCompleted:
        return self

    def __aiter__(self) -> AsCompleted:
        return self

    def __next__(self) -> Coroutine[Any, Any, Any]:
        if not self._left:
            raise StopIteration
        self._left -= 1
        return self._next_result()

    async def __anext__(self) -> AnyFuture:
        if not self._left:
            raise StopAsyncIteration
        self._left -= 1
        return await self._next_future()

    async def _next_result(self) -> Any:
        future = await self._next_future()
        return future.result()

    async def _next_future(self) -> AnyFuture:
        future = await self._done.get()
        if future is None:
            raise TimeoutError
        return future

    def _one_is_done(self, future: AnyFuture) -> None:
        if future not in self._todo:
            return
        del self._todo[future]
        self._done.put_nowait(future)
        if not self._todo and self._timer is not None:
            self._timer.cancel()

    def _time_is_up(self) -> None:
        for future in self._todo:
            future.remove_done_callback(self._one_is_done)
            self._done.put_nowait(None)
        self._todo.clear()
