"""Exceptions as data: type, message, details and the whole cause chain, never a class path, never pickle."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from typing import Final

from celeriac.errors import ActivityError
from celeriac.payloads import Json, plain

MAX_CAUSES: Final = 16
"""How many causes of a failure are kept."""
MAX_NESTED: Final = 4
"""How deep exception groups within groups are kept."""
MAX_MESSAGE: Final = 4_000
"""How many characters of a message are kept."""
MAX_STACK: Final = 12
"""How many frames of a traceback are kept, the innermost ones."""

Failure = dict[str, Json]
"""``type``, ``message``, and where there are any ``details``, ``cause``, ``stack``, ``others``, ``timeout``, ``bases``."""

FOUND: Final = frozenset({"ActivityTimeoutError", "WorkerLostError"})
"""Types of failures that the engine finds: no code has raised them."""


def failure_of(error: BaseException, *, stack: bool = True) -> Failure:
    """Describe an exception as JSON.

    :param stack: keep the innermost frames as ``file:line in function``.
    """
    return _failure(error, stack=stack, depth=0)


def _failure(error: BaseException, *, stack: bool, depth: int) -> Failure:
    failure: Failure = {"type": type(error).__name__, "message": _message(error)}
    details = _details(error)
    if details is not None:
        failure["details"] = details
    if isinstance(error, ActivityError):
        failure["activity"] = error.activity
        failure["cause"] = dict(error.failure)
        return failure
    bases = [each.__name__ for each in type(error).__mro__[1:] if each not in (object, BaseException, Exception)]
    if bases:
        failure["bases"] = bases
    if stack and error.__traceback__ is not None:
        failure["stack"] = [
            f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"
            for frame, line in traceback.walk_tb(error.__traceback__)
        ][-MAX_STACK:]
    if isinstance(error, BaseExceptionGroup) and depth < MAX_NESTED:
        failure["others"] = [_failure(each, stack=False, depth=depth + 1) for each in error.exceptions[:MAX_CAUSES]]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and depth < MAX_CAUSES:
        failure["cause"] = _failure(cause, stack=stack, depth=depth + 1)
    return failure


def _message(error: BaseException) -> str:
    try:
        message = str(error)
    except Exception as trouble:  # noqa: BLE001 - a user's __str__ may do anything, and the failure must be kept
        message = f"<its __str__ raised {type(trouble).__name__}>"
    return message if len(message) <= MAX_MESSAGE else message[:MAX_MESSAGE] + "..."


def _details(error: BaseException) -> Json:
    """Return what the exception carries besides its message, if it can be recorded."""
    try:
        return plain(getattr(error, "details", None))
    except Exception:  # noqa: BLE001 - a user's property may do anything, and what can't be recorded is left out
        return None


def first_leaf(error: BaseException) -> tuple[BaseException, list[BaseException]]:
    """Return the first leaf of an exception group and the other leaves; any other exception is its own leaf."""
    leaves = list(_leaves(error))
    return leaves[0], leaves[1:]


def _leaves(error: BaseException) -> Iterable[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def summary(failure: Failure) -> str:
    """Put a failure into one line: ``type: message``."""
    return f"{failure.get('type', 'Exception')}: {failure.get('message', '')}".rstrip(": ")


def names_of(failure: Failure) -> tuple[str, ...]:
    """Return the names of the exception's class and of its bases, for matching by name.

    What the engine found and no code raised (a lost worker, a timeout) goes by its own name only.
    """
    kind = str(failure.get("type", ""))
    bases = tuple(map(str, failure.get("bases", ())))
    return (kind, *bases) if kind in FOUND and not bases else (kind, *bases, "Exception")
