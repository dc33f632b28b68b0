"""Clients and workers that do at random what real ones do, and note each call as they saw it."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

from celeriac.errors import StoreError, StoreUnavailable
from celeriac.orchestrator.events import HistoryEvent, SignalReceived, WorkflowStarted
from celeriac.orchestrator.model import (
    SECOND,
    Commit,
    Delivery,
    Fence,
    Message,
    NewRun,
    Run,
    Task,
)
from celeriac.orchestrator.ports import Store
from celeriac.orchestrator.status import MessageKind, TaskKind, TaskState, WorkflowStatus
from tests.linear.checker import UNKNOWN, Call
from tests.linear.specification import Commitment

WORKFLOW: Final = "order"
_LEASE: Final = 600 * SECOND
"""Longer than a session: what happens when a lease runs out is a matter of clocks, which the contract's tests turn."""
_RUNNING: Final = WorkflowStatus.RUNNING
_ENDS: Final = (WorkflowStatus.COMPLETED, WorkflowStatus.TERMINATED)


class Client:
    """One caller, which makes one call at a time, about the runs of one workflow id.

    :param namespace: of these runs alone.
    :param name: unlike any other caller's.
    """

    def __init__(self, store: Store, namespace: str, name: str, seed: str) -> None:
        self.calls: list[Call] = []
        self._store, self._namespace, self._name = store, namespace, name
        self._dice = random.Random(seed)
        self._runs = [f"{namespace}-none"]
        self._view: tuple[str, Any, str] | None = None
        """Of the last run that was looked at: its id, what was seen, and the claim of its turn or ""."""
        self._scheduled: list[tuple[str, int]] = []
        self._claims: list[tuple[str, int, str]] = []
        self._count = 0
        self._again: Callable[[], None] | None = None
        self._acts: list[tuple[Callable[[], None], int]] = [
            (self._start, 8),
            (self._deliver, 30),
            (self._begin, 20),
            (self._commit, 35),
            (self._read, 10),
            (self._release, 3),
            (self._pause, 6),
            (self._claim, 14),
            (self._settle, 14),
            (self._delete, 1),
            (self._purge, 2),
        ]

    def act(self) -> None:
        """Make a call; after a lost answer often the same one again, as clients do."""
        again, self._again = self._again, None
        if again is not None and self._dice.random() < 0.8:
            again()
            return
        acts, weights = zip(*self._acts, strict=True)
        act = self._dice.choices(acts, weights)[0]
        act()
        if self.calls and not self.calls[-1].known and act in (self._start, self._deliver):
            self._again = self._repeat

    # -- calls -------------------------------------------------------------------------------------

    def _start(self) -> None:
        key = f"start-{self._dice.randrange(6)}"
        self._create(self._fresh(f"{self._namespace}-run"), key)

    def _create(self, run_id: str, key: str) -> None:
        new = NewRun(
            run_id,
            WORKFLOW,
            self._namespace,
            "shop.order",
            _epoch(run_id),
            f"{self._namespace}-{key}",
            WorkflowStarted("shop.order", args=[], seed="1"),
            None,
        )

        def call() -> Any:
            created = self._store.create(new)
            self._learn(created.run.run_id)
            return created.outcome, created.run.run_id

        self._note("start", (run_id, key), call)

    def _deliver(self) -> None:
        run_id = None if self._dice.random() < 0.5 else self._a_run()
        self._send(run_id, f"key-{self._dice.randrange(12)}")

    def _send(self, run_id: str | None, key: str) -> None:
        message = Message(MessageKind.SIGNAL, key, {"name": "s"})
        name: dict[str, Any] = {"workflow_id": WORKFLOW} if run_id is None else {"run_id": run_id}
        self._note(
            "deliver",
            (run_id, key),
            lambda: self._told(self._store.deliver(message, namespace=self._namespace, **name)),
        )

    def _repeat(self) -> None:
        last = self.calls[-1]
        (self._create if last.what == "start" else self._send)(*last.given)

    def _begin(self) -> None:
        run_id, token = self._a_run(), self._fresh("turn")

        def call() -> Any:
            view = self._store.begin_turn(run_id, token=token, lease=_LEASE, known=None)
            if view is None:
                return None
            seen = _seen(view.run, [(item.number, item.message.key) for item in view.inbox])
            self._view = run_id, seen, token
            return seen

        self._note("begin", (run_id, token), call)

    def _read(self) -> None:
        run_id = self._a_run()

        def call() -> Any:
            view = self._store.read_turn(run_id, known=None)
            if view is None:
                return None
            seen = _seen(view.run, [(item.number, item.message.key) for item in view.inbox])
            if self._view is None or self._view[0] != run_id:
                self._view = run_id, seen, ""
            else:
                self._view = run_id, seen, self._view[2]
            return seen

        self._note("read", (run_id,), call)

    def _commit(self) -> None:
        if self._view is None:
            self._begin()
            return
        run_id, (_, version, inbox_seq, inbox), token = self._view
        dice = self._dice
        settles = next((each for each in self._claims if each[0] == run_id), None) if dice.random() < 0.3 else None
        ends = dice.random() < 0.1
        seq = None if ends or dice.random() < 0.5 else dice.randrange(1, 1 << 31)
        decided = Commitment(
            version,
            inbox_seq,
            dice.choice(_ENDS) if ends else _RUNNING,
            token,
            tuple(number for number, _ in inbox if dice.random() < 0.8),
            int(settles is not None or dice.random() < 0.3),
            leave_due=not ends and dice.random() < 0.2,
            schedules=seq,
            settles=None if settles is None else settles[1:],
        )
        self._note(
            "commit", (run_id, decided), lambda: self._store.commit(_commit(run_id, self._namespace, decided, inbox))
        )
        if settles is not None:
            self._claims.remove(settles)
        if seq is not None:
            self._scheduled.append((run_id, seq))
        if dice.random() < 0.8:  # else it is made again, with what is no longer so
            self._view = None

    def _release(self) -> None:
        if self._view is not None:
            run_id, _, token = self._view
            self._note("release", (run_id, token), lambda: self._store.release_turn(run_id, token=token, delay=0))

    def _pause(self) -> None:
        run_id = self._a_run()
        status = WorkflowStatus.PAUSED if self._dice.random() < 0.4 else _RUNNING
        self._note("pause", (run_id, status), lambda: self._told(self._store.set_status(run_id, status)))

    def _claim(self) -> None:
        if not self._scheduled:
            return
        run_id, seq = self._dice.choice(self._scheduled)
        token = self._fresh("attempt")

        def call() -> Any:
            claim = self._store.claim_activity(
                run_id, seq, attempt=1, inner=0, token=token, lease=_LEASE, worker=self._name
            )
            return claim is not None

        self._note("claim", (run_id, seq, token), call)
        if self.calls[-1].answer is not False:
            self._claims.append((run_id, seq, token))

    def _settle(self) -> None:
        if not self._claims:
            return
        run_id, seq, token = self._dice.choice(self._claims)
        key, fence = f"outcome-{seq}", Fence(run_id, TaskKind.ACTIVITY, seq, token)
        message = Message(MessageKind.OUTCOME, key, {"result": 1})
        self._note("settle", (run_id, seq, token, key), lambda: self._told(self._store.settle(fence, message)))

    def _delete(self) -> None:
        self._note("delete", (), lambda: self._store.delete(self._namespace, WORKFLOW))

    def _purge(self) -> None:
        self._note("purge", (), lambda: self._store.purge(self._namespace, closed_before=1 << 60, limit=100))

    # -- what they have in common ------------------------------------------------------------------

    def _note(self, what: str, given: tuple[Any, ...], call: Callable[[], Any]) -> None:
        called = time.monotonic_ns()  # one clock for all processes of a machine
        try:
            answer = call()
        except StoreUnavailable:
            answer = UNKNOWN
        except StoreError:  # of a workflow that is open
            answer = None
        self.calls.append(Call(called, time.monotonic_ns(), self._name, what, given, answer))

    def _told(self, delivery: Delivery) -> tuple[Any, ...]:
        run_id = None if delivery.run is None else delivery.run.run_id
        if run_id is not None:
            self._learn(run_id)
        return delivery.outcome, run_id, delivery.wake

    def _learn(self, run_id: str) -> None:
        if run_id not in self._runs:
            self._runs.append(run_id)

    def _a_run(self) -> str:
        return self._runs[-1] if self._dice.random() < 0.85 else self._dice.choice(self._runs)

    def _fresh(self, what: str) -> str:
        self._count += 1
        return f"{what}-{self._name}-{self._count}"


def _epoch(run_id: str) -> str:
    return uuid.uuid5(uuid.NAMESPACE_OID, run_id).hex


def _seen(run: Run, inbox: list[tuple[int, str]]) -> tuple[Any, ...]:
    return run.status, run.version, run.inbox_seq, tuple(sorted(inbox))


def _commit(run_id: str, namespace: str, decided: Commitment, inbox: tuple[tuple[int, str], ...]) -> Commit:
    keys: list[str | None] = [key for number, key in inbox if number in decided.consumed]
    keys += [None] * decided.more
    events = [
        HistoryEvent.of(number, 1, SignalReceived("s"), key) for number, key in enumerate(keys, decided.version + 1)
    ]
    settles = decided.settles
    activity = decided.schedules
    return Commit(
        run_id,
        _epoch(run_id),
        decided.version,
        decided.inbox_seq,
        WorkflowStatus(decided.status),
        events,
        decided.consumed,
        [] if activity is None else [Task(run_id, TaskKind.ACTIVITY, activity, TaskState.QUEUED, 1 << 60, namespace)],
        turn_token=decided.token or None,
        settles=None if settles is None else Fence(run_id, TaskKind.ACTIVITY, *settles),
        leave_due=decided.leave_due,
    )
