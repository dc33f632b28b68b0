"""The watch over the store: books of its own on what every call has done, held against the protocol at each call.

It sees each answer the moment it is given, lost or not, so that a violation is told where it happens and not where it
shows. It keeps nothing that the store has told it but the facts themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from celeriac.orchestrator.model import (
    Claim,
    Commit,
    CommitOutcome,
    Created,
    CreateOutcome,
    Delivery,
    DeliveryOutcome,
    Fence,
    Message,
    Micros,
    NewRun,
    Pulse,
    RunRef,
)
from celeriac.orchestrator.status import MessageKind, TaskKind, TaskState, WorkflowStatus
from celeriac.stores.memory import InMemoryStore
from celeriac.stores.rows import TURN
from celeriac.testing.simulate.scheduler import ManualClock

Key = tuple[str, int]
"""Run id and the activity's number."""


@dataclass(slots=True)
class RunBook:
    """What is known of one run.

    :param version: the number of its last event.
    :param arrived: how many messages have come.
    :param keys: the keys of all that has come.
    :param waiting: the messages in the inbox, by number.
    """

    version: int = 1
    arrived: int = 0
    open: bool = True
    keys: set[str] = field(default_factory=set)
    waiting: dict[int, Message] = field(default_factory=dict)


@dataclass(slots=True)
class Lease:
    """A claim of an activity that holds until then, by the store's clock."""

    token: str
    until: Micros


class Watch:
    """Sees every call of the store, by the names of its methods in :attr:`saw`."""

    def __init__(self, store: Any, clock: ManualClock) -> None:
        self._store = store
        self._clock = clock
        self.runs: dict[str, RunBook] = {}
        self.leases: dict[Key, Lease] = {}
        self.broken: list[str] = []
        """What did not hold, in the order in which it was seen. Not raised: the engine would deal with it."""
        self.starts: Counter[Key] = Counter()
        self._begun: set[str] = set()
        self.limits: dict[Key, int | None] = {}
        self.saw: dict[str, Callable[..., None]] = {
            "create": self._create,
            "create_many": self._create_many,
            "deliver": self._deliver,
            "settle": self._settle,
            "commit": self._commit,
            "claim_activity": self._claim,
            "requeue": self._requeue,
            "renew": self._renew,
            "heartbeat": self._heartbeat,
            "release_turn": lambda _, run_id, **__: self._look(run_id),
            "set_status": lambda _, run_id, *__: self._look(run_id),
        }

    # -- runs ------------------------------------------------------------------------------------------------------

    def _create(self, created: Created, new: NewRun) -> None:
        if created.outcome is CreateOutcome.CREATED:
            if new.run_id in self.runs:
                self.broken.append(f"run {new.run_id} was created twice")
            self.runs[new.run_id] = RunBook()
            self._look(new.run_id)

    def _create_many(self, created: Sequence[Created], many: Sequence[NewRun]) -> None:
        for each, new in zip(created, many, strict=True):
            self._create(each, new)

    def _deliver(self, delivery: Delivery, message: Message, **_: Any) -> None:
        if delivery.outcome is DeliveryOutcome.DELIVERED:
            self._arrived(delivery.run, message)

    def _arrived(self, ref: RunRef | None, message: Message) -> None:
        if ref is None:
            self.broken.append("a message was delivered to no run")
            return
        book = self.runs[ref.run_id]
        if not book.open:
            self.broken.append(f"{message.key} was delivered to the closed run {ref.run_id}")
        if message.key in book.keys:
            self.broken.append(f"{message.key} was delivered twice")
        book.keys.add(message.key)
        book.arrived += 1
        book.waiting[book.arrived] = message
        self._look(ref.run_id)

    def _commit(self, outcome: CommitOutcome, commit: Commit) -> None:
        if outcome is not CommitOutcome.COMMITTED:
            return
        book = self.runs[commit.run_id]
        self._hold_against(book, commit)
        if commit.status not in {WorkflowStatus.TERMINATED, WorkflowStatus.TIMED_OUT}:
            self._count_signals(book, commit)
        book.version += len(commit.events)
        if commit.settles is not None:
            self._ended(commit.settles)
            book.keys.add(f"outcome:{commit.settles.seq}")
        for number in commit.consumed:
            book.waiting.pop(number, None)
        for kind, seq in commit.dropped:
            if kind is TaskKind.ACTIVITY:
                self.leases.pop((commit.run_id, seq), None)
        self._add(book, commit)
        if not commit.status.open:
            self._close(commit.run_id, book)
        self._look(commit.run_id)

    def _add(self, book: RunBook, commit: Commit) -> None:
        """Take note of new rows. A local activity may be put off more than once, each time with another timer's row."""
        for task in commit.tasks:
            if task.kind is TaskKind.ACTIVITY:
                retry = task.data.get("options", {}).get("retry", {})
                self.limits[commit.run_id, task.seq] = retry.get("max_attempts")
            elif task.kind is TaskKind.TIMER:
                book.keys.discard(f"timer:{task.seq}")

    def _hold_against(self, book: RunBook, commit: Commit) -> None:
        """A commit that was taken: of an open run, at its version, and having seen whatever had come."""
        if not book.open:
            self.broken.append(f"a commit was taken by the closed run {commit.run_id}")
        if book.version != commit.version:
            self.broken.append(f"a commit at version {commit.version} was taken at {book.version}")
        if not commit.leave_due and commit.inbox_seq != book.arrived:
            self.broken.append(f"a commit that saw {commit.inbox_seq} messages was taken when {book.arrived} had come")
        if not book.waiting.keys() >= set(commit.consumed):
            self.broken.append(f"{commit.consumed} consumed of {sorted(book.waiting)}")

    def _count_signals(self, book: RunBook, commit: Commit) -> None:
        """A signal that is taken out of the inbox is in the history, or was refused there, with its key."""
        recorded = {each.key for each in commit.events if each.key is not None}
        for number in commit.consumed:
            message = book.waiting.get(number)
            if message is not None and message.kind is MessageKind.SIGNAL and message.key not in recorded:
                self.broken.append(f"{message.key} was taken out of the inbox and not recorded")

    def _close(self, run_id: str, book: RunBook) -> None:
        book.open = False
        book.waiting.clear()
        for key in [each for each in self.leases if each[0] == run_id]:
            del self.leases[key]

    # -- activities ------------------------------------------------------------------------------------------------

    def _claim(self, claim: Claim | None, run_id: str, seq: int, *, lease: Micros, **_: Any) -> None:
        if claim is None:
            return
        key, before = (run_id, seq), self.leases.get((run_id, seq))
        if before is not None and before.until > self._clock.now:
            self.broken.append(f"activity {seq} was claimed while another attempt held it")
        self.leases[key] = Lease(claim.fence.token, self._clock.now + lease)
        self.starts[key] += 1
        if self.starts[key] > 1 and self.limits.get(key) == 1:
            self.broken.append(f"activity {seq} may be attempted once and was started twice")

    def _ended(self, fence: Fence) -> None:
        held = self.leases.pop((fence.run_id, fence.seq), None)
        if (held.token if held is not None else "") != fence.token:
            self.broken.append(f"the end of activity {fence.seq} was taken from somebody who had lost his claim")

    def _settle(self, delivery: Delivery, fence: Fence, message: Message) -> None:
        if delivery.outcome not in {DeliveryOutcome.DELIVERED, DeliveryOutcome.DUPLICATE}:
            return
        if fence.kind is TaskKind.ACTIVITY:
            self._ended(fence)
        if delivery.outcome is DeliveryOutcome.DELIVERED:
            self._arrived(delivery.run, message)

    def begins(self, fence: Fence) -> None:
        """Note that the code of a claimed activity is begun: from now on giving the claim back does not undo the start."""
        self._begun.add(fence.token)

    def _requeue(self, returned: bool, fence: Fence, **_: Any) -> None:
        if returned:
            self._ended(fence)
            if fence.token not in self._begun:
                self.starts[fence.run_id, fence.seq] -= 1

    def _renew(self, pulses: Mapping[Fence, Pulse], _: Sequence[Fence], *, lease: Micros) -> None:
        for fence, pulse in pulses.items():
            if fence.kind is not TaskKind.ACTIVITY:
                continue
            held = self._held(fence) if pulse is not Pulse.GONE else None
            if held is not None:
                held.until = self._clock.now + lease

    def _heartbeat(self, pulse: Pulse, fence: Fence, _: Any) -> None:
        if pulse is not Pulse.GONE:
            self._held(fence)

    def _held(self, fence: Fence) -> Lease | None:
        held = self.leases.get((fence.run_id, fence.seq))
        if held is not None and held.token == fence.token:
            return held
        self.broken.append(f"a claim of activity {fence.seq} was renewed by somebody who had lost it")
        return None

    # -- the store's own books -------------------------------------------------------------------------------------

    def _look(self, run_id: str) -> None:
        """Hold the in-memory store's rows against the books, and look for a wake-up that was lost."""
        if not isinstance(self._store, InMemoryStore):
            return
        entry = self._store._shelf.entries[run_id]  # noqa: SLF001 - what it can't say about itself
        book = self.runs[run_id]
        if not entry.run.version == book.version == len(entry.events):
            self.broken.append(f"{len(entry.events)} events at v{book.version}")
        if entry.inbox.keys() != book.waiting.keys():
            self.broken.append(f"inbox {sorted(entry.inbox)}, not {sorted(book.waiting)}")
        if book.open and book.waiting:
            turn = entry.tasks.get(TURN)
            if turn is None or turn.state is TaskState.IDLE:
                self.broken.append(f"messages {sorted(book.waiting)} wait and the turn is not due")
