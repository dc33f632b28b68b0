"""Putting messages into the inboxes of runs."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import and_, delete, func, select, update

from celeriac.errors import StoreUnavailable
from celeriac.orchestrator.model import Delivery, DeliveryOutcome, Fence, Message, RunRef
from celeriac.orchestrator.status import TaskKind
from celeriac.stores import rows
from celeriac.stores.sql.access import Access
from celeriac.stores.sql.faults import Undo, UniqueViolation
from celeriac.stores.sql.ids import index_form
from celeriac.stores.sql.statements import ONE, text
from celeriac.stores.sql.transactions import Database, Session
from celeriac.stores.sql.values import REF, columns, message_values, ref_of

_RACES: Final = 10
"""How often a delivery follows a workflow id to runs that close under its hands."""


class Deliveries:
    """Delivering and settling, for any database: the run's row is locked first, by the update that counts the
    message.
    """

    def __init__(self, db: Database, access: Access) -> None:
        self._db = db
        self._access = access
        runs, tasks = db.tables.runs, db.tables.tasks
        named = and_(runs.c.namespace == text("namespace"), runs.c.workflow_index == text("workflow_index"))
        self._resolve = db.statement(
            select(*columns(runs, REF))
            .where(named)
            .order_by(runs.c.open_id.is_(None), runs.c.created_at.desc(), runs.c.run_id.desc())
            .limit(ONE)
        )
        self._count = db.statement(
            update(runs).where(access.this_run, runs.c.open_id.is_not(None)).values(inbox_seq=runs.c.inbox_seq + 1)
        )
        self._uncount = db.statement(update(runs).where(access.this_run).values(inbox_seq=runs.c.inbox_seq - 1))
        self._counted = db.statement(select(*columns(runs, REF), runs.c.inbox_seq, db.now).where(access.this_run))
        self._take = db.statement(
            delete(tasks).where(access.this_task, func.coalesce(tasks.c.token, "") == text("token"))
        )

    def deliver(self, message: Message, *, namespace: str, workflow_id: str | None, run_id: str | None) -> Delivery:
        """Put a message into the inbox of an open run."""
        values = message_values(message)
        for _ in range(_RACES):
            ref = self._find(namespace, workflow_id, run_id)
            if ref is None:
                return Delivery(DeliveryOutcome.NOT_FOUND)
            try:
                delivery = self._deliver(ref, values)
            except UniqueViolation:  # by somebody who did not take the run's lock, such as a restore
                return Delivery(DeliveryOutcome.DUPLICATE, ref)
            # A run that has closed meanwhile, and may have been purged, may have a successor with its workflow id.
            over = delivery.outcome in (DeliveryOutcome.CLOSED, DeliveryOutcome.NOT_FOUND)
            if not over or run_id is not None or not ref.status.open:
                return delivery
        raise StoreUnavailable(f"the runs of workflow {workflow_id!r} close faster than a message can be delivered")

    def _find(self, namespace: str, workflow_id: str | None, run_id: str | None) -> RunRef | None:
        if run_id is not None:
            ref = self._db.single(lambda session: self._access.ref(session, run_id))
            return ref if ref is not None and ref.namespace == namespace else None
        if workflow_id is None:
            return None
        values = {"namespace": namespace, "workflow_index": index_form(workflow_id)}
        row = self._db.single(lambda session: session.row(self._resolve, values))
        return None if row is None else ref_of(row)

    def _deliver(self, ref: RunRef, values: dict[str, Any]) -> Delivery:
        return self._db.write(lambda session: self._receive(session, ref, values))

    def settle(self, fence: Fence, message: Message) -> Delivery:
        """Deliver the outcome of a task row and delete the row."""
        values = message_values(message)
        return self._db.write(lambda session: self._settle(session, fence, values))

    def _settle(self, session: Session, fence: Fence, values: dict[str, Any]) -> Delivery:
        taken = session.execute(self._count, {"run_id": fence.run_id})
        row = {"run_id": fence.run_id, "kind": fence.kind.value, "seq": fence.seq, "token": fence.token}
        if not taken or not session.execute(self._take, row):
            raise Undo(Delivery(DeliveryOutcome.REFUSED, self._access.ref(session, fence.run_id)))
        return self._insert(session, fence.run_id, values, settled=True)

    def _receive(self, session: Session, ref: RunRef, values: dict[str, Any]) -> Delivery:
        if session.execute(self._count, {"run_id": ref.run_id}):
            return self._insert(session, ref.run_id, values, settled=False)
        now = self._access.ref(session, ref.run_id)
        if now is None:
            raise Undo(Delivery(DeliveryOutcome.NOT_FOUND))
        seen = self._access.seen(session, ref.run_id, values["key_index"])
        raise Undo(Delivery(DeliveryOutcome.DUPLICATE if seen else DeliveryOutcome.CLOSED, now))

    def _insert(self, session: Session, run_id: str, values: dict[str, Any], *, settled: bool) -> Delivery:
        """Go on with the run's row locked and counted up."""
        access = self._access
        counted = session.row(self._counted, {"run_id": run_id})
        if counted is None:
            raise Undo(Delivery(DeliveryOutcome.NOT_FOUND))
        ref, number, now = ref_of(counted), counted[-2], counted[-1]
        if access.seen(session, run_id, values["key_index"]):
            duplicate = Delivery(DeliveryOutcome.DUPLICATE, ref)
            if not settled:
                raise Undo(duplicate)
            session.execute(self._uncount, {"run_id": run_id})
            return duplicate  # the task row goes all the same: its outcome is there
        session.execute(access.add_item, {**values, "run_id": run_id, "number": number, "at": now})
        turn = access.task(session, run_id, TaskKind.TURN, 0)
        if turn is None:
            return Delivery(DeliveryOutcome.DELIVERED, ref)
        woken, wake = rows.turn_woken(turn, ref.status, now + self._db.redeliver_after)
        if woken is not turn:
            access.put_task(session, woken)
        return Delivery(DeliveryOutcome.DELIVERED, ref, wake)
