"""What ``delay`` returns: Celery's own result, and the workflow's handle."""

from __future__ import annotations

from typing import Any

from celery.result import AsyncResult

from celeriac.executors.celery.runtime import runtime_of
from celeriac.orchestrator.executor import WorkflowHandle
from celeriac.orchestrator.signals import SignalType


class WorkflowResult(AsyncResult):
    """Celery's ``AsyncResult`` of a workflow's task, with what only workflows have.

    ``get()`` waits through Celery's result backend; ``handle.result()`` through the store.
    """

    workflow_id: str = ""
    run_id: str = ""

    def bind(self, workflow_id: str, run_id: str) -> None:
        """Say which run this is."""
        self.workflow_id = workflow_id
        self.run_id = run_id

    @property
    def handle(self) -> WorkflowHandle[Any]:
        """The handle of the run."""
        client = runtime_of(self.app).client
        if not self.run_id:
            return client.handle(self.id)
        return WorkflowHandle(client, self.workflow_id, self.run_id)

    def signal(self, signal: SignalType[Any] | str, payload: Any = None, *, key: str | None = None) -> None:
        """Send a signal; it can't be lost once this returns."""
        self.handle.signal(signal, payload, key=key)

    def query(self, query_type: str, *args: Any) -> Any:
        """Answer a question about the run."""
        return self.handle.query(query_type, *args)

    def cancel(self, reason: str = "") -> None:
        """Ask the run to stop."""
        self.handle.cancel(reason)
