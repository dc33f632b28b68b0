"""Making a loop the running one for a while, also where another loop is running in the thread already."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    Hook = Callable[[AsyncGenerator[Any, Any]], None] | None


class Outer(NamedTuple):
    """What ran in this thread before, to be put back."""

    loop: asyncio.AbstractEventLoop | None
    task: asyncio.Task[Any] | None
    firstiter: Hook
    finalizer: Hook


def enter_loop(loop: asyncio.AbstractEventLoop, finalizer: Hook) -> Outer:
    """Make ``loop`` the running one, ``finalizer`` see to async generators, and return what ran before."""
    outer = asyncio._get_running_loop()  # noqa: SLF001 - asyncio exports them for makers of loops
    task = None if outer is None else _swap_current_task(outer, None)
    hooks = sys.get_asyncgen_hooks()
    asyncio._set_running_loop(loop)  # noqa: SLF001
    sys.set_asyncgen_hooks(None, finalizer)
    return Outer(outer, task, *hooks)


def leave_loop(outer: Outer) -> None:
    """Put back what :func:`enter_loop` found."""
    sys.set_asyncgen_hooks(outer.firstiter, outer.finalizer)
    asyncio._set_running_loop(outer.loop)  # noqa: SLF001
    if outer.task is not None and outer.loop is not None:
        _swap_current_task(outer.loop, outer.task)


if sys.version_info >= (3, 12):

    def _swap_current_task(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any] | None) -> asyncio.Task[Any] | None:
        """Since 3.14 there is one current task per thread, and none may be entered while another is."""
        previous: asyncio.Task[Any] | None = asyncio.tasks._swap_current_task(loop, task)  # type: ignore[attr-defined]  # noqa: SLF001
        return previous

else:

    def _swap_current_task(
        _loop: asyncio.AbstractEventLoop, _task: asyncio.Task[Any] | None
    ) -> asyncio.Task[Any] | None:
        """Before 3.12 every loop has a current task of its own."""
        return None
