"""Whole runs: saving, loading, listing, deleting."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, and_, any_, delete, exists, or_, select

from celeriac.errors import StoreError
from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.model import Micros, Run, RunFilter, Task, WorkflowState
from celeriac.stores.sql.access import Access
from celeriac.stores.sql.faults import UniqueViolation
from celeriac.stores.sql.ids import MAX_NAME, check_id, index_form
from celeriac.stores.sql.statements import number, text, texts
from celeriac.stores.sql.transactions import Database, Session
from celeriac.stores.sql.turns import Turns
from celeriac.stores.sql.values import (
    EVENT,
    RUN,
    TASK,
    columns,
    event_of,
    item_of,
    message_values,
    run_of,
    run_values,
    task_of,
)


class Archive:
    """Reading and moving whole runs, for any database."""

    def __init__(self, db: Database, access: Access, turns: Turns) -> None:
        self._db = db
        self._access = access
        self._turns = turns
        tables = db.tables
        runs, tasks, events = tables.runs, tables.tasks, tables.events
        self._tasks = db.statement(
            select(*columns(tasks, TASK)).where(tasks.c.run_id == text("run_id")).order_by(tasks.c.kind, tasks.c.seq)
        )
        self._some_events = db.statement(
            select(*columns(events, EVENT))
            .where(events.c.run_id == text("run_id"), events.c.number > number("after"))
            .order_by(events.c.number)
            .limit(number("limit"))
        )
        named = and_(runs.c.namespace == text("namespace"), runs.c.workflow_index == text("workflow_index"))
        self._all = db.statement(
            access.locked(select(runs.c.run_id, runs.c.open_id).where(named).order_by(runs.c.run_id))
        )
        idle = ~exists().where(tasks.c.run_id == runs.c.run_id)
        old = and_(runs.c.namespace == text("namespace"), runs.c.closed_at < number("before"), idle)
        oldest = select(runs.c.run_id).where(old).order_by(runs.c.closed_at).limit(number("limit"))
        # Who purges never waits for another: neither for a second purge nor for a run that is being deleted by name.
        self._old = db.statement(oldest.with_for_update(of=runs, skip_locked=True) if db.driver.locks_rows else oldest)
        # The run first: its row is what all others lock first.
        whole = (runs, tasks, tables.inbox, events)
        self._clear = [db.statement(delete(table).where(table.c.run_id == text("run_id"))) for table in whole]
        # PostgreSQL takes many ids as one value. MariaDB might read a small table from end to end for them, and wait for others.
        many = any_(texts("run_ids"))
        self._clear_many = (
            [db.statement(delete(table).where(table.c.run_id == many)) for table in whole]
            if db.dialect.name == "postgresql"
            else None
        )

    # -- reading -----------------------------------------------------------------------------------

    def history(self, run_id: str, *, after: int, limit: int | None) -> Sequence[HistoryEvent]:
        """Return a run's events in order."""
        values: dict[str, Any] = {"run_id": run_id, "after": after}
        statement = self._turns.events
        if limit is not None:
            statement, values["limit"] = self._some_events, limit
        return [event_of(row) for row in self._db.single(lambda session: session.rows(statement, values))]

    def tasks(self, run_id: str) -> Sequence[Task]:
        """Return a run's task rows, by kind and number."""
        return self._db.single(lambda session: self._tasks_of(session, run_id))

    def _tasks_of(self, session: Session, run_id: str) -> list[Task]:
        return [task_of(row) for row in session.rows(self._tasks, {"run_id": run_id})]

    def load(self, namespace: str, workflow_id: str) -> WorkflowState | None:
        """Return the latest run with this workflow id, whole, or None."""

        def work(session: Session) -> WorkflowState | None:
            run = self._access.latest(session, namespace, workflow_id)
            if run is None:
                return None
            key = {"run_id": run.run_id}
            events = session.rows(self._turns.events, {**key, "after": 0})
            items = session.rows(self._turns.inbox, key)
            return WorkflowState(
                run,
                [event_of(row) for row in events],
                [item_of(row) for row in items],
                self._tasks_of(session, run.run_id),
            )

        return self._db.snapshot(work)

    def page(self, namespace: str, where: RunFilter) -> Sequence[Run]:
        """Return runs, newest first, a page at a time."""
        values = {"namespace": namespace, "limit": where.limit, **_filter_values(where)}

        def work(session: Session) -> Sequence[Run]:
            if where.cursor is not None:
                last = self._access.run(session, where.cursor)
                if last is None:
                    return []
                values.update(cursor_at=last.created_at, cursor_run=last.run_id)
            statement = self._db.statement(self._listing(where))
            return [run_of(row) for row in session.rows(statement, values)]

        return self._db.snapshot(work)

    def _listing(self, where: RunFilter) -> Any:
        runs = self._db.tables.runs
        query = select(*columns(runs, RUN)).where(runs.c.namespace == text("namespace"), *self._conditions(where))
        return query.order_by(runs.c.created_at.desc(), runs.c.run_id.desc()).limit(number("limit"))

    def _conditions(self, where: RunFilter) -> list[ColumnElement[bool]]:
        runs = self._db.tables.runs
        found: list[ColumnElement[bool]] = []
        if where.statuses:
            wanted = [text(f"status_{place}") for place in range(len(where.statuses))]
            found.append(or_(*(runs.c.status == each for each in wanted)))
        if where.name is not None:
            found.append(runs.c.name == text("name"))
        if where.workflow_id is not None:
            found.append(runs.c.workflow_index == text("workflow_index"))
        if where.parent_run_id is not None:
            found.append(runs.c.parent_run_id == text("parent_run_id"))
        if where.created_after is not None:
            found.append(runs.c.created_at > number("created_after"))
        if where.created_before is not None:
            found.append(runs.c.created_at < number("created_before"))
        if where.cursor is not None:
            same_time = and_(runs.c.created_at == number("cursor_at"), runs.c.run_id < text("cursor_run"))
            found.append(or_(runs.c.created_at < number("cursor_at"), same_time))
        return found

    # -- writing -----------------------------------------------------------------------------------

    def save(self, state: WorkflowState) -> None:
        """Restore a whole run under a new epoch, in place of the run with its run id if there is one."""
        check_id("run id", state.run.run_id, MAX_NAME)
        check_id("namespace", state.run.namespace, MAX_NAME)
        run = replace(state.run, epoch=uuid.uuid4().hex)
        values = run_values(run)
        try:
            self._db.write(lambda session: self._save(session, run, values, state))
        except UniqueViolation:
            raise StoreError(self._in_the_way(run)) from None

    def _save(self, session: Session, run: Run, values: dict[str, Any], state: WorkflowState) -> None:
        access, key = self._access, {"run_id": run.run_id}
        for statement in self._clear:
            session.execute(statement, key)
        session.execute(access.add_run, values)
        access.add_events(session, run.run_id, state.history)
        session.each(
            access.add_item,
            [{**message_values(item.message), **key, "number": item.number, "at": item.at} for item in state.inbox],
        )
        access.add_tasks(session, run.namespace, state.tasks)

    def _in_the_way(self, run: Run) -> str:
        latest = self._db.single(lambda session: self._access.latest(session, run.namespace, run.workflow_id))
        if run.status.open and latest is not None and latest.status.open and latest.run_id != run.run_id:
            return f"workflow id {run.workflow_id!r} belongs to another open run"
        return f"the start key {run.start_key!r} belongs to another run"

    def delete(self, namespace: str, workflow_id: str) -> int:
        """Delete all runs with this workflow id and return how many there were."""
        values = {"namespace": namespace, "workflow_index": index_form(workflow_id)}

        def work(session: Session) -> int:
            found = session.rows(self._all, values)
            if any(open_id is not None for _, open_id in found):
                raise StoreError(f"workflow {workflow_id!r} is open and can't be deleted; cancel or terminate it first")
            for run_id, _ in found:
                for statement in self._clear:
                    session.execute(statement, {"run_id": run_id})
            return len(found)

        return self._db.write(work)

    def purge(self, namespace: str, *, closed_before: Micros, limit: int) -> int:
        """Delete runs that closed earlier than a time, in one transaction, and return how many that were."""
        values = {"namespace": namespace, "before": closed_before, "limit": limit}

        def work(session: Session) -> int:
            found = [run_id for (run_id,) in session.rows(self._old, values)]
            if self._clear_many is None:
                for statement in self._clear:
                    session.each(statement, [{"run_id": run_id} for run_id in found])
            elif found:
                for statement in self._clear_many:
                    session.execute(statement, {"run_ids": found})
            return len(found)

        return self._db.write(work)


def _filter_values(where: RunFilter) -> dict[str, Any]:
    values: dict[str, Any] = {f"status_{place}": each.value for place, each in enumerate(where.statuses)}
    if where.workflow_id is not None:
        values["workflow_index"] = index_form(where.workflow_id)
    names = ("name", "parent_run_id", "created_after", "created_before")
    return values | {name: getattr(where, name) for name in names if getattr(where, name) is not None}
