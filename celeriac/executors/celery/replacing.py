"""``self.replace(...)`` inside an activity: the replacement's outcome becomes the activity's."""

from __future__ import annotations

from typing import Any

from celeriac.executors.celery.outcomes import OUTCOME_TASK, OutcomeTicket
from celeriac.executors.celery.runtime import CeleryRuntime
from celeriac.executors.celery.wrapping import REPLACED, REPLACING
from celeriac.orchestrator.model import Claim


class Replacement:
    """Links that report the outcome, put on the request when the body is replaced: ``replace`` hands them on to its successor."""

    def __init__(self, runtime: CeleryRuntime, request: Any, claim: Claim) -> None:
        self._runtime = runtime
        self._request = request
        self._claim = claim
        self._before: tuple[Any, Any] | None = None
        setattr(request, REPLACING, self.link)

    def link(self) -> None:
        """Put the links on."""
        request, ticket = self._request, OutcomeTicket.of(self._claim)
        outcome = self._runtime.app.tasks[OUTCOME_TASK]
        destination = self._runtime.dispatcher.destination(self._claim.run)
        self._before = (request.callbacks, request.errbacks)
        request.callbacks = [*(request.callbacks or ()), ticket.signature(outcome).set(**destination)]
        request.errbacks = [*(request.errbacks or ()), ticket.signature(outcome, failed=True).set(**destination)]

    def took_place(self) -> bool:
        """Say whether the body ended because it was replaced; then the claim is the replacement's until its time is up."""
        if not getattr(self._request, REPLACED, False):
            return False
        claim = self._claim
        until = claim.task.start_to_close_by or claim.now
        self._runtime.store.renew([claim.fence], lease=max(until - claim.now, 1))
        return True

    def undo(self) -> None:
        """Take the links off again: the outcome of this very task is recorded where it ends."""
        setattr(self._request, REPLACING, None)
        if self._before is not None:
            self._request.callbacks, self._request.errbacks = self._before
            self._before = None
