"""``self.replace(...)`` inside an activity: the replacement's outcome becomes the activity's."""

from __future__ import annotations

from typing import Any, Final

from celery import Celery
from celery.exceptions import Ignore

from celeriac.orchestrator.model import Claim

OUTCOME_TASK: Final = "celeriac.outcome"


class Replacement:
    """Links that report the outcome, put on the request while the body runs: ``replace`` hands them on to its successor."""

    def __init__(self, app: Celery, request: Any, claim: Claim) -> None:
        self._request = request
        fence = claim.fence
        ticket = [fence.run_id, fence.seq, fence.token, claim.task.attempt]
        outcome = app.tasks[OUTCOME_TASK]
        self._link = outcome.s(ticket=ticket)
        self._errlink = outcome.s(ticket=ticket, failed=True)
        self._before = (request.callbacks, request.errbacks)
        request.callbacks = [*(request.callbacks or ()), self._link]
        request.errbacks = [*(request.errbacks or ()), self._errlink]

    def took_place(self, ignore: Ignore) -> bool:
        """Say whether the body ended because it was replaced."""
        return "Replaced by new task" in str(ignore)

    def undo(self) -> None:
        """Take the links off again: the outcome of this very task is recorded where it ends."""
        self._request.callbacks, self._request.errbacks = self._before
