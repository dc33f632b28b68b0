"""Task rows of activities: claiming an attempt, giving it back, keeping it alive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, exists, func, literal_column, or_, select, update

from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.model import NOTHING_KNOWN, Claim, Fence, Micros, Pulse, Run, Task
from celeriac.orchestrator.status import TaskKind, TaskState, WorkflowStatus
from celeriac.payloads import Json
from celeriac.stores import rows
from celeriac.stores.sql.access import Access
from celeriac.stores.sql.faults import Undo
from celeriac.stores.sql.statements import chunks, number, text, word
from celeriac.stores.sql.transactions import Database, Session
from celeriac.stores.sql.values import EVENT, HEAD, columns, event_of, head_of

FEW_EVENTS: Final = 100
"""How many events at most come along with a claim."""
YOUNG: Final = 32
"""How many events a run has at most of which all come along where the process has none."""
_NEVER: Final = 1 << 62
"""Later than any deadline; stands for none where the least of several is taken."""


class Tasks:
    """Activity attempts for any database."""

    def __init__(self, db: Database, access: Access) -> None:
        self._db = db
        self._access = access
        runs, tasks = db.tables.runs, db.tables.tasks
        events, inbox = db.tables.events, db.tables.inbox
        waiting = exists().where(inbox.c.run_id == runs.c.run_id)
        self._run = db.statement(select(*columns(runs, HEAD), waiting, db.now).where(access.this_run))
        self._newer = db.statement(
            select(*columns(events, EVENT))
            .where(events.c.run_id == text("run_id"), events.c.number > number("after"))
            .order_by(events.c.number)
        )
        self._now = db.statement(select(db.now))
        self._renew = db.family(self._renewal)
        self._pulses = db.family(
            lambda size: select(*columns(tasks, ("run_id", "kind", "seq", "token", "cancel_requested"))).where(
                self._held_by(size)
            )
        )

    def _held_by(self, size: int) -> ColumnElement[bool]:
        tasks = self._db.tables.tasks
        return and_(
            tasks.c.state == word(TaskState.RUNNING),
            or_(
                *(
                    and_(
                        tasks.c.run_id == text(f"run_id_{place}"),
                        tasks.c.kind == text(f"kind_{place}"),
                        tasks.c.seq == number(f"seq_{place}"),
                        tasks.c.token == text(f"token_{place}"),
                    )
                    for place in range(size)
                )
            ),
        )

    def _renewal(self, size: int) -> Any:
        tasks = self._db.tables.tasks
        until = self._db.now + number("lease")
        others = (tasks.c.start_to_close_by, tasks.c.heartbeat_by, tasks.c.schedule_to_close_by)
        # Databases differ in what null means to their least(), so that there is none here.
        deadlines = [until, *(func.coalesce(other, literal_column(str(_NEVER))) for other in others)]
        due_at = (func.min if self._db.dialect.name == "sqlite" else func.least)(*deadlines)
        return update(tasks).where(self._held_by(size)).values(lease_until=until, due_at=due_at)

    # -- one attempt -------------------------------------------------------------------------------

    def claim(
        self,
        run_id: str,
        seq: int,
        *,
        attempt: int,
        inner: int,
        token: str,
        lease: Micros,
        worker: str,
        known: tuple[str, int] | None = None,
    ) -> Claim | None:
        """Claim an attempt, or return None when it is not to be run."""

        def work(session: Session) -> Claim | None:
            found = session.row(self._run, {"run_id": run_id})
            run = head_of(found) if found is not None else None
            if found is None or run is None or not run.status.open:
                raise Undo(None)
            row, (waiting, now) = self._access.task(session, run_id, TaskKind.ACTIVITY, seq), found[-2:]
            claimed = row and rows.attempt_claimed(
                row, now, attempt=attempt, inner=inner, token=token, lease=lease, worker=worker
            )
            if claimed is None:
                raise Undo(None)
            self._access.put_task(session, claimed)
            head = run if run.status is WorkflowStatus.RUNNING and not waiting else None
            newer = self._newer_than(session, head, known)
            return Claim(claimed, rows.ref(run), now, head, newer)

        return self._db.write(work)

    def _newer_than(self, session: Session, head: Run | None, known: tuple[str, int] | None) -> Sequence[HistoryEvent]:
        """Return the few events that a head's history has beyond what is known.

        They are read later than the head, and may be more than it has; who uses them counts.
        """
        if head is None or known is None or not 0 < head.version - known[1] <= FEW_EVENTS:
            return ()
        if known[0] != head.epoch and not (known == NOTHING_KNOWN and head.version <= YOUNG):
            return ()
        return [event_of(each) for each in session.rows(self._newer, {"run_id": head.run_id, "after": known[1]})]

    def requeue(
        self,
        fence: Fence,
        *,
        delay: Micros,
        grace: Micros,
        next_attempt: bool,
        failure: Mapping[str, Json] | None,
    ) -> bool:
        """Give a claimed row back as queued."""

        def work(session: Session) -> bool:
            row = self._held(session, fence)
            due_at = self._time(session) + delay + grace
            self._access.put_task(
                session,
                rows.attempt_returned(row, due_at, failure, next_attempt=next_attempt, published=grace > 0),
            )
            return True

        return bool(self._db.write(work))

    def heartbeat(self, fence: Fence, details: Json) -> Pulse:
        """Record progress and move on the heartbeat's deadline."""

        def work(session: Session) -> Pulse:
            row = self._held(session, fence)
            self._access.put_task(session, rows.beaten(row, self._time(session), details))
            return rows.pulse(row)

        return self._db.write(work) or Pulse.GONE

    def _held(self, session: Session, fence: Fence) -> Task:
        """Return the row that a fence names, locked; undoes the transaction, with None, when the claim is
        gone.
        """
        row = self._access.task(session, fence.run_id, fence.kind, fence.seq)
        if row is None or row.state is not TaskState.RUNNING or row.token != fence.token:
            raise Undo(None)
        return row

    def _time(self, session: Session) -> Micros:
        row = session.row(self._now, {})
        return 0 if row is None else int(row[0])

    # -- many --------------------------------------------------------------------------------------

    def renew(self, fences: Sequence[Fence], *, lease: Micros) -> Mapping[Fence, Pulse]:
        """Move on the leases of attempts that are running: two statements for up to 128 of them."""
        found = dict.fromkeys(fences, Pulse.GONE)
        for chunk in chunks(list(found), self._renew.MAX):
            found |= self._renew_chunk(chunk, lease)
        return found

    def _renew_chunk(self, fences: Sequence[Fence], lease: Micros) -> dict[Fence, Pulse]:
        # Always in the same order, so that two processes that renew never wait for each other in a circle.
        ordered = sorted(fences, key=lambda fence: (fence.run_id, fence.kind, fence.seq))
        keys = [
            {"run_id": each.run_id, "kind": each.kind.value, "seq": each.seq, "token": each.token} for each in ordered
        ]
        renew, values = self._renew.fit(keys)
        pulses, same_values = self._pulses.fit(keys)

        def work(session: Session) -> list[Sequence[Any]]:
            session.execute(renew, {**values, "lease": lease})
            return session.rows(pulses, same_values)

        return {
            Fence(run_id, TaskKind(kind), seq, token): Pulse.CANCEL if canceling else Pulse.ALIVE
            for run_id, kind, seq, token, canceling in self._db.write(work)
        }
