"""Activities that are coroutines: run to their end, and canceled as a coroutine is when their attempt is withdrawn."""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from celeriac.activities.context import ActivityCanceled, ActivityContext

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T], context: ActivityContext) -> T:
    """Run an activity's coroutine to its end on an event loop of its own.

    :raises ActivityCanceled: the attempt was withdrawn, and the coroutine let its cancellation through.
    """
    return _somewhere(lambda: asyncio.run(_watched(coroutine, context)))


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


def _somewhere(call: Callable[[], T]) -> T:
    """Call right here, or in a native thread where gevent shares this one among all tasks: a loop needs one of its own."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading"):
        return call()
    import gevent  # type: ignore[import-untyped]  # noqa: PLC0415 - it is there, since it has patched the process

    return gevent.get_hub().threadpool.apply(contextvars.copy_context().run, (call,))  # type: ignore[no-any-return]
