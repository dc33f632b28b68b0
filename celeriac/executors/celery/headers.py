"""What celeriac's messages say about themselves, in one message header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

HEADER: Final = "celeriac"


@dataclass(frozen=True, slots=True)
class ActivityTicket:
    """A message that asks a worker to claim one attempt of an activity."""

    run_id: str
    seq: int
    attempt: int
    own: bool = False
    """The message is the task's own ``self.retry`` within the attempt, so its ``retries`` are the task's."""

    def header(self) -> dict[str, Any]:
        """Return the message header."""
        header: dict[str, Any] = {"run": self.run_id, "seq": self.seq, "attempt": self.attempt}
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


Ticket = ActivityTicket | WorkflowTicket | StartTicket


def ticket_of(request: Any) -> Ticket | None:
    """Return what a task's request says of celeriac, or None when the task was called by somebody else."""
    header = getattr(request, HEADER, None)
    return ticket_in({HEADER: header} if header is not None else getattr(request, "headers", None) or {})


def ticket_in(headers: Mapping[str, Any]) -> Ticket | None:
    """Return what a message's headers say of celeriac, or None."""
    header = headers.get(HEADER)
    if header is None:
        header = (headers.get("headers") or {}).get(HEADER)
    if not isinstance(header, Mapping):
        return None
    if "start" in header:
        return StartTicket(header["start"])
    if "run" not in header:
        return None
    if "seq" in header:
        return ActivityTicket(header["run"], header["seq"], header["attempt"], bool(header.get("own")))
    flags = {name: bool(header.get(name)) for name in ("finish", "named", "later")}
    return WorkflowTicket(header["run"], **flags)
