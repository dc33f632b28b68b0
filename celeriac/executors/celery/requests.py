"""How a worker's main process sees the messages of workflows."""

from __future__ import annotations

from typing import Any

from celery.worker.request import Request

from celeriac.executors.celery.headers import WorkflowTicket, ticket_in


class WorkflowRequest(Request):
    """A message of a workflow. Whether the workflow is canceled stands in the store, not in a worker's list of revoked ids.

    A start that comes from a program without celeriac is an ordinary message until it is recorded: it may be revoked and
    may expire.
    """

    def revoked(self) -> Any:
        """Whether the message is to be thrown away."""
        if isinstance(ticket_in(self.request_dict), WorkflowTicket):
            return False
        return super().revoked()
