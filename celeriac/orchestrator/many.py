"""Starting many runs at once: what is common to all who can."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from celeriac.errors import CeleriacError, ConfigurationError, InvalidCall, PayloadError, StartsRefused, StoreError
from celeriac.orchestrator.executor import WorkflowOptions
from celeriac.orchestrator.model import Created, IdConflict, NewRun

CHUNK: Final = 200
"""How many starts are one transaction and one trip to the broker."""

Outcome = Created | CeleriacError
"""What became of one start among many: the run that there is now, or why there is none."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One run that is to be started: checked, and not written.

    :param conflict: what to do when its id belongs to an open run.
    """

    new: NewRun
    conflict: IdConflict


def options_of(place: int, given: Any) -> WorkflowOptions:
    """Return the options of one start among many: arguments alone will do.

    :raises InvalidCall: neither options nor a tuple or list of arguments; says which one, and how it is written.
    """
    if isinstance(given, WorkflowOptions):
        return given
    if isinstance(given, (tuple, list)):
        return WorkflowOptions(args=given)
    raise neither(place, given, "WorkflowOptions(args=(...), id=...)")


def neither(place: int, given: Any, other: str) -> InvalidCall:
    """Return the complaint about a start that is none.

    :param other: what it might be beside a tuple of arguments.
    """
    return InvalidCall(
        f"starts[{place}] is {given!r}. Each start is a tuple of arguments, such as ({given!r},), or {other}"
    )


@contextmanager
def at(place: int) -> Iterator[None]:
    """Have an error of what is given say which start it belongs to.

    :raises InvalidCall, PayloadError, ConfigurationError: the same, with the place in front.
    """
    try:
        yield
    except (InvalidCall, PayloadError, ConfigurationError) as error:
        raise type(error)(f"starts[{place}]: {error}. Nothing was started") from None


@contextmanager
def among(done: int, total: int) -> Iterator[None]:
    """Have an error of the store say how many starts have been made before it."""
    try:
        yield
    except StoreError as error:
        error.add_note(f"{done:,} of {total:,} starts were made before that; the next ones may have been")
        raise


def told(workflow: str, results: Sequence[Any], *, return_exceptions: bool) -> Sequence[Any]:
    """Return what became of many starts.

    :raises StartsRefused: some were refused, and that is not to be returned.
    """
    if not return_exceptions and any(isinstance(each, Exception) for each in results):
        raise StartsRefused(workflow, results)
    return results


def name_of(workflow: Any) -> str:
    """Return the name of a declared workflow, or the name that it is."""
    return workflow if isinstance(workflow, str) else str(getattr(workflow, "name", workflow))
