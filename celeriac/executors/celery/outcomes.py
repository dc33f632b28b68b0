"""Outcomes that another task brings: a replacement, or one that is run by a worker without celeriac."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

from celery import Celery
from celery.result import AsyncResult

from celeriac.errors import InvalidCall
from celeriac.orchestrator.client import run_ref
from celeriac.orchestrator.model import Claim, Fence
from celeriac.orchestrator.ports import Store
from celeriac.orchestrator.status import TaskKind

OUTCOME_TASK: Final = "celeriac.outcome"


@dataclass(frozen=True, slots=True)
class OutcomeTicket:
    """Names the claim whose outcome another task is to bring."""

    run_id: str
    seq: int
    token: str

    @classmethod
    def of(cls, claim: Claim) -> Self:
        """Return the ticket of a claim."""
        return cls(claim.fence.run_id, claim.fence.seq, claim.fence.token)

    @classmethod
    def read(cls, written: Any) -> Self:
        """Return the ticket that a message brings.

        :raises InvalidCall: it is none.
        """
        match written:
            case [str(run_id), int(seq), str(token)] if token:
                return cls(run_id, seq, token)
        raise InvalidCall("an outcome's message names a run, a command's number and a claim's token; this one does not")

    def signature(self, outcome: Any, *, failed: bool = False) -> Any:
        """Return the signature to link to the task that brings the outcome."""
        more = {"failed": True} if failed else {}
        return outcome.s(ticket=[self.run_id, self.seq, self.token], **more)

    def claim(self, store: Store, namespace: str) -> Claim | None:
        """Return the claim, or None when it is gone."""
        run = store.find_run(namespace, run_id=self.run_id)
        if run is None or not run.status.open:
            return None
        for task in store.tasks(self.run_id):
            if (task.kind, task.seq, task.token) == (TaskKind.ACTIVITY, self.seq, self.token):
                return Claim(task, run_ref(run), store.now())
        return None

    @property
    def fence(self) -> Fence:
        """Return the fence of the claim."""
        return Fence(self.run_id, TaskKind.ACTIVITY, self.seq, self.token)


def stored_error(app: Celery, task_id: str) -> BaseException | None:
    """Return the exception that a failed task has left in the result backend, if it has."""
    try:
        found = AsyncResult(task_id, app=app).result
    except Exception:  # noqa: BLE001 - backends fail in many ways, and one may be absent
        return None
    return found if isinstance(found, BaseException) else None
