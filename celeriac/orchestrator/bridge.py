"""Plain ``def`` workflows on the same loop as ``async def`` ones: a greenlet hands out what it awaits.

:func:`run_sync` is a coroutine like any other, so ``gather``, ``timeout``, ``TaskGroup`` and cancellation
    work on plain functions as they do on coroutines. The greenlet shares the task's context variables, is
    switched to and from by its own coroutine only (never by gevent's hub), and lives in the thread in which
    it was started.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from greenlet import getcurrent, greenlet  # type: ignore[import-untyped]

from celeriac.orchestrator.primitives.discard import RunDiscarded, close, insist

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["await_in_greenlet", "in_workflow_greenlet", "run_sync"]

P = ParamSpec("P")
T = TypeVar("T")


class _WorkflowGreenlet(greenlet):  # type: ignore[misc]
    """The greenlet of one plain function. Its parent is the one in which its coroutine runs."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        super().__init__(fn)
        self.gr_context = getcurrent().gr_context

    def resume(self, value: Any) -> Any:
        """Let the function go on with what it awaited; returns what it awaits next, or its result."""
        self.parent = getcurrent()
        return self.switch(value)

    def fail(self, error: BaseException) -> Any:
        """Let the function go on with an exception where it waits; returns as :meth:`resume` does."""
        self.parent = getcurrent()
        return self.throw(error)

    def discard(self) -> None:
        """End the function, whatever its code does about it; raises nothing."""
        insist(lambda: self.fail(RunDiscarded()), self)


async def run_sync(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a plain function that may call :func:`await_in_greenlet`, and return what it returns.

    When this coroutine is closed before the function has ended, the function is unwound with
    :class:`~celeriac.orchestrator.primitives.discard.RunDiscarded`, which each further wait raises again.
    """
    branch = _WorkflowGreenlet(fn)
    outcome = branch.switch(*args, **kwargs)
    try:
        while not branch.dead:
            try:
                value = await outcome
            except (GeneratorExit, RunDiscarded):
                raise
            except BaseException as error:  # noqa: BLE001 - all of them belong to the function, CancelledError above all
                outcome = branch.fail(error)
            else:
                outcome = branch.resume(value)
        return cast(T, outcome)
    finally:
        if not branch.dead:
            branch.discard()


def await_in_greenlet(awaitable: Awaitable[T]) -> T:
    """Wait for an awaitable inside a function that :func:`run_sync` runs.

    :raises RuntimeError: called from anywhere else.
    :raises RunDiscarded: this copy of the run is no longer wanted.
    """
    current = getcurrent()
    if not isinstance(current, _WorkflowGreenlet):
        close(awaitable)
        raise RuntimeError(  # noqa: TRY004 - the place is wrong, not a type
            "this waits for a result, which only a plain `def` workflow can do, in its own code. "
            "In an `async def` workflow, and in what it calls, write `await` instead."
        )
    parent = cast(greenlet, current.parent)
    return cast(T, parent.switch(awaitable))


def in_workflow_greenlet() -> bool:
    """Whether the caller is a function that :func:`run_sync` runs: there :func:`await_in_greenlet` works."""
    return isinstance(getcurrent(), _WorkflowGreenlet)
