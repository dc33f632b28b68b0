"""What workflow code holds while it waits: futures that ``await`` serves in async code and ``.result()`` in plain code."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from celeriac.orchestrator.bridge import await_in_greenlet, in_workflow_greenlet
from celeriac.orchestrator.loop import WorkflowFuture, WorkflowLoop, WorkflowTask

if TYPE_CHECKING:
    from celeriac.activities.definition import ActivityDefinition
    from celeriac.orchestrator.live import LiveRun

T = TypeVar("T")


def _no_truth(what: str) -> NoReturn:
    raise TypeError(
        f"{what} is not a value yet: write 'await' before it, or '.result()' after it in a plain def workflow"
    )


def _wait_for(future: asyncio.Future[Any], what: str) -> Any:
    if not in_workflow_greenlet():
        raise asyncio.InvalidStateError(
            f"{what} has no result yet: write 'await' in an 'async def' workflow and in what it calls"
        )
    return await_in_greenlet(future)


class ActivityFuture(WorkflowFuture[T]):
    """The outcome of a scheduled activity: await it, gather it, or call :meth:`result` in a plain ``def`` workflow.

    Canceling it asks the activity to stop, the way its ``cancellation`` option says.
    """

    def __init__(self, run: LiveRun, command: int, activity: ActivityDefinition) -> None:
        super().__init__(loop=run.loop)
        self.run = run
        self.command = command
        self.activity = activity
        self.asked = False
        """Whether the activity has been asked to stop, and is waited for."""

    def result(self) -> T:
        """Return the activity's result, waiting for it in a plain ``def`` workflow.

        :raises ActivityError: it ended without one.
        """
        if not self.done():
            return _wait_for(self, f"the activity {self.activity.name!r}")  # type: ignore[no-any-return]
        return super().result()

    def cancel(self, msg: Any | None = None) -> bool:
        """Ask the activity to stop. True unless it is over."""
        return not self.done() and self.run.cancel_activity(self, msg)

    def cancel_now(self, msg: Any | None = None) -> bool:
        """Become canceled, whatever the activity does."""
        return super().cancel(msg)

    def __bool__(self) -> bool:  # noqa: PLE0304 - it raises
        _no_truth(f"the activity {self.activity.name!r}")


class DurableTask(WorkflowTask[T]):
    """Something the context waits for, such as a signal: a task to await, or to ask for its :meth:`result` in plain code."""

    def result(self) -> T:
        """Return the result, waiting for it in a plain ``def`` workflow."""
        if not self.done():
            return _wait_for(self, "what you wait for")  # type: ignore[no-any-return]
        return super().result()

    def __bool__(self) -> bool:  # noqa: PLE0304
        _no_truth("what you wait for")


class DoneFuture(WorkflowFuture[Any]):
    """An already finished wait, for plain ``def`` workflows that have slept on the spot."""

    @classmethod
    def of(cls, loop: WorkflowLoop, value: Any = None) -> DoneFuture:
        """Make one with this result."""
        future = cls(loop=loop)
        future.set_result(value)
        return future
