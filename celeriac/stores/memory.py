"""The reference store: dictionaries under one lock, for tests, notebooks and a single process.

Everything goes in and out as JSON text, so that what it holds could be stored anywhere, and callers share no
values with it.
"""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from typing import TYPE_CHECKING, ClassVar, Final, TypeVar

from celeriac.errors import StoreError
from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.model import (
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
from celeriac.payloads import Json, from_text, to_text
from celeriac.stores import rows
from celeriac.stores.rows import TURN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

R = TypeVar("R", Run, Task, HistoryEvent, Message)
_Key = tuple[TaskKind, int]

_JSON_FIELDS: Final[Mapping[type, tuple[str, ...]]] = {
    Run: ("input", "result", "failure", "memo", "attributes", "blocked", "origin"),
    Task: ("data", "details", "failure"),
    HistoryEvent: ("data",),
    Message: ("data",),
}


def _copy(row: R) -> R:
    """Send a row's JSON through text: what can't be written raises here, and nothing is shared."""
    values = {name: getattr(row, name) for name in _JSON_FIELDS[type(row)]}
    return replace(
        row, **{name: from_text(to_text(value)) for name, value in values.items() if value is not None}
    )


def _copy_item(item: InboxItem) -> InboxItem:
    return InboxItem(item.number, _copy(item.message), item.at)


@dataclass(slots=True)
class _Entry:
    """A run with all that belongs to it; every row in it is the store's own."""

    run: Run
    events: list[HistoryEvent] = field(default_factory=list)
    inbox: dict[int, InboxItem] = field(default_factory=dict)
    tasks: dict[_Key, Task] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    """The keys of the recorded events."""

    def record(self, events: Sequence[HistoryEvent]) -> None:
        self.events += events
        self.keys.update(event.key for event in events if event.key is not None)

    def has_seen(self, key: str) -> bool:
        return key in self.keys or any(item.message.key == key for item in self.inbox.values())


class InMemoryStore:
    """The store contract in one process's memory. What it promises ends with the process.

    :param clock: returns microseconds since the epoch; the wall clock unless given.
    """

    redeliver_after: ClassVar[Micros] = 10 * SECOND
    """How long after a wake-up the relay publishes the turn itself, in microseconds."""

    def __init__(self, clock: Callable[[], Micros] | None = None) -> None:
        self._clock = clock or _wall_clock
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._by_id: dict[tuple[str, str], list[str]] = {}
        self._open: dict[tuple[str, str], str] = {}
        self._starts: dict[tuple[str, str], str] = {}
        self._due: dict[str, list[tuple[Micros, str, TaskKind, int]]] = {}
        """Heaps by namespace. A place in them holds while the row's ``due_at`` is still the one it names."""
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
            now = self._clock()
            refused = self._refusal(new)
            if refused is not None:
                return refused
            if new.run_id in self._entries:
                raise StoreError(f"there is a run {new.run_id!r} already; a run id is never used twice")
            first = _copy(HistoryEvent.of(1, now, new.started))
            self._add(_Entry(_copy(rows.born(new, now))), [first], rows.first_tasks(new, now))
            return Created(CreateOutcome.CREATED, self._run_out(new.run_id))

    def _refusal(self, new: NewRun) -> Created | None:
        name = (new.namespace, new.workflow_id)
        started = self._starts.get((new.namespace, new.start_key))
        if started is not None:
            return Created(CreateOutcome.SAME_START, self._run_out(started))
        if name in self._open:
            return Created(CreateOutcome.OPEN_EXISTS, self._run_out(self._open[name]))
        latest = self._latest(*name)
        if latest is None or new.id_reuse is IdReuse.ALLOW:
            return None
        if new.id_reuse is IdReuse.NEVER or latest.run.status is WorkflowStatus.COMPLETED:
            return Created(CreateOutcome.REUSE_REFUSED, _copy(latest.run))
        return None

    def deliver(
        self, message: Message, *, namespace: str, workflow_id: str | None = None, run_id: str | None = None
    ) -> Delivery:
        """Put a message into the inbox of an open run."""
        with self._lock:
            entry = self._find(namespace, workflow_id, run_id)
            if entry is None:
                return Delivery(DeliveryOutcome.NOT_FOUND)
            if entry.has_seen(message.key):
                return Delivery(DeliveryOutcome.DUPLICATE, rows.ref(entry.run))
            if not entry.run.status.open:
                return Delivery(DeliveryOutcome.CLOSED, rows.ref(entry.run))
            return self._receive(entry, _copy(message))

    def settle(self, fence: Fence, message: Message) -> Delivery:
        """Deliver the outcome of a task row and delete the row."""
        with self._lock:
            entry = self._entries.get(fence.run_id)
            if entry is None or not rows.holds(entry.tasks.get((fence.kind, fence.seq)), fence):
                return Delivery(DeliveryOutcome.REFUSED, rows.ref(entry.run) if entry else None)
            if not entry.run.status.open:
                return Delivery(DeliveryOutcome.REFUSED, rows.ref(entry.run))
            message = _copy(message)
            del entry.tasks[fence.kind, fence.seq]
            if entry.has_seen(message.key):
                return Delivery(DeliveryOutcome.DUPLICATE, rows.ref(entry.run))
            return self._receive(entry, message)

    def _receive(self, entry: _Entry, message: Message) -> Delivery:
        now = self._clock()
        number = entry.run.inbox_seq + 1
        entry.run = replace(entry.run, inbox_seq=number)
        entry.inbox[number] = InboxItem(number, message, now)
        row, wake = rows.turn_woken(entry.tasks[TURN], entry.run.status, now + self.redeliver_after)
        self._put(entry, row)
        return Delivery(DeliveryOutcome.DELIVERED, rows.ref(entry.run), wake)

    # -- turns -------------------------------------------------------------------------------------

    def begin_turn(
        self, run_id: str, *, token: str, lease: Micros, known: tuple[str, int] | None
    ) -> TurnView | None:
        """Claim the run's turn if it is due, and read what the turn needs."""
        with self._lock:
            entry = self._entries.get(run_id)
            if entry is None or not entry.run.status.open or entry.run.status is WorkflowStatus.PAUSED:
                return None
            now = self._clock()
            row = rows.turn_claimed(entry.tasks[TURN], now, token, lease)
            if row is None:
                return None
            self._put(entry, row)
            return _view(entry, known, now)

    def read_turn(self, run_id: str, *, known: tuple[str, int] | None) -> TurnView | None:
        """Read the same without claiming."""
        with self._lock:
            entry = self._entries.get(run_id)
            return None if entry is None else _view(entry, known, self._clock())

    def commit(self, commit: Commit) -> CommitOutcome:
        """Write all that a turn decided, or nothing.

        :raises ValueError: ``leave_due`` with a closing status, events that don't go on from the version,
            or a new task row whose key is taken.
        """
        _check(commit)
        events = [_copy(event) for event in commit.events]
        tasks = [_copy(task) for task in commit.tasks]
        with self._lock:
            entry = self._entries.get(commit.run_id)
            refused = _gate(entry, commit)
            if entry is None or refused is not None:
                return refused or CommitOutcome.CONFLICT
            _check_keys(entry, commit)
            now = self._clock()
            entry.run = _copy(rows.committed(entry.run, commit, now))
            entry.record(events)
            if entry.run.status.open:
                self._settle_tasks(entry, commit, now)
            else:
                del self._open[entry.run.namespace, entry.run.workflow_id]
                entry.inbox.clear()
                entry.tasks.clear()
            for task in tasks:
                self._put(entry, replace(task, namespace=entry.run.namespace))
            return CommitOutcome.COMMITTED

    def _settle_tasks(self, entry: _Entry, commit: Commit, now: Micros) -> None:
        for number in commit.consumed:
            entry.inbox.pop(number, None)
        for key in commit.dropped:
            entry.tasks.pop(key, None)
        if commit.settles is not None:
            entry.tasks.pop((commit.settles.kind, commit.settles.seq), None)
        for seq in commit.canceling:
            row = entry.tasks.get((TaskKind.ACTIVITY, seq))
            if row is not None:
                due_at = now if row.state is TaskState.QUEUED else row.due_at
                self._put(entry, replace(row, cancel_requested=True, due_at=due_at))
        self._put(entry, rows.turn_after(entry.tasks[TURN], commit, now))

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
            entry = self._entries.get(run_id)
            row = entry.tasks.get(TURN) if entry else None
            if entry is None or row is None or row.token != token:
                return False
            now = self._clock()
            if blocked is not None and entry.run.status is not WorkflowStatus.PAUSED:
                status = WorkflowStatus.BLOCKED
                entry.run = _copy(replace(entry.run, status=status, blocked=dict(blocked), updated_at=now))
            attempt = row.attempt - 1 if declined else row.attempt
            self._put(entry, replace(rows.queued(row, now + delay), attempt=attempt))
            return True

    def set_status(self, run_id: str, status: WorkflowStatus) -> Delivery:
        """Pause, or take up again, an open run.

        :raises ValueError: a status other than running and paused.
        """
        if status not in {WorkflowStatus.RUNNING, WorkflowStatus.PAUSED}:
            raise ValueError(f"set_status() pauses a run or takes it up again; it can't make it {status}")
        with self._lock:
            entry = self._entries.get(run_id)
            if entry is None:
                return Delivery(DeliveryOutcome.NOT_FOUND)
            if not entry.run.status.open:
                return Delivery(DeliveryOutcome.CLOSED, rows.ref(entry.run))
            wake = status is WorkflowStatus.RUNNING and entry.run.status is not WorkflowStatus.RUNNING
            now = self._clock()
            entry.run = replace(entry.run, status=status, updated_at=now)
            if wake:
                entry.run = replace(entry.run, blocked=None)
                self._put(entry, rows.queued(entry.tasks[TURN], now + self.redeliver_after))
            return Delivery(DeliveryOutcome.DELIVERED, rows.ref(entry.run), wake)

    # -- activities --------------------------------------------------------------------------------

    def claim_activity(
        self, run_id: str, seq: int, *, attempt: int, inner: int, token: str, lease: Micros, worker: str
    ) -> Claim | None:
        """Claim an attempt, or return None when it is not to be run."""
        with self._lock:
            entry = self._entries.get(run_id)
            row = entry.tasks.get((TaskKind.ACTIVITY, seq)) if entry else None
            if entry is None or row is None or not entry.run.status.open:
                return None
            now = self._clock()
            claimed = rows.attempt_claimed(
                row, now, attempt=attempt, inner=inner, token=token, lease=lease, worker=worker
            )
            if claimed is None:
                return None
            self._put(entry, claimed)
            return Claim(_copy(claimed), rows.ref(entry.run), now)

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
            self._put(entry, _copy(rows.attempt_returned(row, due_at, failure, next_attempt=next_attempt)))
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
        self._put(entry, rows.renewed(row, now, lease))
        return rows.pulse(row)

    def heartbeat(self, fence: Fence, details: Json) -> Pulse:
        """Record progress and move on the heartbeat's deadline."""
        with self._lock:
            entry, row = self._held(fence)
            if entry is None or row is None:
                return Pulse.GONE
            self._put(entry, _copy(rows.beaten(row, self._clock(), details)))
            return rows.pulse(row)

    def _held(self, fence: Fence) -> tuple[_Entry, Task] | tuple[None, None]:
        entry = self._entries.get(fence.run_id)
        row = entry.tasks.get((fence.kind, fence.seq)) if entry else None
        if entry is None or row is None or row.state is not TaskState.RUNNING or row.token != fence.token:
            return None, None
        return entry, row

    # -- the relay ---------------------------------------------------------------------------------

    def take_due(self, namespace: str, *, limit: int, hold: Micros) -> Sequence[DueTask]:
        """Take the rows that are due, the longest due first, and make them due again after ``hold``."""
        with self._lock:
            now = self._clock()
            with self._waiting(namespace) as waiting:
                found: list[tuple[_Entry, Task]] = []
                for entry, row in waiting:
                    if len(found) == limit or row.due_at is None or row.due_at > now:
                        break
                    found.append((entry, row))
            for entry, row in found:
                self._put(entry, replace(row, due_at=now + hold))
            return [
                DueTask(_copy(row), rows.ref(entry.run), now, _copy(entry.run).origin) for entry, row in found
            ]

    def next_due(self, namespace: str) -> Micros | None:
        """Return the earliest ``due_at`` of all rows that a relay may take, or None."""
        with self._lock, self._waiting(namespace) as waiting:
            return next((row.due_at for _, row in waiting), None)

    @contextmanager
    def _waiting(self, namespace: str) -> Iterator[Iterator[tuple[_Entry, Task]]]:
        """Go through the rows that relays may take, the earliest first; their places are put back."""
        heap = self._due.setdefault(namespace, [])
        passed: set[tuple[Micros, str, TaskKind, int]] = set()

        def walk() -> Iterator[tuple[_Entry, Task]]:
            while heap:
                place = heappop(heap)
                due_at, run_id, kind, seq = place
                entry = self._entries.get(run_id)
                row = entry.tasks.get((kind, seq)) if entry else None
                if entry is None or row is None or row.due_at != due_at or place in passed:
                    continue
                passed.add(place)
                if rows.served(entry.run, kind):
                    yield entry, row

        try:
            yield walk()
        finally:
            for place in passed:
                heappush(heap, place)

    def postpone(self, task: Task, *, delay: Micros, published: int) -> None:
        """Move a row's ``due_at`` to ``delay`` from now unless it has been claimed or has moved on."""
        with self._lock:
            entry = self._entries.get(task.run_id)
            row = entry.tasks.get((task.kind, task.seq)) if entry else None
            if entry is None or row is None:
                return
            if (row.state, row.attempt, row.token) == (task.state, task.attempt, task.token):
                self._put(entry, replace(row, due_at=self._clock() + delay, published=published))

    def remove_task(self, run_id: str, kind: TaskKind, seq: int) -> bool:
        """Delete a row, whoever has claimed it."""
        with self._lock:
            entry = self._entries.get(run_id)
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
        self, namespace: str, *, workflow_id: str | None = None, run_id: str | None = None
    ) -> Run | None:
        """Return the run with this run id, or the latest with this workflow id."""
        with self._lock:
            entry = self._entries.get(run_id) if run_id is not None else self._latest(namespace, workflow_id)
            return _copy(entry.run) if entry is not None and entry.run.namespace == namespace else None

    def history(self, run_id: str, *, after: int = 0, limit: int | None = None) -> Sequence[HistoryEvent]:
        """Return a run's events in order."""
        with self._lock:
            entry = self._entries.get(run_id)
            last = None if limit is None else after + limit
            return [] if entry is None else [_copy(event) for event in entry.events[after:last]]

    def tasks(self, run_id: str) -> Sequence[Task]:
        """Return a run's task rows, by kind and number."""
        with self._lock:
            entry = self._entries.get(run_id)
            return [] if entry is None else [_copy(entry.tasks[key]) for key in sorted(entry.tasks)]

    # -- the specification's four ------------------------------------------------------------------

    def save(self, state: WorkflowState) -> None:
        """Restore a whole run under a new epoch, in place of the run with its run id if there is one.

        :raises StoreError: its workflow id belongs to another open run, or its start key to another run.
        """
        run = _copy(replace(state.run, epoch=uuid.uuid4().hex, waits=tuple(state.run.waits)))
        entry = _Entry(run, inbox={item.number: _copy_item(item) for item in state.inbox})
        history = [_copy(event) for event in state.history]
        tasks = [replace(_copy(task), namespace=run.namespace) for task in state.tasks]
        with self._lock:
            if run.status.open and self._open.get((run.namespace, run.workflow_id), run.run_id) != run.run_id:
                raise StoreError(f"workflow id {run.workflow_id!r} belongs to another open run")
            if self._starts.get((run.namespace, run.start_key), run.run_id) != run.run_id:
                raise StoreError(f"the start key {run.start_key!r} belongs to another run")
            if run.run_id in self._entries:
                self._remove(self._entries[run.run_id])
            self._add(entry, history, tasks)

    def load(self, namespace: str, workflow_id: str) -> WorkflowState | None:
        """Return the latest run with this workflow id, whole, or None."""
        with self._lock:
            entry = self._latest(namespace, workflow_id)
            if entry is None:
                return None
            return WorkflowState(
                _copy(entry.run),
                [_copy(event) for event in entry.events],
                [_copy_item(item) for item in entry.inbox.values()],
                [_copy(entry.tasks[key]) for key in sorted(entry.tasks)],
            )

    def list(self, namespace: str, where: RunFilter) -> Sequence[Run]:
        """Return runs, newest first, a page at a time."""
        with self._lock:
            below = self._entries.get(where.cursor) if where.cursor is not None else None
            if where.cursor is not None and below is None:
                return []
            found = [
                entry.run
                for entry in self._entries.values()
                if entry.run.namespace == namespace
                and _fits(entry.run, where)
                and (below is None or _age(entry.run) < _age(below.run))
            ]
            return [_copy(run) for run in sorted(found, key=_age, reverse=True)[: where.limit]]

    def delete(self, namespace: str, workflow_id: str) -> int:
        """Delete all runs with this workflow id and return how many there were.

        :raises StoreError: one of them is open.
        """
        with self._lock:
            if (namespace, workflow_id) in self._open:
                raise StoreError(
                    f"workflow {workflow_id!r} is open; cancel or terminate it before deleting it"
                )
            found = list(self._by_id.get((namespace, workflow_id), ()))
            for run_id in found:
                self._remove(self._entries[run_id])
            return len(found)

    # -- entries, all under the lock ---------------------------------------------------------------

    def _add(self, entry: _Entry, events: Sequence[HistoryEvent], tasks: Sequence[Task]) -> None:
        run = entry.run
        entry.record(events)
        self._entries[run.run_id] = entry
        self._by_id.setdefault((run.namespace, run.workflow_id), []).append(run.run_id)
        if run.status.open:
            self._open[run.namespace, run.workflow_id] = run.run_id
        if run.start_key:
            self._starts[run.namespace, run.start_key] = run.run_id
        for task in tasks:
            self._put(entry, task)

    def _remove(self, entry: _Entry) -> None:
        run = entry.run
        del self._entries[run.run_id]
        self._by_id[run.namespace, run.workflow_id].remove(run.run_id)
        if run.status.open:
            del self._open[run.namespace, run.workflow_id]
        self._starts.pop((run.namespace, run.start_key), None)

    def _put(self, entry: _Entry, row: Task) -> None:
        key = (row.kind, row.seq)
        before = entry.tasks.get(key)
        entry.tasks[key] = row
        if row.due_at is not None and (before is None or before.due_at != row.due_at):
            heappush(self._due.setdefault(entry.run.namespace, []), (row.due_at, row.run_id, *key))

    def _find(self, namespace: str, workflow_id: str | None, run_id: str | None) -> _Entry | None:
        if run_id is not None:
            entry = self._entries.get(run_id)
            return entry if entry is not None and entry.run.namespace == namespace else None
        return self._latest(namespace, workflow_id)

    def _latest(self, namespace: str, workflow_id: str | None) -> _Entry | None:
        """Return the open run with this workflow id, else the one created last."""
        if workflow_id is None:
            return None
        entries = [self._entries[run_id] for run_id in self._by_id.get((namespace, workflow_id), ())]
        entries.reverse()  # of runs created in the same microsecond max() is to find the one added last
        return max(entries, key=lambda each: (each.run.status.open, each.run.created_at), default=None)

    def _run_out(self, run_id: str) -> Run:
        return _copy(self._entries[run_id].run)


def _wall_clock() -> Micros:
    return time.time_ns() // 1000


def _view(entry: _Entry, known: tuple[str, int] | None, now: Micros) -> TurnView:
    after = known[1] if known and known[0] == entry.run.epoch and known[1] <= entry.run.version else 0
    turn = entry.tasks.get(TURN)
    return TurnView(
        run=_copy(entry.run),
        events=[_copy(event) for event in entry.events[after:]],
        inbox=[_copy_item(item) for item in entry.inbox.values()],
        now=now,
        complete=after == 0,
        claims=turn.attempt if turn else 0,
    )


def _check(commit: Commit) -> None:
    if commit.leave_due and not commit.status.open:
        raise ValueError(f"a commit that makes the run {commit.status} can't leave its turn due")
    numbers = [event.number for event in commit.events]
    expected = list(range(commit.version + 1, commit.version + 1 + len(numbers)))
    if numbers != expected:
        raise ValueError(f"the events after version {commit.version} are numbered {numbers}, not {expected}")


def _check_keys(entry: _Entry, commit: Commit) -> None:
    taken = set(entry.tasks) - set(commit.dropped) if commit.status.open else set()
    if commit.settles is not None:
        taken.discard((commit.settles.kind, commit.settles.seq))
    for task in commit.tasks:
        key = (task.kind, task.seq)
        if key in taken:
            raise ValueError(f"the run has a row {task.kind} {task.seq} already")
        taken.add(key)


def _gate(entry: _Entry | None, commit: Commit) -> CommitOutcome | None:
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
