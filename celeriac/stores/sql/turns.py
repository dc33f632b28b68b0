"""Turns: claiming one, reading what it needs, giving it back."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import case, exists, func, select, update

from celeriac.orchestrator.model import Micros, Run, TurnView
from celeriac.orchestrator.status import TaskKind, TaskState, WorkflowStatus
from celeriac.payloads import Json
from celeriac.stores import rows
from celeriac.stores.sql.access import Access
from celeriac.stores.sql.faults import Undo
from celeriac.stores.sql.statements import number, text, word
from celeriac.stores.sql.transactions import Database, Session
from celeriac.stores.sql.values import EVENT, ITEM, REF, RUN, columns, event_of, item_of, ref_of, run_of, text_of


class Turns:
    """Turns for any database."""

    def __init__(self, db: Database, access: Access) -> None:
        self._db = db
        self._access = access
        self._prepare_reading()
        self._prepare_giving_back()

    def _prepare_reading(self) -> None:
        db, tables = self._db, self._db.tables
        runs, events, inbox, tasks = tables.runs, tables.events, tables.inbox, tables.tasks
        claims = select(tasks.c.attempt).where(
            tasks.c.run_id == runs.c.run_id, tasks.c.kind == word(TaskKind.TURN), tasks.c.seq == 0
        )
        this = self._access.this_run
        self._view = db.statement(
            select(*columns(runs, RUN), db.now, func.coalesce(claims.scalar_subquery(), 0)).where(this)
        )
        self.events = db.statement(
            select(*columns(events, EVENT))
            .where(events.c.run_id == text("run_id"), events.c.number > number("after"))
            .order_by(events.c.number)
        )
        self.inbox = db.statement(
            select(*columns(inbox, ITEM)).where(inbox.c.run_id == text("run_id")).order_by(inbox.c.number)
        )
        self._status = db.statement(select(*columns(runs, REF), db.now).where(this))

    def _prepare_giving_back(self) -> None:
        db, runs, tasks = self._db, self._db.tables.runs, self._db.tables.tasks
        declined = number("declined") == 1
        # A paused run stays so; one whose turn was declined goes on waiting for a worker that has its code.
        self._block = db.statement(
            update(runs)
            .where(self._access.this_run, runs.c.open_id.is_not(None), runs.c.status != word(WorkflowStatus.PAUSED))
            .values(
                blocked=text("blocked"),
                status=case((declined, runs.c.status), else_=word(WorkflowStatus.BLOCKED)),
                updated_at=case((declined, runs.c.updated_at), else_=db.now),
            )
        )
        # From the task rows to the runs: closed runs, of which there are many more, have no turn row.
        blocked = exists().where(
            runs.c.run_id == tasks.c.run_id,
            runs.c.status == word(WorkflowStatus.BLOCKED),
            func.coalesce(runs.c.blocked, "").not_like(text("killed")),
        )
        self._wake_blocked = db.statement(
            update(tasks)
            .where(
                tasks.c.namespace == text("namespace"),
                tasks.c.due_at.is_not(None),
                tasks.c.kind == word(TaskKind.TURN),
                tasks.c.state == word(TaskState.QUEUED),
                blocked,
            )
            .values(due_at=db.now)
        )

    # -- claiming and reading ----------------------------------------------------------------------

    def begin(self, run_id: str, *, token: str, lease: Micros, known: tuple[str, int] | None) -> TurnView | None:
        """Claim the run's turn, then read: the snapshot is younger than the claim."""
        if not self._db.write(lambda session: self._claim(session, run_id, token, lease)):
            return None
        return self.read(run_id, known=known)

    def _claim(self, session: Session, run_id: str, token: str, lease: Micros) -> bool:
        found = session.row(self._status, {"run_id": run_id})
        if found is None:
            raise Undo(result=False)
        status, now = ref_of(found).status, found[-1]
        if not status.open or status is WorkflowStatus.PAUSED:
            raise Undo(result=False)
        turn = self._access.task(session, run_id, TaskKind.TURN, 0)
        claimed = rows.turn_claimed(turn, now, token, lease) if turn is not None else None
        if claimed is None:
            raise Undo(result=False)
        self._access.put_task(session, claimed)
        return True

    def read(self, run_id: str, *, known: tuple[str, int] | None) -> TurnView | None:
        """Read what a turn needs, from one snapshot."""
        return self._db.snapshot(lambda session: self._read(session, run_id, known))

    def _read(self, session: Session, run_id: str, known: tuple[str, int] | None) -> TurnView | None:
        row = session.row(self._view, {"run_id": run_id})
        if row is None:
            return None
        run = run_of(row)
        after = seen_up_to(run, known)
        events = session.rows(self.events, {"run_id": run_id, "after": after}) if after < run.version else []
        items = session.rows(self.inbox, {"run_id": run_id})
        return TurnView(
            run,
            [event_of(each) for each in events],
            [item_of(each) for each in items],
            row[-2],
            after == 0,
            row[-1],
        )

    # -- giving back -------------------------------------------------------------------------------

    def release(
        self, run_id: str, *, token: str, delay: Micros, blocked: Mapping[str, Json] | None, declined: bool
    ) -> bool:
        """Give a claimed turn back, due again after ``delay``."""
        values = {"run_id": run_id, "blocked": text_of(blocked), "declined": int(declined)}

        def work(session: Session) -> bool:
            if blocked is not None:
                # Before the turn row, as everywhere: first the run's lock, then its tasks'.
                session.execute(self._block, values)
            found = session.row(self._status, {"run_id": run_id})
            turn = self._access.task(session, run_id, TaskKind.TURN, 0)
            if found is None or turn is None or turn.token != token:
                raise Undo(result=False)
            due_at = found[-1] + delay
            released = rows.turn_released(turn, due_at, blocked=blocked is not None, declined=declined)
            self._access.put_task(session, released)
            return True

        return self._db.write(work)

    def wake_blocked(self, namespace: str) -> int:
        """Make the turns of blocked runs due now, but of those that kill their workers."""
        return self._db.change(self._wake_blocked, {"namespace": namespace, "killed": '%"killed":%'})


def seen_up_to(run: Run, known: tuple[str, int] | None) -> int:
    """Return the number of the last event that a reader need not be given."""
    return known[1] if known and known[0] == run.epoch and known[1] <= run.version else 0
