"""``asyncio.timeout``'s context manager as it is inside workflows: that of the newest Python."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from celeriac.orchestrator.primitives.futures import forget_cancel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    Enter = Callable[[Any], Awaitable[Any]]

_State = asyncio.timeouts._State  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio's states stay


def entering(enter: Enter) -> Enter:
    """Wrap ``Timeout.__aenter__``: early 3.11 did not count the requests to cancel that were there before."""

    async def __aenter__(self: Any) -> Any:  # noqa: N807 - takes that method's place
        await enter(self)
        self._cancelling = self._task.cancelling()
        return self

    return __aenter__


async def leave(
    self: Any, _: type[BaseException] | None, exc_val: BaseException | None, __: TracebackType | None
) -> None:
    """Take ``Timeout.__aexit__``'s place.

    :raises TimeoutError: what leaves is the cancellation that this timeout caused.
    """
    if self._timeout_handler is not None:
        self._timeout_handler.cancel()
        self._timeout_handler = None
    if self._state is not _State.EXPIRING:
        self._state = _State.EXITED
        return
    self._state = _State.EXPIRED
    others = self._task.uncancel() > self._cancelling
    await forget_cancel(self._task)
    if others or exc_val is None:
        return  # someone else cancels the task, too, and that goes on; or the code has dealt with it
    if isinstance(exc_val, asyncio.CancelledError):
        raise TimeoutError from exc_val
    _name_the_cause(exc_val)
    if isinstance(exc_val, ExceptionGroup):
        for error in exc_val.exceptions:
            _name_the_cause(error)


def _name_the_cause(error: BaseException) -> None:
    """Put a TimeoutError between an error and the cancellation during which it was raised."""
    while error.__context__ is not None:
        if isinstance(error.__context__, asyncio.CancelledError):
            timed_out = TimeoutError()
            timed_out.__context__ = timed_out.__cause__ = error.__context__
            error.__context__ = timed_out
            return
        error = error.__context__
