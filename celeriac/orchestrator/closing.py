"""Closing a run without running its code."""

from __future__ import annotations

from typing import Final

from celeriac.errors import StaleWrite
from celeriac.orchestrator.events import Event, HistoryEvent
from celeriac.orchestrator.model import Commit, CommitOutcome, Micros, Run
from celeriac.orchestrator.ports import Store
from celeriac.orchestrator.status import WorkflowStatus
from celeriac.orchestrator.turn import finish_task
from celeriac.payloads import Json

MAX_TRIES: Final = 50


def close_at_once(
    store: Store,
    namespace: str,
    run_id: str,
    *,
    status: WorkflowStatus,
    event: Event,
    failure: dict[str, Json],
    republish_after: Micros,
) -> Run | None:
    """Close a run over whatever it has not seen.

    :param event: the last of its history.
    :param republish_after: how long its last message may take before it is published again.
    :returns: the run as it was before, or None when there is none or it had closed already.
    :raises StaleWrite: it was too busy: others were always faster.
    """
    for _ in range(MAX_TRIES):
        run = store.find_run(namespace, run_id=run_id)
        if run is None or not run.status.open:
            return None
        last = store.history(run_id, after=run.version - 1, limit=1)
        # A worker that misjudges how long its activity took may have dated what it recorded a little ahead.
        at = max(store.now(), run.updated_at, *(each.at for each in last))
        commit = Commit(
            run_id=run_id,
            epoch=run.epoch,
            version=run.version,
            inbox_seq=run.inbox_seq,
            status=status,
            events=[HistoryEvent.of(run.version + 1, at, event)],
            tasks=[finish_task(run, at, republish_after)] if run.origin else [],
            failure=failure,
        )
        if store.commit(commit) is CommitOutcome.COMMITTED:
            return run
    raise StaleWrite(f"run {run_id!r} was too busy to be ended; try again")
