"""The reference store: dictionaries under one lock, for tests, notebooks and a single process.

Everything goes in and out as JSON text, so that what it holds could be stored anywhere, and callers share no
values with it.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Container, Mapping, Sequence
from typing import ClassVar

from celeriac.errors import StoreError
from celeriac.frozen import changed
from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.model import (
    NOTHING_KNOWN,
    SECOND,
    Claim,
    Commit,
    CommitOutcome,
    Created,
    CreateOutcome,
    Delivery,
    DeliveryOutcome,
    DueTask,
    Fence,
    IdReuse,
    InboxItem,
    Message,
    Micros,
    NewRun,
    Pulse,
    Run,
    RunFilter,
    Task,
    TurnView,
    WorkflowState,
)
from celeriac.orchestrator.status import TaskKind, TaskState, WorkflowStatus
from celeriac.payloads import Json
from celeriac.stores import rows
from celeriac.stores.rows import TURN
from celeriac.stores.shelf import Entry, Shelf, copy, copy_item


class InMemoryStore:
    """The store contract in one process's memory. What it promises ends with the process.

    :param clock: returns microseconds since the epoch; the wall clock unless given.
    """

    redeliver_after: ClassVar[Micros] = 10 * SECOND
    """How long after a wake-up the relay publishes the turn itself, in microseconds."""

    _copy = staticmethod(copy)
    _copy_item = staticmethod(copy_item)

    def __init__(self, clock: Callable[[], Micros] | None = None) -> None:
        self._clock = clock or _wall_clock
        self._lock = threading.Lock()
        self._shelf = Shelf()
        self._leases: dict[str, tuple[str, Micros]] = {}

    # -- life --------------------------------------------------------------------------------------

    def now(self) -> Micros:
        """Return the clock's time."""
        return self._clock()

    def check(self) -> None:
        """Do nothing: memory can always be used."""

    def close(self) -> None:
        """Do nothing: there are no connections to let go of."""

    # -- starting and delivering -------------------------------------------------------------------

    def create(self, new: NewRun) -> Created:
        """Write a run, its first event and its turn row, or say why not.

        :raises StoreError: another run has the same run id.
        """
        with self._lock:
            return self._create(new)

    def create_many(self, many: Sequence[NewRun]) -> Sequence[Created]:
        """Do the same for many runs."""
        with self._lock:
            return [self._create(new) for new in many]

    def _create(self, new: NewRun) -> Created:
        now = self._clock()
        refused = self._refusal(new)
        if refused is not None:
            return refused
        if new.run_id in self._shelf.entries:
            raise StoreError(f"there is a run {new.run_id!r} already; a run id is never used twice")
        first = self._copy(HistoryEvent.of(1, now, new.started))
        self._shelf.add(Entry(self._copy(rows.born(new, now))), [first], rows.first_tasks(new, now))
        return Created(CreateOutcome.CREATED, self._run_out(new.run_id))

    def _refusal(self, new: NewRun) -> Created | None:
        name = (new.namespace, new.workflow_id)
        started = self._shelf.starts.get((new.namespace, new.start_key))
        if started is not None:
            return Created(CreateOutcome.SAME_START, self._run_out(started))
        if name in self._shelf.open:
            return Created(CreateOutcome.OPEN_EXISTS, self._run_out(self._shelf.open[name]))
        latest = self._shelf.latest(*name)
        if latest is None or new.id_reuse is IdReuse.ALLOW:
            return None
        if new.id_reuse is IdReuse.NEVER or latest.run.status is WorkflowStatus.COMPLETED:
            return Created(CreateOutcome.REUSE_REFUSED, self._copy(latest.run))
        return None

    def deliver(
        self, message: Message, *, namespace: str, workflow_id: str | None = None, run_id: str | None = None
    ) -> Delivery:
        """Put a message into the inbox of an open run."""
        with self._lock:
            entry = self._shelf.find(namespace, workflow_id, run_id)
            if entry is None:
                return Delivery(DeliveryOutcome.NOT_FOUND)
            if entry.has_seen(message.key):
                return Delivery(DeliveryOutcome.DUPLICATE, rows.ref(entry.run))
            if not entry.run.status.open:
                return Delivery(DeliveryOutcome.CLOSED, rows.ref(entry.run))
            return self._receive(entry, self._copy(message))

    def settle(self, fence: Fence, message: Message) -> Delivery:
        """Deliver the outcome of a task row and delete the row."""
        with self._lock:
            entry = self._shelf.entries.get(fence.run_id)
            if entry is None:
                return Delivery(DeliveryOutcome.REFUSED)
            row = entry.tasks.get((fence.kind, fence.seq))
            if not rows.holds(row, fence) or not entry.run.status.open:
                return Delivery(DeliveryOutcome.REFUSED, rows.ref(entry.run))
            message = self._copy(message)
            del entry.tasks[fence.kind, fence.seq]
            if entry.has_seen(message.key):
                return Delivery(DeliveryOutcome.DUPLICATE, rows.ref(entry.run))
            return self._receive(entry, message)

    def _receive(self, entry: Entry, message: Message) -> Delivery:
        now = self._clock()
        number = entry.run.inbox_seq + 1
        entry.run = changed(entry.run, inbox_seq=number)
        entry.receive(InboxItem(number, message, now))
        turn = entry.tasks.get(TURN)
        if turn is None:  # a run that was saved without one
            return Delivery(DeliveryOutcome.DELIVERED, rows.ref(entry.run))
        row, wake = rows.turn_woken(turn, entry.run.status, now + self.redeliver_after)
        self._shelf.put(entry, row)
        return Delivery(DeliveryOutcome.DELIVERED, rows.ref(entry.run), wake)

    # -- turns -------------------------------------------------------------------------------------

    def begin_turn(self, run_id: str, *, token: str, lease: Micros, known: tuple[str, int] | None) -> TurnView | None:
        """Claim the run's turn if it is due, and read what the turn needs."""
        with self._lock:
            entry, turn = self._shelf.row(run_id, *TURN)
            if entry is None or turn is None or not entry.run.status.open:
                return None
            now = self._clock()
            paused = entry.run.status is WorkflowStatus.PAUSED
            row = None if paused else rows.turn_claimed(turn, now, token, lease)
            if row is None:
                return None
            self._shelf.put(entry, row)
            return self._view(entry, known, now)

    def read_turn(self, run_id: str, *, known: tuple[str, int] | None) -> TurnView | None:
        """Read the same without claiming."""
        with self._lock:
            entry = self._shelf.entries.get(run_id)
            return None if entry is None else self._view(entry, known, self._clock())

    def commit(self, commit: Commit) -> CommitOutcome:
        """Write all that a turn decided, or nothing.

        :raises ValueError: ``leave_due`` with a closing status, events that don't go on from the version,
            or a new task row whose key is taken.
        """
        _check(commit)
        events = [self._copy(event) for event in commit.events]
        tasks = [self._copy(task) for task in commit.tasks]
        with self._lock:
            entry = self._shelf.entries.get(commit.run_id)
            refused = _gate(entry, commit)
            if entry is None or refused is not None:
                return refused or CommitOutcome.CONFLICT
            _check_keys(entry, commit)
            now = self._clock()
            entry.run = self._copy(rows.committed(entry.run, commit, now))
            entry.record(events)
            if entry.run.status.open:
                self._settle_tasks(entry, commit, now)
            else:
                del self._shelf.open[entry.run.namespace, entry.run.workflow_id]
                entry.close()
            namespace = entry.run.namespace
            for task in tasks:
                self._shelf.put(entry, task if task.namespace == namespace else changed(task, namespace=namespace))
            return CommitOutcome.COMMITTED

    def _settle_tasks(self, entry: Entry, commit: Commit, now: Micros) -> None:
        for number in commit.consumed:
            entry.consume(number)
        for key in commit.dropped:
            entry.tasks.pop(key, None)
        if commit.settles is not None:
            entry.tasks.pop((commit.settles.kind, commit.settles.seq), None)
        for seq in commit.canceling:
            row = entry.tasks.get((TaskKind.ACTIVITY, seq))
            if row is not None:
                due_at = now if row.state is TaskState.QUEUED else row.due_at
                self._shelf.put(entry, changed(row, cancel_requested=True, due_at=due_at))
        turn = entry.tasks.get(TURN)
        if turn is not None:
            self._shelf.put(entry, rows.turn_after(turn, commit, now))

    def release_turn(
        self,
        run_id: str,
        *,
        token: str,
        delay: Micros,
        blocked: Mapping[str, Json] | None = None,
        declined: bool = False,
    ) -> bool:
        """Give a claimed turn back, due again after ``delay``."""
        with self._lock:
            entry, row = self._shelf.row(run_id, *TURN)
            if entry is None or row is None or row.token != token:
                return False
            now = self._clock()
            if blocked is not None and entry.run.status is not WorkflowStatus.PAUSED:
                status = entry.run.status if declined else WorkflowStatus.BLOCKED
                at = entry.run.updated_at if declined else now
                entry.run = self._copy(changed(entry.run, status=status, blocked=dict(blocked), updated_at=at))
            is_blocked = blocked is not None
            self._shelf.put(entry, rows.turn_released(row, now + delay, blocked=is_blocked, declined=declined))
            return True

    def wake_blocked(self, namespace: str) -> int:
        """Make the turns of blocked runs due now, but of those that kill their workers."""
        with self._lock:
            now, count = self._clock(), 0
            for entry in self._shelf.entries.values():
                row = entry.tasks.get(TURN)
                blocked = entry.run.status is WorkflowStatus.BLOCKED and entry.run.namespace == namespace
                kills = "killed" in (entry.run.blocked or {})
                if blocked and not kills and row is not None and row.state is TaskState.QUEUED:
                    self._shelf.put(entry, changed(row, due_at=now))
                    count += 1
            return count

    def set_status(self, run_id: str, status: WorkflowStatus) -> Delivery:
        """Pause, or take up again, an open run.

        :raises ValueError: a status other than running and paused.
        """
        if status not in {WorkflowStatus.RUNNING, WorkflowStatus.PAUSED}:
            raise ValueError(f"set_status() pauses a run or takes it up again; it can't make it {status}")
        with self._lock:
            entry = self._shelf.entries.get(run_id)
            if entry is None:
                return Delivery(DeliveryOutcome.NOT_FOUND)
            if not entry.run.status.open:
                return Delivery(DeliveryOutcome.CLOSED, rows.ref(entry.run))
            wake = status is WorkflowStatus.RUNNING and entry.run.status is not WorkflowStatus.RUNNING
            now = self._clock()
            entry.run = changed(entry.run, status=status, updated_at=now)
            turn = entry.tasks.get(TURN)
            if wake and turn is not None:
                entry.run = changed(entry.run, blocked=None)
                self._shelf.put(entry, rows.queued(turn, now + self.redeliver_after))
            return Delivery(DeliveryOutcome.DELIVERED, rows.ref(entry.run), wake)

    # -- activities --------------------------------------------------------------------------------

    def claim_activity(
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
        with self._lock:
            entry, row = self._shelf.row(run_id, TaskKind.ACTIVITY, seq)
            if entry is None or row is None or not entry.run.status.open:
                return None
            now = self._clock()
            claimed = rows.attempt_claimed(
                row, now, attempt=attempt, inner=inner, token=token, lease=lease, worker=worker
            )
            if claimed is None:
                return None
            self._shelf.put(entry, claimed)
            head = self._copy(entry.run) if entry.run.status is WorkflowStatus.RUNNING and not entry.inbox else None
            known_here = head is not None and known is not None and (known[0] == head.epoch or known == NOTHING_KNOWN)
            newer = entry.events[known[1] :] if known_here and known is not None else []
            return Claim(self._copy(claimed), rows.ref(entry.run), now, head, [self._copy(each) for each in newer])

    def requeue(
        self,
        fence: Fence,
        *,
        delay: Micros,
        grace: Micros,
        next_attempt: bool,
        failure: Mapping[str, Json] | None = None,
    ) -> bool:
        """Give a claimed row back as queued."""
        with self._lock:
            entry, row = self._held(fence)
            if entry is None or row is None:
                return False
            due_at = self._clock() + delay + grace
            returned = rows.attempt_returned(row, due_at, failure, next_attempt=next_attempt, published=grace > 0)
            self._shelf.put(entry, self._copy(returned))
            return True

    def renew(self, fences: Sequence[Fence], *, lease: Micros) -> Mapping[Fence, Pulse]:
        """Move on the leases of attempts that are running."""
        with self._lock:
            now = self._clock()
            return {fence: self._renew(fence, now, lease) for fence in fences}

    def _renew(self, fence: Fence, now: Micros, lease: Micros) -> Pulse:
        entry, row = self._held(fence)
        if entry is None or row is None:
            return Pulse.GONE
        self._shelf.put(entry, rows.renewed(row, now, lease))
        return rows.pulse(row)

    def heartbeat(self, fence: Fence, details: Json) -> Pulse:
        """Record progress and move on the heartbeat's deadline."""
        with self._lock:
            entry, row = self._held(fence)
            if entry is None or row is None:
                return Pulse.GONE
            self._shelf.put(entry, self._copy(rows.beaten(row, self._clock(), details)))
            return rows.pulse(row)

    def _held(self, fence: Fence) -> tuple[Entry, Task] | tuple[None, None]:
        entry, row = self._shelf.row(fence.run_id, fence.kind, fence.seq)
        if entry is None or row is None or row.state is not TaskState.RUNNING or row.token != fence.token:
            return None, None
        return entry, row

    # -- the relay ---------------------------------------------------------------------------------

    def take_due(self, namespace: str, *, limit: int, hold: Micros) -> Sequence[DueTask]:
        """Take the rows that are due, the longest due first, and make them due again after ``hold``."""
        with self._lock:
            now = self._clock()
            with self._shelf.waiting(namespace) as waiting:
                found: list[tuple[Entry, Task]] = []
                for entry, row in waiting:
                    if len(found) == limit or row.due_at is None or row.due_at > now:
                        break
                    found.append((entry, row))
            for entry, row in found:
                self._shelf.put(entry, changed(row, due_at=now + hold))
            return [
                DueTask(self._copy(row), rows.ref(entry.run), now, self._copy(entry.run).origin) for entry, row in found
            ]

    def next_due(self, namespace: str) -> Micros | None:
        """Return the earliest ``due_at`` of all rows that a relay may take, or None."""
        with self._lock:
            return self._shelf.next_due(namespace)

    def postpone(self, task: Task, *, delay: Micros, published: int) -> None:
        """Move a row's ``due_at`` to ``delay`` from now unless it has been claimed or has moved on."""
        with self._lock:
            entry, row = self._shelf.row(task.run_id, task.kind, task.seq)
            if entry is None or row is None:
                return
            if (row.state, row.attempt, row.token) == (task.state, task.attempt, task.token):
                self._shelf.put(entry, changed(row, due_at=self._clock() + delay, published=published))

    def remove_task(self, run_id: str, kind: TaskKind, seq: int) -> bool:
        """Delete a row, whoever has claimed it."""
        with self._lock:
            entry = self._shelf.entries.get(run_id)
            return entry is not None and entry.tasks.pop((kind, seq), None) is not None

    def hold_lease(self, name: str, holder: str, *, lease: Micros) -> bool:
        """Take or renew a named lease; False while another holder has it."""
        with self._lock:
            now = self._clock()
            other, until = self._leases.get(name, (holder, now))
            if other != holder and until > now:
                return False
            self._leases[name] = (holder, now + lease)
            return True

    # -- reading -----------------------------------------------------------------------------------

    def find_run(
        self,
        namespace: str,
        *,
        workflow_id: str | None = None,
        run_id: str | None = None,
        start_key: str | None = None,
    ) -> Run | None:
        """Return the run with this run id, the one of this start, or the latest with this workflow id."""
        with self._lock:
            if start_key is not None:
                run_id = self._shelf.starts.get((namespace, start_key))
                if run_id is None:
                    return None
            entry = self._shelf.find(namespace, workflow_id, run_id)
            return None if entry is None else self._copy(entry.run)

    def history(self, run_id: str, *, after: int = 0, limit: int | None = None) -> Sequence[HistoryEvent]:
        """Return a run's events in order."""
        with self._lock:
            entry = self._shelf.entries.get(run_id)
            last = None if limit is None else after + limit
            return [] if entry is None else [self._copy(event) for event in entry.events[after:last]]

    def tasks(self, run_id: str) -> Sequence[Task]:
        """Return a run's task rows, by kind and number."""
        with self._lock:
            entry = self._shelf.entries.get(run_id)
            return [] if entry is None else [self._copy(entry.tasks[key]) for key in sorted(entry.tasks)]

    # -- the specification's four ------------------------------------------------------------------

    def save(self, state: WorkflowState) -> None:
        """Restore a whole run under a new epoch, in place of the run with its run id if there is one.

        :raises StoreError: its workflow id belongs to another open run, or its start key to another run.
        """
        run = self._copy(changed(state.run, epoch=uuid.uuid4().hex, waits=tuple(state.run.waits)))
        inbox = sorted((self._copy_item(item) for item in state.inbox), key=lambda item: item.number)
        entry = Entry(run, inbox={item.number: item for item in inbox})
        history = [self._copy(event) for event in state.history]
        tasks = [changed(self._copy(task), namespace=run.namespace) for task in state.tasks]
        with self._lock:
            holder = self._shelf.open.get((run.namespace, run.workflow_id), run.run_id)
            if run.status.open and holder != run.run_id:
                raise StoreError(f"workflow id {run.workflow_id!r} belongs to another open run")
            if self._shelf.starts.get((run.namespace, run.start_key), run.run_id) != run.run_id:
                raise StoreError(f"the start key {run.start_key!r} belongs to another run")
            if run.run_id in self._shelf.entries:
                self._shelf.remove(self._shelf.entries[run.run_id])
            self._shelf.add(entry, history, tasks)

    def load(self, namespace: str, workflow_id: str) -> WorkflowState | None:
        """Return the latest run with this workflow id, whole, or None."""
        with self._lock:
            entry = self._shelf.latest(namespace, workflow_id)
            if entry is None:
                return None
            return WorkflowState(
                self._copy(entry.run),
                [self._copy(event) for event in entry.events],
                [self._copy_item(item) for item in entry.inbox.values()],
                [self._copy(entry.tasks[key]) for key in sorted(entry.tasks)],
            )

    def list(self, namespace: str, where: RunFilter) -> Sequence[Run]:
        """Return runs, newest first, a page at a time."""
        with self._lock:
            below = self._shelf.entries.get(where.cursor) if where.cursor is not None else None
            if where.cursor is not None and below is None:
                return []
            found = [
                entry.run
                for entry in self._shelf.entries.values()
                if entry.run.namespace == namespace
                and _fits(entry.run, where)
                and (below is None or _age(entry.run) < _age(below.run))
            ]
            return [self._copy(run) for run in sorted(found, key=_age, reverse=True)[: where.limit]]

    def delete(self, namespace: str, workflow_id: str) -> int:
        """Delete all runs with this workflow id and return how many there were.

        :raises StoreError: one of them is open.
        """
        with self._lock:
            if (namespace, workflow_id) in self._shelf.open:
                raise StoreError(f"workflow {workflow_id!r} is open; cancel or terminate it before deleting it")
            found = self._shelf.runs(namespace, workflow_id)
            for run_id in found:
                self._shelf.remove(self._shelf.entries[run_id])
            return len(found)

    def purge(self, namespace: str, *, closed_before: Micros, limit: int) -> int:
        """Delete runs that closed earlier than a time, and return how many that were."""
        with self._lock:
            old = [
                (entry.run.closed_at, run_id)
                for run_id, entry in self._shelf.entries.items()
                if entry.run.namespace == namespace
                and entry.run.closed_at is not None
                and entry.run.closed_at < closed_before
                and not entry.tasks
            ]
            found = [self._shelf.entries[run_id] for _, run_id in sorted(old)[:limit]]
            for entry in found:
                self._shelf.remove(entry)
            return len(found)

    def _run_out(self, run_id: str) -> Run:
        return self._copy(self._shelf.entries[run_id].run)

    def _view(self, entry: Entry, known: tuple[str, int] | None, now: Micros) -> TurnView:
        after = known[1] if known and known[0] == entry.run.epoch and known[1] <= entry.run.version else 0
        turn = entry.tasks.get(TURN)
        return TurnView(
            run=self._copy(entry.run),
            events=[self._copy(event) for event in entry.events[after:]],
            inbox=[self._copy_item(item) for item in entry.inbox.values()],
            now=now,
            complete=after == 0,
            claims=turn.attempt if turn else 0,
        )


def _wall_clock() -> Micros:
    return time.time_ns() // 1000


def _check(commit: Commit) -> None:
    if commit.leave_due and not commit.status.open:
        raise ValueError(f"a commit that makes the run {commit.status} can't leave its turn due")
    numbers = [event.number for event in commit.events]
    expected = list(range(commit.version + 1, commit.version + 1 + len(numbers)))
    if numbers != expected:
        raise ValueError(f"the events after version {commit.version} are numbered {numbers}, not {expected}")


def _check_keys(entry: Entry, commit: Commit) -> None:
    if not commit.tasks:
        return
    leaving = set(commit.dropped)
    if commit.settles is not None:
        leaving.add((commit.settles.kind, commit.settles.seq))
    taken: Container[tuple[TaskKind, int]] = entry.tasks if commit.status.open else ()
    added = set()
    for task in commit.tasks:
        key = (task.kind, task.seq)
        if key in added or (key in taken and key not in leaving):
            raise ValueError(f"the run has a row {task.kind} {task.seq} already")
        added.add(key)


def _gate(entry: Entry | None, commit: Commit) -> CommitOutcome | None:
    """Return why the commit is refused, or None."""
    if entry is None or not rows.takes(entry.run, commit):
        return CommitOutcome.CONFLICT
    settles = commit.settles
    if settles is not None and not rows.holds(entry.tasks.get((settles.kind, settles.seq)), settles):
        return CommitOutcome.FENCED
    if entry.run.inbox_seq != commit.inbox_seq and not commit.leave_due:
        return CommitOutcome.INBOX_MOVED
    if any(number not in entry.inbox for number in commit.consumed):
        return CommitOutcome.CONFLICT
    return None


def _age(run: Run) -> tuple[Micros, str]:
    return run.created_at, run.run_id


def _fits(run: Run, where: RunFilter) -> bool:
    return (
        (not where.statuses or run.status in where.statuses)
        and where.name in {None, run.name}
        and where.workflow_id in {None, run.workflow_id}
        and where.parent_run_id in {None, run.parent_run_id}
        and (where.created_after is None or run.created_at > where.created_after)
        and (where.created_before is None or run.created_at < where.created_before)
    )
