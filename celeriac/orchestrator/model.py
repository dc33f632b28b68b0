"""The values that engine and stores exchange. All times are integers: microseconds since the epoch, by the store's clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from celeriac.frozen import quick
from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.status import MessageKind, TaskKind, TaskState, WorkflowStatus
from celeriac.payloads import Json

SECOND: Final = 1_000_000
"""Microseconds in a second."""
Micros = int
"""A time since the epoch, or a length of time, in microseconds."""


def micros(seconds: float) -> Micros:
    """Turn seconds into microseconds."""
    return round(seconds * SECOND)


def moment(at: Micros) -> datetime:
    """Turn a store's time into an aware datetime (UTC)."""
    return datetime.fromtimestamp(at // SECOND, UTC).replace(microsecond=at % SECOND)


@quick
@dataclass(frozen=True, slots=True)
class Run:
    """One row of ``runs``.

    :param version: the number of the run's last event; every commit names the one that it saw.
    :param epoch: a random name of this branch of the history: new on create, save and rewind.
    :param inbox_seq: how many messages have ever arrived; the last one's number.
    :param turns: how many turns have committed; 0 means that the code has not run yet.
    :param waits: what the run waits for, each a phrase, as of the last commit.
    :param blocked: why the last turn could not be carried out, or None.
    :param origin: how the executor that started it gets back to the starter (for Celery: execution options); opaque here.
    """

    run_id: str
    workflow_id: str
    namespace: str
    name: str
    status: WorkflowStatus
    version: int
    epoch: str
    inbox_seq: int
    created_at: Micros
    updated_at: Micros
    definition_version: str = ""
    queue: str | None = None
    start_key: str = ""
    input: Json = None
    """``{"args": [...], "kwargs": {...}}`` as recorded."""
    result: Json = None
    failure: dict[str, Json] | None = None
    closed_at: Micros | None = None
    parent_run_id: str | None = None
    memo: dict[str, Json] | None = None
    attributes: dict[str, Json] | None = None
    waits: Sequence[str] = ()
    blocked: dict[str, Json] | None = None
    origin: dict[str, Json] | None = None
    turns: int = 0


@quick
@dataclass(frozen=True, slots=True)
class Task:
    """One row of ``tasks``: something that must happen later. The key is (run_id, kind, seq).

    :param seq: the command's number for activities and timers, 0 for the rest.
    :param due_at: when the relay must look at it; None for an idle turn row.
    :param attempt: which attempt an activity is at, from 1; for a turn row, claims since the last commit.
    :param inner: how often Celery's own ``self.retry`` has gone round within this attempt.
    :param data: what is to be done, enough to publish it.
    :param published: how often it has been published, or its publication put off, without being claimed; sets the back-off.
    :param start_to_close: the longest one attempt may take, in microseconds.
    :param heartbeat: the longest an attempt may go without a heartbeat, in microseconds.
    :param details: the last heartbeat's details.
    :param failure: how the last attempt ended.
    """

    run_id: str
    kind: TaskKind
    seq: int
    state: TaskState
    due_at: Micros | None
    namespace: str = ""
    attempt: int = 1
    inner: int = 0
    queue: str | None = None
    data: dict[str, Json] = field(default_factory=dict)
    token: str | None = None
    worker: str = ""
    published: int = 0
    started_at: Micros | None = None
    lease_until: Micros | None = None
    heartbeat_by: Micros | None = None
    start_to_close_by: Micros | None = None
    schedule_to_start_by: Micros | None = None
    schedule_to_close_by: Micros | None = None
    start_to_close: Micros | None = None
    heartbeat: Micros | None = None
    cancel_requested: bool = False
    details: Json = None
    failure: dict[str, Json] | None = None

    @property
    def repeatable(self) -> bool:
        """Whether it may be attempted more than once, so that a claim which comes to nothing does no harm."""
        if self.kind is not TaskKind.ACTIVITY:
            return True
        policy: Any = (self.data.get("options") or {}).get("retry") or {}
        return bool(policy.get("max_attempts", 0) != 1)


@quick
@dataclass(frozen=True, slots=True)
class Message:
    """Something for a run's inbox.

    :param key: unique in the run for as long as the run exists: the same key again is the same message.
    """

    kind: MessageKind
    key: str
    data: dict[str, Json]


@quick
@dataclass(frozen=True, slots=True)
class InboxItem:
    """A message in the inbox, in order of arrival."""

    number: int
    message: Message
    at: Micros


class IdReuse(StrEnum):
    """Whether the id of closed runs may be taken again."""

    ALLOW = "allow"
    AFTER_FAILURE = "after_failure"
    NEVER = "never"


class IdConflict(StrEnum):
    """What starting does when the id belongs to an open run."""

    FAIL = "fail"
    ATTACH = "attach"
    TERMINATE = "terminate"


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run to create.

    :param start_key: unique in the namespace: the same key again is the same start.
    :param started: the first event.
    :param timeout: how long the run may take, in microseconds.
    :param turn_due: microseconds from now until the relay publishes the first turn itself (it is published right after).
    """

    run_id: str
    workflow_id: str
    namespace: str
    name: str
    epoch: str
    start_key: str
    started: Any
    input: Json
    definition_version: str = ""
    queue: str | None = None
    timeout: Micros | None = None
    origin: dict[str, Json] | None = None
    memo: dict[str, Json] | None = None
    attributes: dict[str, Json] | None = None
    parent_run_id: str | None = None
    id_reuse: IdReuse = IdReuse.ALLOW
    turn_due: Micros = 10 * SECOND


class CreateOutcome(StrEnum):
    """What became of a start."""

    CREATED = "created"
    SAME_START = "same_start"
    """The same start key came before; the run is that one, whatever its status."""
    OPEN_EXISTS = "open_exists"
    REUSE_REFUSED = "reuse_refused"


@dataclass(frozen=True, slots=True)
class Created:
    """The answer to a start: the run that there is now."""

    outcome: CreateOutcome
    run: Run


class DeliveryOutcome(StrEnum):
    """What became of a message."""

    DELIVERED = "delivered"
    DUPLICATE = "duplicate"
    """The same key came before; nothing was written."""
    NOT_FOUND = "not_found"
    CLOSED = "closed"
    REFUSED = "refused"
    """The task row that the message is the outcome of is gone, or claimed by another; nothing was written."""


@quick
@dataclass(frozen=True, slots=True)
class Delivery:
    """The answer to a delivery.

    :param wake: this delivery made the run's turn due, so its deliverer, and no other, publishes the turn.
    """

    outcome: DeliveryOutcome
    run: RunRef | None = None
    wake: bool = False


@quick
@dataclass(frozen=True, slots=True)
class RunRef:
    """As much of a run as publishing for it needs."""

    run_id: str
    workflow_id: str
    namespace: str
    name: str
    queue: str | None
    status: WorkflowStatus


@quick
@dataclass(frozen=True, slots=True)
class TurnView:
    """What a turn reads, from one snapshot.

    :param events: those after the version that the reader said it knows; all of them when the epoch differs.
    :param complete: whether ``events`` starts from the first.
    :param now: the store's clock.
    :param claims: how often the turn has been claimed since the last commit, this time included.
    """

    run: Run
    events: Sequence[HistoryEvent]
    inbox: Sequence[InboxItem]
    now: Micros
    complete: bool
    claims: int = 0


@quick
@dataclass(frozen=True, slots=True)
class Fence:
    """Names one claim of one task row; nothing is written for it once the row has another token, or is gone."""

    run_id: str
    kind: TaskKind
    seq: int
    token: str


@quick
@dataclass(frozen=True, slots=True)
class Commit:
    """All that one turn decided, to be written in one transaction or not at all.

    Gated by ``epoch`` and ``version``, and, unless ``leave_due``, by ``inbox_seq``: the commit is refused when a message has
    arrived that the turn has not seen.

    :param events: the new events, numbered from ``version + 1``.
    :param consumed: numbers of the inbox items that were applied or dropped; exactly these are deleted.
    :param tasks: new task rows; the store gives them the run's namespace.
    :param dropped: (kind, seq) of task rows that are no longer wanted; deleted, whoever has claimed them.
    :param canceling: sequence numbers of activities that are asked to stop and waited for.
    :param turn_token: the claim of the turn row, or None for a turn that was taken without one.
    :param settles: the claim of an activity whose outcome is among the events; the commit is refused when it is gone.
    :param leave_due: commit although more has arrived, and leave the turn due. Never with a closing status.
    :param origin: replaces the run's origin unless None.
    """

    run_id: str
    epoch: str
    version: int
    inbox_seq: int
    status: WorkflowStatus
    events: Sequence[HistoryEvent] = ()
    consumed: Sequence[int] = ()
    tasks: Sequence[Task] = ()
    dropped: Sequence[tuple[TaskKind, int]] = ()
    canceling: Sequence[int] = ()
    result: Json = None
    failure: dict[str, Json] | None = None
    waits: Sequence[str] = ()
    turn_token: str | None = None
    settles: Fence | None = None
    leave_due: bool = False
    origin: dict[str, Json] | None = None


class CommitOutcome(StrEnum):
    """What became of a commit."""

    COMMITTED = "committed"
    INBOX_MOVED = "inbox_moved"
    """More has arrived; nothing was written. Read it and go on, or commit with ``leave_due``."""
    CONFLICT = "conflict"
    """The run has moved on (version or epoch), or is gone; nothing was written. Discard the turn."""
    FENCED = "fenced"
    """The claim in ``settles`` is gone; nothing was written."""


@quick
@dataclass(frozen=True, slots=True)
class Claim:
    """A claimed activity attempt: the row as it is now, with its token, and the run it belongs to.

    :param head: the run's row as of the claim, where its inbox was empty and it was running; input, result, memo and the
        like may be left out. A process that has the run's code in memory at just that version can take the next turn
        without reading anything. None where a store does not tell.
    :param events: what the head's history has beyond the version that the claim said is known, where that is little.
    """

    task: Task
    run: RunRef
    now: Micros
    head: Run | None = None
    events: Sequence[HistoryEvent] = ()

    @property
    def fence(self) -> Fence:
        """Return what guards this attempt's outcome."""
        return Fence(self.task.run_id, self.task.kind, self.task.seq, self.task.token or "")


NOTHING_KNOWN: Final = ("", 0)
"""The (epoch, version) of a run of which a process has nothing in memory."""


@dataclass(frozen=True, slots=True)
class DueTask:
    """A task row that was due and is held by this relay for a while."""

    task: Task
    run: RunRef
    now: Micros
    origin: dict[str, Json] | None = None


class Pulse(StrEnum):
    """What a renewal or heartbeat learns of its attempt."""

    ALIVE = "alive"
    CANCEL = "cancel"
    """The workflow asks the activity to stop and waits for it."""
    GONE = "gone"
    """The attempt is no longer wanted: canceled, timed out, or taken by another."""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to list, newest first.

    :param created_after: later than this (microseconds), and not at it.
    :param created_before: earlier than this (microseconds), and not at it.
    :param cursor: the ``run_id`` after which to go on, from the last page; one that has been deleted ends the list.
    """

    statuses: Sequence[WorkflowStatus] = ()
    name: str | None = None
    workflow_id: str | None = None
    parent_run_id: str | None = None
    created_after: Micros | None = None
    created_before: Micros | None = None
    limit: int = 100
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class WorkflowState:
    """A whole run: what ``load`` returns and ``save`` restores."""

    run: Run
    history: Sequence[HistoryEvent]
    inbox: Sequence[InboxItem] = ()
    tasks: Sequence[Task] = ()
