"""What celeriac's messages say about themselves, in one message header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from celeriac.errors import InvalidCall
from celeriac.orchestrator.ports import Early

HEADER: Final = "celeriac"
TURN_TASK: Final = "celeriac.turn"
"""The task whose messages ask for a turn."""


@dataclass(frozen=True, slots=True)
class ActivityTicket:
    """A message that asks a worker to claim one attempt of an activity."""

    run_id: str
    seq: int
    attempt: int
    own: bool = False
    """The message is the task's own ``self.retry`` within the attempt, so its ``retries`` are the task's."""
    early: Early | None = None
    """It was sent before what it asks for was known to be recorded."""

    def header(self) -> dict[str, Any]:
        """Return the message header."""
        header: dict[str, Any] = {"run": self.run_id, "seq": self.seq, "attempt": self.attempt}
        if self.early is not None:
            header["early"] = [self.early.version, self.early.mark]
        return {**header, "own": True} if self.own else header


@dataclass(frozen=True, slots=True)
class WorkflowTicket:
    """A message with a workflow's own task id: its start, or its last one, which Celery traces as the task's end.

    :param named: the workflow id is another than the task's.
    :param later: the first turn is not due yet; a relay will see to it.
    """

    run_id: str
    finish: bool = False
    named: bool = False
    later: bool = False

    def header(self) -> dict[str, Any]:
        """Return the message header."""
        flags = {name: True for name in ("finish", "named", "later") if getattr(self, name)}
        return {"run": self.run_id, **flags}


@dataclass(frozen=True, slots=True)
class StartTicket:
    """A start that is not recorded before a worker takes its message, because the message may expire.

    :param options: what only workflows have: ``workflow_id`` and those of ``WorkflowOptions``.
    """

    options: Mapping[str, Any]

    def header(self) -> dict[str, Any]:
        """Return the message header."""
        return {"start": dict(self.options)}


@dataclass(frozen=True, slots=True)
class BadTicket:
    """A header of our name that celeriac has not written, or that was written by a later release.

    :param reason: what is the matter with it.
    """

    reason: str


Ticket = ActivityTicket | WorkflowTicket | StartTicket | BadTicket


def ticket_of(request: Any) -> Ticket | None:
    """Return what a task's request says of celeriac, or None when the task was called by somebody else."""
    header = getattr(request, HEADER, None)
    return ticket_in({HEADER: header} if header is not None else getattr(request, "headers", None) or {})


def ticket_in(headers: Any) -> Ticket | None:
    """Return what a message's headers say of celeriac, or None. Raises nothing, whatever they are."""
    header = _part(headers, HEADER)
    if header is None:
        header = _part(_part(headers, "headers"), HEADER)
    if header is None:
        return None
    if not isinstance(header, Mapping):
        return BadTicket(f"it is {_kind(header)}, and no mapping")
    try:
        return _read(header)
    except _Wrong as error:
        return BadTicket(str(error))


def refusal(ticket: BadTicket) -> InvalidCall:
    """Return the error by which a task with such a ticket fails."""
    return InvalidCall(
        f"the message's header {HEADER!r} is none that celeriac writes: {ticket.reason}. Headers of that name are "
        f"celeriac's own; don't set or pass them on"
    )


class _Wrong(Exception):
    pass


def _part(headers: Any, name: str) -> Any:
    return headers.get(name) if isinstance(headers, Mapping) else None


def _read(header: Mapping[str, Any]) -> Ticket:
    if "start" in header:
        return StartTicket(_start(header["start"]))
    run_id = _value(header, "run", str)
    if "seq" in header:
        seq, attempt, own = _number(header, "seq"), _number(header, "attempt"), bool(header.get("own"))
        return ActivityTicket(run_id, seq, attempt, own, _early(header.get("early")))
    flags = {name: bool(header.get(name)) for name in ("finish", "named", "later")}
    return WorkflowTicket(run_id, **flags)


def _early(numbers: Any) -> Early | None:
    if numbers is None:
        return None
    if not isinstance(numbers, (list, tuple)) or [type(each) for each in numbers] != [int, int]:
        raise _Wrong("'early' is not two whole numbers")
    return Early(*numbers)


_START: Final[Mapping[str, tuple[type, ...]]] = {
    "id": (str,),
    "id_conflict": (str,),
    "id_reuse": (str,),
    "timeout": (int, float),
    "memo": (dict,),
    "attributes": (dict,),
}


def _start(options: Any) -> Mapping[str, Any]:
    if not isinstance(options, Mapping):
        raise _Wrong(f"'start' is {_kind(options)}, and no mapping")
    unknown = sorted(str(name) for name in options if name not in _START)
    if unknown:
        raise _Wrong(f"'start' has the unknown {', '.join(map(repr, unknown))}")
    for name in options:
        _value(options, name, *_START[name])
    return options


def _value(of: Mapping[str, Any], name: str, *kinds: type) -> Any:
    if name not in of:
        raise _Wrong(f"it has no {name!r}")
    value = of[name]
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise _Wrong(f"{name!r} is {_kind(value)}")
    return value


def _number(of: Mapping[str, Any], name: str) -> int:
    value: int = _value(of, name, int)
    if not 0 <= value < _MOST:
        raise _Wrong(f"{name!r} is out of range")
    return value


_MOST: Final = 2**31
"""No run has as many commands, no activity as many attempts, and any database's whole numbers reach as far."""


def _kind(value: Any) -> str:
    return f"of the type {type(value).__name__}"
