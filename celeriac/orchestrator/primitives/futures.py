"""Futures and tasks that hash by the order of their making.

asyncio's own hash by memory address, so a set of tasks iterates in another order in every process; users keep
tasks in sets, and cancel or await them in a loop over it.
"""

from __future__ import annotations

import asyncio
import types
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator
    from contextvars import Context

    from celeriac.orchestrator.primitives.running import DeterministicLoop

T = TypeVar("T")


class WorkflowFuture(asyncio.Future[T]):
    """A future of a workflow's loop.

    :ivar number: counts the futures and tasks of this loop in the order of their making, from 1.
    """

    __slots__ = ("number",)

    def __init__(self, *, loop: DeterministicLoop) -> None:
        super().__init__(loop=loop)
        self.number = next(loop.numbers)

    def __hash__(self) -> int:
        return self.number


class WorkflowTask(asyncio.Task[T]):
    """A task of a workflow's loop. Never starts eagerly; its default name counts within the run.

    Requests to cancel are counted here and not by asyncio, because since Python 3.13 asyncio takes a request
    that has not been delivered back when ``uncancel()`` reaches zero, and before it did not. Here it is not
    taken back, but by those who call :func:`forget_cancel`.

    :ivar number: counts the futures and tasks of this loop in the order of their making, from 1.
    """

    __slots__ = ("_cancels", "number")

    def __init__(
        self,
        coro: Coroutine[Any, Any, T],
        *,
        loop: DeterministicLoop,
        name: str | None = None,
        context: Context | None = None,
    ) -> None:
        number = next(loop.numbers)
        # Before Python 3.14 asyncio keeps all tasks of a process in one set, into which the next line puts
        # this one. Hashed by number there, the thousandth run's first task would collide with the first tasks
        # of all the others.
        self.number = object.__hash__(self)
        self._cancels = 0
        super().__init__(coro, loop=loop, name=name or f"Task-{number}", context=context)
        self.number = number

    def __hash__(self) -> int:
        return self.number

    def cancel(self, msg: Any | None = None) -> bool:
        """Request that the task be cancelled; False when it is done."""
        if self.done():
            return False
        self._cancels += 1
        return super().cancel(msg)

    def cancelling(self) -> int:
        """Return how many requests to cancel have not been taken back."""
        return self._cancels

    def uncancel(self) -> int:
        """Take one request to cancel back, and return how many are left."""
        if self._cancels > 0:
            self._cancels -= 1
        return self._cancels


async def forget_cancel(task: asyncio.Task[Any]) -> None:
    """Let a request to cancel the running task that was taken back before it was delivered come to nothing.

    A task group that fails while its parent is being cancelled repeats the request, for the parent's next await. Whoever made it,
    a timeout or an outer group, takes it back on the way out; left alone it would strike whatever is awaited next.
    """
    if task.cancelling() > 0 or not task._must_cancel:  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio's own mark
        return
    try:
        await _next_round()
    except asyncio.CancelledError:
        if task.cancelling() > 0:  # somebody else has asked meanwhile
            task.uncancel()
            task.cancel()


@types.coroutine
def _next_round() -> Generator[None, None, None]:
    yield
