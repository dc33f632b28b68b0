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
    """A message with a workflow's own task id: its start, or its last one, which Celery traces as the task's end."""

    run_id: str
    finish: bool = False

    def header(self) -> dict[str, Any]:
        """Return the message header."""
        return {"run": self.run_id, "finish": True} if self.finish else {"run": self.run_id}


def ticket_of(request: Any) -> ActivityTicket | WorkflowTicket | None:
    """Return what a task's request says of celeriac, or None when the task was called by somebody else."""
    header = getattr(request, HEADER, None)
    if header is None:
        header = (getattr(request, "headers", None) or {}).get(HEADER)
    if not isinstance(header, Mapping) or "run" not in header:
        return None
    if "seq" in header:
        return ActivityTicket(header["run"], header["seq"], header["attempt"], bool(header.get("own")))
    return WorkflowTicket(header["run"], bool(header.get("finish")))
