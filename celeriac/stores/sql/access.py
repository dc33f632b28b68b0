"""Reading and writing single rows within a transaction: what several parts of the store need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Select, and_, delete, insert, select, union_all, update

from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.model import Run, RunRef, Task
from celeriac.orchestrator.status import TaskKind
from celeriac.stores.sql.ids import index_form
from celeriac.stores.sql.statements import ONE, number, text
from celeriac.stores.sql.transactions import Database, Session
from celeriac.stores.sql.values import (
    REF,
    RUN,
    TASK,
    columns,
    event_values,
    ref_of,
    run_of,
    task_of,
    task_values,
)

# Of a task row, what a transition may change.
_CHANGING: Final = (
    "state",
    "due_at",
    "attempt",
    "inner_retries",
    "token",
    "worker",
    "published",
    "started_at",
    "lease_until",
    "heartbeat_by",
    "start_to_close_by",
    "schedule_to_start_by",
    "schedule_to_close_by",
    "cancel_requested",
    "details",
    "failure",
)


class Access:
    """Statements on one row, by key. Locks are taken in the order runs, tasks, inbox, events."""

    def __init__(self, db: Database) -> None:
        self.db = db
        tables = db.tables
        runs, tasks, events, inbox = tables.runs, tables.tasks, tables.events, tables.inbox
        self.this_run = runs.c.run_id == text("run_id")
        self.this_task = and_(
            tasks.c.run_id == text("run_id"), tasks.c.kind == text("kind"), tasks.c.seq == number("seq")
        )
        one_run = select(*columns(runs, RUN)).where(self.this_run)
        self.run_by_id = db.statement(one_run)
        self.ref_by_id = db.statement(select(*columns(runs, REF)).where(self.this_run))
        named = and_(runs.c.namespace == text("namespace"), runs.c.workflow_index == text("workflow_index"))
        # The open one first, else the one created last.
        self.run_by_name = db.statement(
            select(*columns(runs, RUN))
            .where(named)
            .order_by(runs.c.open_id.is_(None), runs.c.created_at.desc(), runs.c.run_id.desc())
            .limit(ONE)
        )
        self.add_run = db.statement(insert(runs), runs.c.keys())
        self.add_event = db.statement(insert(events), events.c.keys())
        self.add_task = db.statement(insert(tasks), tasks.c.keys())
        self.add_item = db.statement(insert(inbox), inbox.c.keys())
        self._task = db.statement(self.locked(select(*columns(tasks, TASK)).where(self.this_task)))
        self._look = db.statement(select(*columns(tasks, TASK)).where(self.this_task))
        self._put_task = db.statement(update(tasks).where(self.this_task).values(_assigned(_CHANGING)))
        self.remove_task = db.statement(delete(tasks).where(self.this_task))
        self._seen = db.statement(
            union_all(
                *(
                    select(table.c.number)
                    .where(table.c.run_id == text("run_id"), table.c.key_index == text("key_index"))
                    .limit(ONE)
                    .subquery()
                    .select()
                    for table in (inbox, events)
                )
            )
        )

    def locked(self, query: Select[Any]) -> Select[Any]:
        """Have a query lock the rows that it reads, where the database has row locks."""
        return query.with_for_update() if self.db.driver.locks_rows else query

    def run(self, session: Session, run_id: str) -> Run | None:
        """Return a run, unlocked."""
        row = session.row(self.run_by_id, {"run_id": run_id})
        return None if row is None else run_of(row)

    def ref(self, session: Session, run_id: str) -> RunRef | None:
        """Return what publishing needs of a run, unlocked."""
        row = session.row(self.ref_by_id, {"run_id": run_id})
        return None if row is None else ref_of(row)

    def latest(self, session: Session, namespace: str, workflow_id: str) -> Run | None:
        """Return the open run with this workflow id, else the one created last."""
        values = {"namespace": namespace, "workflow_index": index_form(workflow_id)}
        row = session.row(self.run_by_name, values)
        return None if row is None else run_of(row)

    def task(self, session: Session, run_id: str, kind: TaskKind, seq: int) -> Task | None:
        """Return a task row, locked until the transaction ends."""
        row = session.row(self._task, {"run_id": run_id, "kind": kind.value, "seq": seq})
        return None if row is None else task_of(row)

    def look(self, session: Session, run_id: str, kind: TaskKind, seq: int) -> Task | None:
        """Return a task row, unlocked."""
        row = session.row(self._look, {"run_id": run_id, "kind": kind.value, "seq": seq})
        return None if row is None else task_of(row)

    def put_task(self, session: Session, task: Task) -> None:
        """Write what may change of a row that :meth:`task` has locked."""
        values = task_values(task, task.namespace)
        session.execute(self._put_task, values)

    def add_tasks(self, session: Session, namespace: str, tasks: Iterable[Task]) -> None:
        """Insert task rows."""
        session.each(self.add_task, [task_values(task, namespace) for task in tasks])

    def add_events(self, session: Session, run_id: str, events: Sequence[HistoryEvent]) -> None:
        """Insert events."""
        session.each(self.add_event, [event_values(run_id, event) for event in events])

    def seen(self, session: Session, run_id: str, key_index: str) -> bool:
        """Say whether a message with this key has arrived before; true for ever only under the run's lock."""
        return session.row(self._seen, {"run_id": run_id, "key_index": key_index}) is not None


def _assigned(names: Iterable[str]) -> dict[str, Any]:
    return {name: (text if name in _TEXTS else number)(name) for name in names}


_TEXTS: Final = frozenset({"state", "token", "worker", "details", "failure"})
