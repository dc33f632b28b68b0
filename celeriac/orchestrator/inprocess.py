"""Calling local activities in the process that takes the turn: plain functions, coroutines, and what limits them."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Self

from celeriac.activities.context import ActivityContext, running
from celeriac.activities.definition import ActivityDefinition
from celeriac.errors import Held, UnknownDefinition


class TookTooLong(Exception):
    """A call took longer than it may."""


class NoFunction(Held):
    """The workflow calls an activity locally that this process knows by name only."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{UnknownDefinition('activity', name)} A local activity is called in the process that takes the turn: "
            f"import its module there, or write ctx.execute_activity(...) to have it run where it is known"
        )


class InProcess:
    """Calls functions here. Coroutines share one event loop as long as a stretch of calls lasts.

    A plain function can't be stopped. One with a limit is called in a thread of its own, which is left behind when it takes
    longer; one without is called right here.

    :param interrupts: exception types that are raised into a thread from outside.
    """

    def __init__(self, interrupts: tuple[type[BaseException], ...] = ()) -> None:
        self._interrupts: tuple[type[BaseException], ...] = (KeyboardInterrupt, Held, *interrupts)
        self._loop: asyncio.Runner | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    def function(self, activity: ActivityDefinition) -> Callable[..., Any]:
        """Return what to call for an activity.

        :raises NoFunction: there is nothing.
        """
        if activity.fn is None:
            raise NoFunction(activity.name)
        return activity.fn

    def call(
        self,
        activity: ActivityDefinition,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        context: ActivityContext,
        limit: float | None,
    ) -> Any:
        """Call an activity's function and return what comes of it."""
        fn = self.function(activity)
        with running(context):
            if limit is None or inspect.iscoroutinefunction(fn):
                value = fn(*args, **kwargs)
            else:
                value = _apart(lambda: fn(*args, **kwargs), limit)
            if inspect.iscoroutine(value):
                value = self.wait_for(value if limit is None else _limited(value, limit))
            return value

    def wait_for(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end."""
        if self._loop is None:
            self._loop = asyncio.Runner()
        return self._loop.run(coroutine, context=contextvars.copy_context())

    def lets_through(self, error: BaseException) -> bool:
        """Whether an exception is none of the function's own."""
        return isinstance(error, self._interrupts)


async def _limited(coroutine: Coroutine[Any, Any, Any], limit: float) -> Any:
    timeout = asyncio.timeout(limit)
    try:
        async with timeout:
            return await coroutine
    except TimeoutError:
        if timeout.expired():
            raise TookTooLong from None
        raise


def _apart(call: Callable[[], Any], limit: float) -> Any:
    """Call in a thread, and leave it behind when it takes longer than ``limit`` seconds."""
    found: list[Any] = []
    raised: list[BaseException] = []

    def target() -> None:
        try:
            found.append(call())
        except BaseException as error:  # noqa: BLE001 - it is raised again where the call came from
            raised.append(error)

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(target,), name="celeriac-local", daemon=True)
    thread.start()
    thread.join(limit)
    if raised:
        raise raised[0]
    if not found:
        raise TookTooLong
    return found[0]
