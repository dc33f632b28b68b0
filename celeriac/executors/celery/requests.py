"""How a worker's main process sees the messages of workflows."""

from __future__ import annotations

import logging
from typing import Any, Final

from billiard.einfo import ExceptionWithTraceback
from celery.exceptions import TimeLimitExceeded, WorkerLostError
from celery.worker.request import Request
from celery.worker.state import task_ready

from celeriac.executors.celery.headers import WorkflowTicket, ticket_in

_LOG: Final = logging.getLogger("celeriac.worker")


class WorkflowRequest(Request):
    """A message of a workflow. Whether the workflow is canceled stands in the store, not in a worker's list of revoked ids.

    Nor has the workflow failed where the process that is at its message is ended. The run goes on: the lease of its turn, or its
    finish row, brings back what the message asked for.

    A start that comes from a program without celeriac is an ordinary message until it is recorded: it may be revoked and
    may expire. It comes again where its process is ended, for nobody knows whether it has been recorded.
    """

    def revoked(self) -> Any:
        """Whether the message is to be thrown away."""
        return False if self._is_recorded else super().revoked()

    def on_timeout(self, soft: Any, timeout: Any) -> None:
        """Note that a time limit has struck; the hard one ends the process, and not the workflow's task."""
        if soft or not self._comes_again:
            super().on_timeout(soft, timeout)
        else:
            self._leave_to_the_store(f"Hard time limit ({timeout}s) exceeded")

    def on_failure(
        self,
        exc_info: Any,
        send_failed_event: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        return_ok: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        """Note what the process has told of a failure, or what has become of the process."""
        error = exc_info.exception
        if isinstance(error, ExceptionWithTraceback):
            error = error.exc
        if not return_ok and isinstance(error, TimeLimitExceeded) and self._comes_again:
            return  # on_timeout is next
        if isinstance(error, (WorkerLostError, SystemExit)) and self._is_recorded and not self._is_put_back:
            self._leave_to_the_store(f"Process lost ({error})")
            return
        super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)

    def _announce_revoked(self, reason: Any, terminated: Any, signum: Any, expired: Any) -> None:
        """Have a process that was told to end be no end of the workflow's task; by its id it would have been canceled."""
        if self._is_recorded:
            self._already_revoked = True
            self._leave_to_the_store(f"Process {reason}")
        else:
            super()._announce_revoked(reason, terminated, signum, expired)

    @property
    def _is_recorded(self) -> bool:
        """Whether what the message asks for stands in the store."""
        return isinstance(ticket_in(self.request_dict), WorkflowTicket)

    @property
    def _comes_again(self) -> bool:
        return self._is_recorded or not self.acknowledged

    @property
    def _is_put_back(self) -> bool:
        """Whether Celery puts the message back where its process is lost, which is sooner than the store brings it again."""
        return bool(self.task.acks_late and self.task.reject_on_worker_lost)

    def _leave_to_the_store(self, what: str) -> None:
        """Be done with a message whose process is ended, without a failure.

        :param what: has struck.
        """
        task_ready(self)
        if self._is_recorded:
            _LOG.error("%s for %s[%s]; the run goes on, what was under way is done again", what, self.name, self.id)
            self.acknowledge()
        else:
            _LOG.error("%s for %s[%s]; the start is put back, so that it is not lost", what, self.name, self.id)
            self.reject(requeue=True)
