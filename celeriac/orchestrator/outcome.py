"""The command that a run closes with, by how its main function ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.errors import ActivityError, Held, PayloadError
from celeriac.failures import Failure, failure_of, first_leaf
from celeriac.orchestrator import commands
from celeriac.orchestrator.loop import RunDiscarded
from celeriac.payloads import check_size

if TYPE_CHECKING:
    from celeriac.orchestrator.definition import WorkflowDefinition


class BlockedByChoice(Held):
    """The workflow declares that this exception holds the run (``blocks_on``)."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.error = error


def closed_by_cancel(number: int, reason: str | None) -> commands.Command:
    """Return the command for a function that ended in a cancellation.

    :param reason: of the run's own cancellation, or None where there was none.
    """
    if reason is not None:
        return commands.CancelWorkflow(number, reason)
    failure: Failure = {"type": "CancelledError", "message": "the workflow awaited something that was canceled"}
    return commands.FailWorkflow(number, failure)


def closed_by_error(
    number: int,
    error: BaseException,
    definition: WorkflowDefinition,
    interrupts: tuple[type[BaseException], ...],
) -> commands.Command:
    """Return the command for a function that raised.

    :raises Held, KeyboardInterrupt, RunDiscarded: one of these is what came out, or is among what did; ``interrupts`` too.
    :raises BlockedByChoice: the workflow is to be held over this error.
    """
    leaf, others = first_leaf(error)
    for each in (error, leaf, *others):
        if isinstance(each, (Held, KeyboardInterrupt, RunDiscarded, *interrupts)):
            raise each
    if isinstance(error, definition.settings.blocks_on):
        raise BlockedByChoice(error)
    if others and all(isinstance(each, ActivityError) for each in (leaf, *others)):
        failure = failure_of(leaf)
        failure["others"] = [failure_of(each, stack=False) for each in others]
    else:
        failure = failure_of(error)
    return commands.FailWorkflow(number, failure)


def closed_by_result(number: int, result: Any, definition: WorkflowDefinition, limit: int | None) -> commands.Command:
    """Return the command for a function that returned; a result that can't be recorded fails the run.

    :param limit: of a payload, in bytes, if there is one.
    """
    what = f"result of workflow {definition.name!r}"
    try:
        value = definition.signature.result.write(result, what)
        check_size(value, limit, what)
    except PayloadError as error:
        return commands.FailWorkflow(number, failure_of(error, stack=False))
    return commands.CompleteWorkflow(number, value)
