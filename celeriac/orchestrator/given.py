"""What callers hand in, looked at before anything is done with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from celeriac.errors import ConfigurationError, InvalidCall
from celeriac.orchestrator.definition import WorkflowDefinition
from celeriac.orchestrator.executor import WorkflowOptions
from celeriac.payloads import UNTYPED, Json

MAX_KEY: Final = 900
"""Characters in the key of a signal or a start; with what stands before it, it may have 1,000."""


def check_id(workflow_id: str) -> str:
    """Return a workflow id that can be used.

    :raises InvalidCall: empty, not a string, longer than 1,000 characters, or with characters databases don't take.
    """
    if not isinstance(workflow_id, str) or not workflow_id:
        raise InvalidCall(f"a workflow id is a non-empty string, not {workflow_id!r}")
    if len(workflow_id) > 1000:  # noqa: PLR2004
        raise InvalidCall(f"a workflow id has at most 1000 characters; this one has {len(workflow_id)}")
    if "\0" in workflow_id or not workflow_id.isprintable():
        raise InvalidCall(f"workflow id {workflow_id!r} has characters that can't be shown; use printable ones")
    return workflow_id


def holdable(what: str, text: str) -> str:
    """Return a text that any database can hold in a column, and as part of a key.

    :raises InvalidCall: longer than 900 characters, or with a NUL or half of a surrogate pair.
    """
    if len(text) > MAX_KEY:
        raise InvalidCall(f"{what} has at most {MAX_KEY} characters; this one has {len(text)}")
    if "\0" in text or (not text.isascii() and any("\ud800" <= each <= "\udfff" for each in text)):
        raise InvalidCall(f"{what} can't have a NUL or half of a surrogate pair: {text!r}")
    return text


def arguments_of(definition: WorkflowDefinition, options: WorkflowOptions) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Return the arguments that the options of a start stand for.

    :raises InvalidCall: they are given twice.
    """
    if options.args is not None:
        if options.input is not None:
            raise InvalidCall("input= is short for args=[...]; give one of them")
        return options.args, options.kwargs
    takes_one = bool(definition.signature.signature.parameters) and not options.kwargs
    if options.input is None and not (takes_one and _required(definition)):
        return (), options.kwargs
    return (options.input,), options.kwargs


def _required(definition: WorkflowDefinition) -> bool:
    first = next(iter(definition.signature.signature.parameters.values()))
    return first.default is first.empty and first.kind in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD)


def noted(values: Mapping[str, Any] | None, what: str) -> dict[str, Json] | None:
    """Return a memo, or the attributes of a run, as they are recorded.

    :raises PayloadError: one of the values can't be.
    """
    return (
        None
        if values is None
        else {name: UNTYPED.write(each, f"{name!r} in the {what}") for name, each in values.items()}
    )


def choice(kind: Any, value: Any, name: str) -> Any:
    """Return the member of an enumeration that a value stands for.

    :raises ConfigurationError: there is none.
    """
    try:
        return kind(value)
    except ValueError:
        raise ConfigurationError(f"{name}={value!r}: one of {', '.join(repr(each.value) for each in kind)}") from None
