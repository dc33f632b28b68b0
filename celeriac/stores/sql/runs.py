"""Starting runs, finding them, pausing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import null, select, update

from celeriac.errors import StoreError
from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.model import (
    Created,
    CreateOutcome,
    Delivery,
    DeliveryOutcome,
    IdReuse,
    Micros,
    NewRun,
    Run,
)
from celeriac.orchestrator.status import TaskKind, WorkflowStatus
from celeriac.payloads import from_text
from celeriac.stores import rows
from celeriac.stores.sql.access import Access
from celeriac.stores.sql.faults import Undo, UniqueViolation
from celeriac.stores.sql.ids import MAX_NAME, check_id, index_form
from celeriac.stores.sql.statements import number, text
from celeriac.stores.sql.transactions import Database, Session
from celeriac.stores.sql.values import RUN, columns, event_values, run_of, run_values, task_values

_RACES: Final = 10
"""How often a start is tried again that lost a race to a run which was gone when looked for."""


class Runs:
    """Starting, finding and pausing runs, for any database."""

    def __init__(self, db: Database, access: Access) -> None:
        self._db = db
        self._access = access
        runs = db.tables.runs
        self._now = db.statement(select(db.now))
        self._by_start = db.statement(
            select(*columns(runs, RUN)).where(
                runs.c.namespace == text("namespace"), runs.c.start_index == text("start_index")
            )
        )
        # Takes the row's lock before anything is read: its status must not change between reading and
        # writing.
        self._lock_open = db.statement(
            update(runs).where(access.this_run, runs.c.open_id.is_not(None)).values(updated_at=runs.c.updated_at)
        )
        changed = update(runs).where(access.this_run).values(status=text("status"), updated_at=number("at"))
        self._set_status = {
            WorkflowStatus.PAUSED: db.statement(changed),
            WorkflowStatus.RUNNING: db.statement(changed.values(blocked=null())),
        }

    def now(self) -> Micros:
        """Return the store's clock."""
        return self._db.single(self.now_in)

    def now_in(self, session: Session) -> Micros:
        """Return the store's clock within a transaction."""
        row = session.row(self._now, {})
        if row is None:
            raise StoreError("the database does not tell the time")
        return int(row[0])

    # -- starting ----------------------------------------------------------------------------------

    def create(self, new: NewRun) -> Created:
        """Write a run, its first event and its turn row, or say why not."""
        _check_ids(new)
        for _ in range(_RACES):
            try:
                return self._create(new)
            except UniqueViolation:
                refused = self._db.snapshot(lambda session: self.refusal(session, new))
                if refused is not None:
                    return refused
                if self._db.single(lambda session: self._access.ref(session, new.run_id)) is not None:
                    break
        raise StoreError(f"there is a run {new.run_id!r} already; a run id is never used twice")

    def create_many(self, many: Sequence[NewRun]) -> Sequence[Created]:
        """Do the same for many runs, in one transaction if nothing is in the way."""
        for new in many:
            _check_ids(new)
        # Whoever writes some of the same ids at the same time waits for them in the same order, so that neither waits for ever.
        together = dict(
            sorted(firsts_of_their_ids(many).items(), key=lambda one: (one[1].namespace, one[1].workflow_id))
        )
        try:
            found = self._create_together(together)
        except UniqueViolation:  # in a race; which of them lost it is found out one by one
            found = {}
        return [found.get(place) or self.create(new) for place, new in enumerate(many)]

    def _create_together(self, many: Mapping[int, NewRun]) -> dict[int, Created]:
        """Write runs of which no two have an id in common, and return what became of them; of some perhaps nothing.

        :raises UniqueViolation: another transaction was faster; nothing is written.
        """
        return self._db.write(lambda session: self._insert(session, many))

    def _create(self, new: NewRun) -> Created:
        return self._db.write(lambda session: self._insert(session, {0: new}))[0]

    def _insert(self, session: Session, many: Mapping[int, NewRun]) -> dict[int, Created]:
        looked = {place: self.refusal(session, new) for place, new in many.items()}
        found = {place: refused for place, refused in looked.items() if refused is not None}
        fresh = {place: new for place, new in many.items() if place not in found}
        access = self._access
        now = self.now_in(session)
        born = {place: rows.born(new, now) for place, new in fresh.items()}
        values = {place: run_values(run) for place, run in born.items()}
        session.each(access.add_run, list(values.values()))
        session.each(
            access.add_event,
            [event_values(new.run_id, HistoryEvent.of(1, now, new.started)) for new in fresh.values()],
        )
        session.each(
            access.add_task,
            [task_values(task, new.namespace) for new in fresh.values() for task in rows.first_tasks(new, now)],
        )
        written = {place: as_written(run, values[place]) for place, run in born.items()}
        return found | {place: Created(CreateOutcome.CREATED, run) for place, run in written.items()}

    def refusal(self, session: Session, new: NewRun) -> Created | None:
        """Say why a run may not be created, as things stand in this transaction."""
        values = {"namespace": new.namespace, "start_index": index_form(new.start_key)}
        row = session.row(self._by_start, values) if new.start_key else None
        if row is not None:
            return Created(CreateOutcome.SAME_START, run_of(row))
        latest = self._access.latest(session, new.namespace, new.workflow_id)
        if latest is None:
            return None
        if latest.status.open:
            return Created(CreateOutcome.OPEN_EXISTS, latest)
        if new.id_reuse is IdReuse.ALLOW:
            return None
        if new.id_reuse is IdReuse.NEVER or latest.status is WorkflowStatus.COMPLETED:
            return Created(CreateOutcome.REUSE_REFUSED, latest)
        return None

    # -- finding and pausing -----------------------------------------------------------------------

    def find(self, namespace: str, workflow_id: str | None, run_id: str | None, start_key: str | None) -> Run | None:
        """Return the run with this run id, the one of this start, or the latest with this workflow id."""
        access = self._access
        if start_key is not None:
            values = {"namespace": namespace, "start_index": index_form(start_key)}
            row = self._db.single(lambda session: session.row(self._by_start, values))
            return None if row is None else run_of(row)
        if run_id is not None:
            run = self._db.single(lambda session: access.run(session, run_id))
            return run if run is not None and run.namespace == namespace else None
        if workflow_id is None:
            return None
        return self._db.single(lambda session: access.latest(session, namespace, workflow_id))

    def set_status(self, run_id: str, status: WorkflowStatus) -> Delivery:
        """Pause, or take up again, an open run."""
        if status not in self._set_status:
            raise ValueError(f"set_status() pauses a run or takes it up again; it can't make it {status}")
        return self._db.write(lambda session: self._change(session, run_id, status))

    def _change(self, session: Session, run_id: str, status: WorkflowStatus) -> Delivery:
        access = self._access
        taken = session.execute(self._lock_open, {"run_id": run_id})
        ref = access.ref(session, run_id)
        if ref is None:
            raise Undo(Delivery(DeliveryOutcome.NOT_FOUND))
        if not taken and not ref.status.open:
            raise Undo(Delivery(DeliveryOutcome.CLOSED, ref))
        now = self.now_in(session)
        session.execute(self._set_status[status], {"run_id": run_id, "status": status.value, "at": now})
        wake = status is WorkflowStatus.RUNNING and ref.status is not WorkflowStatus.RUNNING
        turn = access.task(session, run_id, TaskKind.TURN, 0) if wake else None
        if turn is not None:
            access.put_task(session, rows.queued(turn, now + self._db.redeliver_after))
        return Delivery(DeliveryOutcome.DELIVERED, replace(ref, status=status), wake)


def firsts_of_their_ids(many: Sequence[NewRun]) -> dict[int, NewRun]:
    """Return the starts, each by its place, but those whose run id, workflow id or start key is another's before them."""
    seen: set[tuple[str, str, str]] = set()
    firsts: dict[int, NewRun] = {}
    for place, new in enumerate(many):
        ids = {("run", "", new.run_id), ("workflow", new.namespace, new.workflow_id)}
        if new.start_key:
            ids.add(("start", new.namespace, new.start_key))
        if seen.isdisjoint(ids):
            firsts[place] = new
        seen |= ids
    return firsts


def as_written(run: Run, values: Mapping[str, Any]) -> Run:
    """Return a new run as it would be read back, sharing nothing with the caller's.

    :param values: what was written of it.
    """
    names = ("input", "memo", "attributes", "origin")
    return replace(run, **{name: from_text(values[name]) for name in names if values[name] is not None})


def _check_ids(new: NewRun) -> None:
    check_id("run id", new.run_id, MAX_NAME)
    check_id("namespace", new.namespace, MAX_NAME)
    check_id("workflow id", new.workflow_id)
    check_id("start key", new.start_key)
