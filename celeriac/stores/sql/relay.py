"""What the relay asks for: rows that are due, when the next one is, and who may poll."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, insert, or_, select, update

from celeriac.orchestrator.model import DueTask, Micros, Task
from celeriac.orchestrator.status import TaskKind, WorkflowStatus
from celeriac.payloads import from_text
from celeriac.stores.sql.access import Access
from celeriac.stores.sql.faults import UniqueViolation
from celeriac.stores.sql.ids import index_form
from celeriac.stores.sql.statements import ONE, number, text, word
from celeriac.stores.sql.transactions import Database, Session
from celeriac.stores.sql.values import REF, TASK, columns, ref_of, task_of


class Relay:
    """The relay's reading and taking, for any database."""

    def __init__(self, db: Database, access: Access) -> None:
        self._db = db
        self._access = access
        runs, tasks, leases = db.tables.runs, db.tables.tasks, db.tables.leases
        waiting = (
            select(tasks.c.due_at)
            .join(runs, runs.c.run_id == tasks.c.run_id)
            .where(tasks.c.namespace == text("namespace"), tasks.c.due_at.is_not(None), self._served())
            .order_by(tasks.c.due_at)
            .limit(ONE)
        )
        self._next = db.statement(waiting)
        self._any_due = db.statement(waiting.where(tasks.c.due_at <= db.now))
        self._take = db.statement(self._taking())
        self._hold = db.statement(update(tasks).where(access.this_task).values(due_at=number("until")))
        self._postpone = db.statement(
            update(tasks)
            .where(
                access.this_task,
                tasks.c.state == text("state"),
                tasks.c.attempt == number("attempt"),
                func.coalesce(tasks.c.token, "") == text("token"),
            )
            .values(due_at=db.now + number("delay"), published=number("published"))
        )
        free = or_(leases.c.holder == text("holder"), leases.c.until_at <= db.now)
        until = db.now + number("lease")
        self._extend = db.statement(
            update(leases).where(leases.c.name == text("name"), free).values(holder=text("holder"), until_at=until)
        )
        self._add_lease = db.statement(insert(leases).values(name=text("name"), holder=text("holder"), until_at=until))

    def _served(self) -> ColumnElement[bool]:
        """A row's run is open and not paused, or the row is of a kind that this does not stop."""
        runs, tasks = self._db.tables.runs, self._db.tables.tasks
        running = and_(runs.c.open_id.is_not(None), runs.c.status != word(WorkflowStatus.PAUSED))
        timeout = and_(runs.c.open_id.is_not(None), tasks.c.kind == word(TaskKind.TIMEOUT))
        finish = and_(runs.c.open_id.is_(None), tasks.c.kind == word(TaskKind.FINISH))
        return or_(running, timeout, finish)

    def _taking(self) -> Select[Any]:
        runs, tasks = self._db.tables.runs, self._db.tables.tasks
        query = (
            select(*columns(tasks, TASK), *columns(runs, REF), runs.c.origin, self._db.now)
            .join(runs, runs.c.run_id == tasks.c.run_id)
            .where(tasks.c.namespace == text("namespace"), tasks.c.due_at <= self._db.now, self._served())
            .order_by(tasks.c.due_at)
            .limit(number("limit"))
        )
        if not self._db.driver.locks_rows:
            return query
        return query.with_for_update(of=tasks, skip_locked=True)

    def take_due(self, namespace: str, *, limit: int, hold: Micros) -> Sequence[DueTask]:
        """Take the rows that are due; nothing due costs one query and no transaction."""
        if self._db.single(lambda session: session.row(self._any_due, {"namespace": namespace})) is None:
            return []
        return self._db.write(lambda session: self._take_due(session, namespace, limit, hold))

    def _take_due(self, session: Session, namespace: str, limit: int, hold: Micros) -> Sequence[DueTask]:
        found = session.rows(self._take, {"namespace": namespace, "limit": limit})
        session.each(
            self._hold,
            [{"run_id": row[0], "kind": row[1], "seq": row[2], "until": row[-1] + hold} for row in found],
        )
        return [due_task(row) for row in found]

    def next_due(self, namespace: str) -> Micros | None:
        """Return the earliest ``due_at`` of the rows that a relay may take, or None."""
        row = self._db.single(lambda session: session.row(self._next, {"namespace": namespace}))
        return None if row is None else row[0]

    def postpone(self, task: Task, *, delay: Micros, published: int) -> None:
        """Move a row's ``due_at`` unless it has been claimed or has moved on."""
        values = {
            "run_id": task.run_id,
            "kind": task.kind.value,
            "seq": task.seq,
            "state": task.state.value,
            "attempt": task.attempt,
            "token": task.token or "",
            "delay": delay,
            "published": published,
        }
        self._db.change(self._postpone, values)

    def remove(self, run_id: str, kind: TaskKind, seq: int) -> bool:
        """Delete a row, whoever has claimed it."""
        key = {"run_id": run_id, "kind": kind.value, "seq": seq}
        return self._db.change(self._access.remove_task, key) > 0

    def hold_lease(self, name: str, holder: str, *, lease: Micros) -> bool:
        """Take or renew a named lease; False while another holder has it."""
        values = {"name": index_form(name), "holder": holder, "lease": lease}
        if self._db.change(self._extend, values):
            return True
        try:
            self._db.change(self._add_lease, values)
        except UniqueViolation:
            return False
        return True


def due_task(row: Sequence[Any]) -> DueTask:
    """Read a row of a task's columns, its run's, the run's origin and the time."""
    size = len(TASK)
    origin = row[-2]
    return DueTask(task_of(row), ref_of(row[size:]), row[-1], None if origin is None else from_text(origin))
