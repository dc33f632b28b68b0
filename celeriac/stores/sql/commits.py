"""Commits: all that a turn decided, gated by the row count of one conditional UPDATE of the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import case, delete, func, null, or_, select, update

from celeriac.orchestrator.model import Commit, CommitOutcome, Micros
from celeriac.orchestrator.status import TaskKind, TaskState, WorkflowStatus
from celeriac.payloads import to_text
from celeriac.stores import rows
from celeriac.stores.sql.access import Access
from celeriac.stores.sql.faults import CommitUnknown, Undo, UniqueViolation
from celeriac.stores.sql.statements import chunks, number, text, word
from celeriac.stores.sql.transactions import Database, Session
from celeriac.stores.sql.values import EVENT, columns, event_of, text_of

_TURN: Final = {"kind": TaskKind.TURN.value, "seq": 0}


class Commits:
    """Commits for any database."""

    def __init__(self, db: Database, access: Access) -> None:
        self._db = db
        self._access = access
        events = db.tables.events
        self._event = db.statement(
            select(*columns(events, EVENT)).where(
                events.c.run_id == text("run_id"), events.c.number == number("number")
            )
        )
        self._prepare_gate()
        self._prepare_tasks()

    def _prepare_gate(self) -> None:
        db, runs = self._db, self._db.tables.runs
        gate = (
            update(runs)
            .where(
                self._access.this_run,
                runs.c.epoch == text("epoch"),
                runs.c.version == number("version"),
                runs.c.open_id.is_not(None),
                or_(runs.c.status != word(WorkflowStatus.PAUSED), number("from_outside") == 1),
            )
            .values(
                version=number("last"),
                turns=runs.c.turns + 1,
                updated_at=db.now,
                status=text("status"),
                result=text("result"),
                failure=text("failure"),
                waits=text("waits"),
                blocked=null(),
                origin=func.coalesce(text("origin"), runs.c.origin),
                # an open run that is no longer open gives its id back
                open_id=case((number("closing") == 1, null()), else_=runs.c.open_id),
                closed_at=case((number("closing") == 1, db.now), else_=null()),
            )
        )
        self._gate = db.statement(gate.where(runs.c.inbox_seq == number("inbox_seq")))
        self._gate_leaving_due = db.statement(gate)
        self._committed = db.statement(select(runs.c.namespace, runs.c.updated_at).where(self._access.this_run))

    def _prepare_tasks(self) -> None:
        db, inbox, tasks = self._db, self._db.tables.inbox, self._db.tables.tasks
        self._consume = db.family(
            lambda size: delete(inbox).where(
                inbox.c.run_id == text("run_id"),
                or_(*(inbox.c.number == number(f"number_{place}") for place in range(size))),
            )
        )
        self._fenced = db.statement(
            delete(tasks).where(self._access.this_task, func.coalesce(tasks.c.token, "") == text("token"))
        )
        queued = tasks.c.state == word(TaskState.QUEUED)
        self._cancel = db.statement(
            update(tasks)
            .where(self._access.this_task)
            .values(cancel_requested=1, due_at=case((queued, number("at")), else_=tasks.c.due_at))
        )
        self._idle = db.statement(
            update(tasks)
            .where(
                self._access.this_task,
                or_(tasks.c.state != word(TaskState.RUNNING), tasks.c.token == text("token")),
                or_(tasks.c.state != word(TaskState.IDLE), number("leaving_due") == 1),
            )
            .values(
                state=text("state"),
                due_at=number("due_at"),
                token=null(),
                lease_until=null(),
                published=0,
                attempt=0,
            )
        )
        self._clear_inbox = db.statement(delete(inbox).where(inbox.c.run_id == text("run_id")))
        self._clear_tasks = db.statement(delete(tasks).where(tasks.c.run_id == text("run_id")))

    # -- committing --------------------------------------------------------------------------------

    def commit(self, commit: Commit, meanwhile: Callable[[], None] | None = None) -> CommitOutcome:  # noqa: ARG002
        """Write all that a turn decided, or nothing.

        :param meanwhile: to be called while the database is at it, if one statement is all; not here.
        """
        check(commit)
        values = run_changes(commit)
        try:
            return self._db.write(lambda session: self._commit(session, commit, values))
        except CommitUnknown:
            return self.look_up(commit)
        except UniqueViolation:
            raise ValueError(
                "the commit has a task row, or an event with a key, of which the run has one already"
            ) from None

    def _commit(self, session: Session, commit: Commit, values: Mapping[str, Any]) -> CommitOutcome:
        gate = self._gate_leaving_due if commit.leave_due else self._gate
        if not session.execute(gate, values):
            raise Undo(self._why_refused(session, commit))
        if commit.settles is not None:
            fence = commit.settles
            key = {"run_id": fence.run_id, "kind": fence.kind.value, "seq": fence.seq, "token": fence.token}
            if not session.execute(self._fenced, key):
                raise Undo(CommitOutcome.FENCED)
        self._consume_items(session, commit)
        row = session.row(self._committed, {"run_id": commit.run_id})
        if row is None:
            raise Undo(CommitOutcome.CONFLICT)
        self._access.add_events(session, commit.run_id, commit.events)
        if commit.status.open:
            self._change_tasks(session, commit, now=row[1])
        else:
            session.execute(self._clear_inbox, {"run_id": commit.run_id})
            session.execute(self._clear_tasks, {"run_id": commit.run_id})
        self._access.add_tasks(session, row[0], commit.tasks)
        return CommitOutcome.COMMITTED

    def _consume_items(self, session: Session, commit: Commit) -> None:
        for chunk in chunks(commit.consumed, self._consume.MAX):
            statement, values = self._consume.fit([{"number": each} for each in chunk])
            if session.execute(statement, {**values, "run_id": commit.run_id}) != len(chunk):
                raise Undo(CommitOutcome.CONFLICT)

    def _change_tasks(self, session: Session, commit: Commit, now: Micros) -> None:
        run_id = commit.run_id
        for kind, seq in commit.dropped:
            session.execute(self._access.remove_task, {"run_id": run_id, "kind": kind.value, "seq": seq})
        for seq in commit.canceling:
            key = {"run_id": run_id, "kind": TaskKind.ACTIVITY.value, "seq": seq}
            session.execute(self._cancel, {**key, "at": now})
        state = TaskState.QUEUED if commit.leave_due else TaskState.IDLE
        values = {
            "state": state.value,
            "due_at": now if commit.leave_due else None,
            "token": commit.turn_token,
        }
        leaving_due = int(commit.leave_due)
        session.execute(self._idle, {"run_id": run_id, **_TURN, **values, "leaving_due": leaving_due})

    def _why_refused(self, session: Session, commit: Commit) -> CommitOutcome:
        """Say why a commit did not get through the gate, as things stand in this transaction."""
        run = self._access.run(session, commit.run_id)
        if run is None or not rows.takes(run, commit):
            return CommitOutcome.CONFLICT
        fence = commit.settles
        if fence is not None:
            row = self._access.look(session, commit.run_id, fence.kind, fence.seq)
            if not rows.holds(row, fence):
                return CommitOutcome.FENCED
        moved = run.inbox_seq != commit.inbox_seq and not commit.leave_due
        return CommitOutcome.INBOX_MOVED if moved else CommitOutcome.CONFLICT

    def look_up(self, commit: Commit) -> CommitOutcome:
        """Find out what became of a commit whose acknowledgement was lost.

        :raises StoreUnavailable: it can't be told: the run stands where it stood, but the server may not be done yet.
        """
        last = commit.events[-1] if commit.events else None

        def look(session: Session) -> CommitOutcome:
            run = self._access.run(session, commit.run_id)
            if run is None or run.epoch != commit.epoch:
                return CommitOutcome.CONFLICT
            if last is None or run.version == commit.version:
                raise CommitUnknown("the connection was lost during a commit, of which there is no trace so far")
            row = session.row(self._event, {"run_id": commit.run_id, "number": last.number})
            return CommitOutcome.COMMITTED if row and event_of(row) == last else CommitOutcome.CONFLICT

        return self._db.snapshot(look)


# -- shared with the fast path ---------------------------------------------------------------------


def check(commit: Commit) -> None:
    """Refuse what no turn can have decided.

    :raises ValueError: ``leave_due`` with a closing status, or events whose numbers don't follow the version.
    """
    if commit.leave_due and not commit.status.open:
        raise ValueError(f"a commit that makes the run {commit.status} can't leave its turn due")
    numbers = [event.number for event in commit.events]
    expected = list(range(commit.version + 1, commit.version + 1 + len(numbers)))
    if numbers != expected:
        raise ValueError(f"the events after version {commit.version} are numbered {numbers}, not {expected}")


def run_changes(commit: Commit) -> dict[str, Any]:
    """Return the parameters of the gate: what the commit expects of the run's row, and what it makes of
    it.
    """
    return {
        "run_id": commit.run_id,
        "epoch": commit.epoch,
        "version": commit.version,
        "inbox_seq": commit.inbox_seq,
        "from_outside": int(_from_outside(commit.status)),
        "last": commit.version + len(commit.events),
        "status": commit.status.value,
        "closing": int(not commit.status.open),
        "result": text_of(commit.result),
        "failure": text_of(commit.failure),
        "waits": to_text(list(commit.waits)),
        "origin": text_of(commit.origin),
    }


def _from_outside(status: WorkflowStatus) -> bool:
    """Say whether this may happen to a paused run, whose own code decides nothing."""
    return status is not WorkflowStatus.RUNNING and WorkflowStatus.PAUSED.may_become(status)
