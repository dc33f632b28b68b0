"""What the contract's tests stand on: a namespace of their own, runs in any state, a clock to move."""

from __future__ import annotations

import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Self

from celeriac.orchestrator.events import Event, HistoryEvent, WorkflowStarted
from celeriac.orchestrator.model import (
    SECOND,
    Claim,
    Commit,
    CommitOutcome,
    CreateOutcome,
    Delivery,
    Message,
    Micros,
    NewRun,
    Run,
    Task,
    TurnView,
)
from celeriac.orchestrator.ports import Store
from celeriac.orchestrator.status import MessageKind, TaskKind, TaskState, WorkflowStatus

Advance = Callable[[Store, Micros], None]

MINUTE: Final = 60 * SECOND
"""A lease that holds for as long as a test takes."""
MOMENT: Final = 20_000
"""A lease of 20 ms, for tests that wait until it has run out."""


class ManualClock:
    """A clock for stores that take one: stands still until it is moved.

    :param start: microseconds since the epoch; deliberately no round number of milliseconds.
    """

    def __init__(self, start: Micros = 1_700_000_000_123_457) -> None:
        self._now = start

    def __call__(self) -> Micros:
        """Return the time in microseconds."""
        return self._now

    def advance(self, length: Micros) -> None:
        """Move on by ``length`` microseconds."""
        self._now += length


def wait_until_passed(store: Store, length: Micros) -> None:
    """Wait until the store's own clock has moved on by ``length`` microseconds.

    :raises TimeoutError: it has not within 5 s more than that.
    """
    until = store.now() + length
    give_up = time.monotonic() + length / SECOND + 5
    while (left := until - store.now()) > 0:
        if time.monotonic() > give_up:
            raise TimeoutError(f"the store's clock is {left} µs short of the {length} µs waited for")
        time.sleep(left / SECOND)


def race(*calls: Callable[[], Any]) -> list[Any]:
    """Make all calls at once, each in a thread of its own, and return what they returned, in order."""
    line = threading.Barrier(len(calls))
    interval = sys.getswitchinterval()

    def run(call: Callable[[], Any]) -> Any:
        line.wait(timeout=30)
        return call()

    sys.setswitchinterval(1e-6)  # so that threads of this process get in between each other's steps
    try:
        with ThreadPoolExecutor(len(calls)) as pool:
            return [future.result(timeout=60) for future in [pool.submit(run, call) for call in calls]]
    finally:
        sys.setswitchinterval(interval)


@dataclass(slots=True)
class Span:
    """The store's time just before and just after something was done; the same if its clock stands still."""

    store: Store
    before: Micros = 0
    after: Micros = 0

    def __enter__(self) -> Self:
        """Read the clock."""
        self.before = self.store.now()
        return self

    def __exit__(self, *_: object) -> None:
        """Read the clock again."""
        self.after = self.store.now()

    def covers(self, at: Micros | None, *, plus: Micros = 0) -> bool:
        """Whether ``at`` is a time in the span, ``plus`` microseconds later."""
        return at is not None and self.before <= at - plus <= self.after


@dataclass(slots=True)
class World:
    """A namespace nobody else uses, in the store under test.

    :param second: another connection to the same data, or the same store.
    """

    store: Store
    second: Store
    advance: Advance
    namespace: str = field(default_factory=lambda: f"contract-{uuid.uuid4().hex}")

    # -- time --------------------------------------------------------------------------------------

    def wait(self, length: Micros) -> None:
        """Let ``length`` microseconds of the store's time pass."""
        self.advance(self.store, length)

    def span(self) -> Span:
        """Note the store's time before and after a ``with`` block."""
        return Span(self.store)

    @property
    def redeliver_after(self) -> Micros:
        """How long after a wake-up the relay publishes the turn itself."""
        return int(getattr(self.store, "redeliver_after", 10 * SECOND))

    # -- values ------------------------------------------------------------------------------------

    def new(self, workflow_id: str | None = None, **fields: Any) -> NewRun:
        """Return a run to create; every id that is not given is a new one."""
        given: dict[str, Any] = {
            "run_id": uuid.uuid4().hex,
            "workflow_id": f"wf-{uuid.uuid4().hex}" if workflow_id is None else workflow_id,
            "namespace": self.namespace,
            "name": "shop.fulfil",
            "epoch": uuid.uuid4().hex,
            "start_key": uuid.uuid4().hex,
            "started": WorkflowStarted("shop.fulfil", args=["A"], seed="7"),
            "input": {"args": ["A"], "kwargs": {}},
        }
        return NewRun(**{**given, **fields})

    def message(self, key: str = "key", kind: MessageKind = MessageKind.SIGNAL, **data: Any) -> Message:
        """Return a message for an inbox."""
        return Message(kind, key, data or {"name": "approved"})

    def activity(self, run: Run, seq: int = 1, **fields: Any) -> Task:
        """Return the row of an activity that is queued and due in a minute."""
        due_at = self.store.now() + MINUTE
        given: dict[str, Any] = {"state": TaskState.QUEUED, "due_at": due_at, "namespace": run.namespace}
        return Task(run.run_id, TaskKind.ACTIVITY, seq, **{**given, **fields})

    def timer(self, run: Run, seq: int = 1, *, due_in: Micros = MINUTE) -> Task:
        """Return the row of a timer."""
        due_at = self.store.now() + due_in
        return Task(run.run_id, TaskKind.TIMER, seq, TaskState.QUEUED, due_at, run.namespace)

    def finish(self, run: Run, *, due_in: Micros = MINUTE) -> Task:
        """Return the row of a closing run's last message."""
        due_at = self.store.now() + due_in
        return Task(run.run_id, TaskKind.FINISH, 0, TaskState.QUEUED, due_at, run.namespace)

    def a_commit(self, run: Run, *events: Event | tuple[Event, str], **fields: Any) -> Commit:
        """Return a commit on top of ``run``; an event may come with its key."""
        now = self.store.now()
        pairs = [each if isinstance(each, tuple) else (each, None) for each in events]
        recorded = [
            HistoryEvent.of(run.version + place, now, event, key) for place, (event, key) in enumerate(pairs, 1)
        ]
        given: dict[str, Any] = {
            "inbox_seq": run.inbox_seq,
            "status": WorkflowStatus.RUNNING,
            "events": recorded,
        }
        return Commit(run.run_id, run.epoch, run.version, **{**given, **fields})

    # -- doing ---------------------------------------------------------------------------------------

    def start(self, workflow_id: str | None = None, **fields: Any) -> Run:
        """Create a run."""
        created = self.store.create(self.new(workflow_id, **fields))
        if created.outcome is not CreateOutcome.CREATED:
            raise AssertionError(f"the run was not created: {created}")
        return created.run

    def signal(self, run: Run, key: str = "key", **data: Any) -> Delivery:
        """Deliver a signal by run id."""
        return self.store.deliver(self.message(key, **data), namespace=run.namespace, run_id=run.run_id)

    def begin(self, run: Run, token: str = "turn", lease: Micros = MINUTE) -> TurnView:  # noqa: S107 - no secret
        """Claim the run's turn."""
        view = self.store.begin_turn(run.run_id, token=token, lease=lease, known=None)
        if view is None:
            raise AssertionError("the turn was not claimed")
        return view

    def commit(self, run: Run, *events: Event | tuple[Event, str], **fields: Any) -> Run:
        """Commit on top of the run as it is now, without a claim unless given, and read it back."""
        outcome = self.store.commit(self.a_commit(self.read(run), *events, **fields))
        if outcome is not CommitOutcome.COMMITTED:
            raise AssertionError(f"the commit was refused: {outcome}")
        return self.read(run)

    def claim(self, run: Run, seq: int = 1, **fields: Any) -> Claim:
        """Claim an activity's attempt."""
        given = {"attempt": 1, "inner": 0, "token": "attempt", "lease": MINUTE, "worker": "w1@host"}
        claim = self.store.claim_activity(run.run_id, seq, **{**given, **fields})
        if claim is None:
            raise AssertionError("the attempt was not claimed")
        return claim

    # -- runs in a state -------------------------------------------------------------------------------

    def idle(self, workflow_id: str | None = None, **fields: Any) -> Run:
        """Return a run whose first turn has committed, so that its turn row is idle."""
        return self.commit(self.start(workflow_id, **fields))

    def scheduled(self, **fields: Any) -> Run:
        """Return an idle run with an activity of number 1."""
        run = self.start()
        return self.commit(run, tasks=[self.activity(run, **fields)])

    def blocked(self, delay: Micros = 5 * MINUTE) -> Run:
        """Return a run whose turn could not be carried out."""
        run = self.start()
        self.begin(run)
        self.store.release_turn(run.run_id, token="turn", delay=delay, blocked={"reason": "no code"})  # noqa: S106
        return self.read(run)

    def paused(self) -> Run:
        """Return an idle run that has been paused."""
        run = self.idle()
        self.store.set_status(run.run_id, WorkflowStatus.PAUSED)
        return self.read(run)

    def closed(
        self, workflow_id: str | None = None, status: WorkflowStatus = WorkflowStatus.COMPLETED, **fields: Any
    ) -> Run:
        """Return a run that has closed."""
        return self.commit(self.start(workflow_id, **fields), status=status)

    def in_status(self, status: WorkflowStatus) -> Run:
        """Return a run in any status."""
        if status is WorkflowStatus.RUNNING:
            return self.idle()
        if status is WorkflowStatus.BLOCKED:
            return self.blocked()
        return self.paused() if status is WorkflowStatus.PAUSED else self.closed(status=status)

    # -- looking -----------------------------------------------------------------------------------------

    def read(self, run: Run) -> Run:
        """Return the run as it is now."""
        found = self.store.find_run(run.namespace, run_id=run.run_id)
        if found is None:
            raise AssertionError(f"there is no run {run.run_id!r}")
        return found

    def row(self, run: Run, kind: TaskKind = TaskKind.ACTIVITY, seq: int = 1) -> Task:
        """Return a task row that must be there."""
        for row in self.store.tasks(run.run_id):
            if (row.kind, row.seq) == (kind, seq):
                return row
        raise AssertionError(f"there is no row {kind} {seq}")

    def turn(self, run: Run) -> Task:
        """Return the run's turn row."""
        return self.row(run, TaskKind.TURN, 0)

    def keys(self, run: Run) -> list[tuple[TaskKind, int]]:
        """Return the keys of the run's task rows besides its turn row, sorted."""
        found = [(row.kind, row.seq) for row in self.store.tasks(run.run_id)]
        return sorted(key for key in found if key[0] is not TaskKind.TURN)

    def inbox(self, run: Run) -> list[tuple[int, str]]:
        """Return number and key of what waits in the run's inbox."""
        view = self.store.read_turn(run.run_id, known=None)
        return [] if view is None else [(item.number, item.message.key) for item in view.inbox]

    def due(self, limit: int = 100, hold: Micros = MINUTE) -> list[tuple[str, TaskKind, int]]:
        """Take what is due and return its keys."""
        found = self.store.take_due(self.namespace, limit=limit, hold=hold)
        return [(each.task.run_id, each.task.kind, each.task.seq) for each in found]

    def everything(self, run: Run) -> tuple[Run, Sequence[HistoryEvent], Sequence[Task], list[tuple[int, str]]]:
        """Return all there is of a run, for telling that nothing was written."""
        history = list(self.store.history(run.run_id))
        rows = sorted(self.store.tasks(run.run_id), key=lambda row: (row.kind, row.seq))
        return self.read(run), history, rows, self.inbox(run)
