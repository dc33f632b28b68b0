"""What the engine needs of the world, as protocols. Adapters implement them; they store and carry, they never decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, runtime_checkable

from celeriac.activities.context import ActivityContext
from celeriac.activities.definition import ActivityDefinition
from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.model import (
    Claim,
    Commit,
    CommitOutcome,
    Created,
    Delivery,
    DueTask,
    Fence,
    Message,
    Micros,
    NewRun,
    Pulse,
    Run,
    RunFilter,
    RunRef,
    Task,
    TurnView,
    WorkflowState,
)
from celeriac.orchestrator.status import TaskKind, WorkflowStatus
from celeriac.payloads import Json


@runtime_checkable
class Store(Protocol):
    """Where every promise is kept. Atomic per run; one clock, the store's; safe for use by many threads and across fork.

    Every method may raise ``StoreUnavailable``; nothing is known to have been written then. Deadlocks and busy databases are
    retried inside, bounded. A commit whose acknowledgement was lost is looked up, never repeated blindly.
    """

    # -- life ----------------------------------------------------------------------------------------------------------

    def now(self) -> Micros:
        """Return the store's clock."""
        ...

    def check(self) -> None:
        """Raise ``SchemaMismatch`` or ``StoreUnavailable`` unless the store can be used; creates what may be created freely."""
        ...

    def close(self) -> None:
        """Let go of connections that the store made itself."""
        ...

    # -- starting and delivering ---------------------------------------------------------------------------------------

    def create(self, new: NewRun) -> Created:
        """Write a run, its first event and its turn row (queued), or say why not. The same start key is the same start."""
        ...

    def create_many(self, many: Sequence[NewRun]) -> Sequence[Created]:
        """Do the same for many runs that have nothing to do with one another, and say of each, in order, what became of it.

        One that is refused leaves the others as they are, and of two with the same id, or the same start key, the first counts.
        After an exception any of them may have been written; the same starts once more are the same starts. Stores that can
        write a few hundred together for the price of a few; one that derives from this class and can't has this loop.

        :param many: up to a few hundred.
        """
        return [self.create(each) for each in many]

    def deliver(
        self, message: Message, *, namespace: str, workflow_id: str | None = None, run_id: str | None = None
    ) -> Delivery:
        """Put a message into the inbox of an open run: the one with this run id, or the open one with this workflow id.

        In one transaction: the run's ``inbox_seq`` grows by one and numbers the message, a key that has been seen before
        writes nothing, and an idle turn row becomes queued (``wake``). A blocked run's queued turn is woken too. A
        paused run's turn row becomes queued without a due time, and nobody is woken.

        Without an open run the answer is about the latest with this workflow id: a duplicate, or closed.
        """
        ...

    def settle(self, fence: Fence, message: Message) -> Delivery:
        """Deliver the outcome of a task row and delete the row, in one transaction; refused unless the token still holds.

        An empty token matches a row that nobody has claimed. When a message with the same key has come another way
        already, the row is deleted all the same and the answer is a duplicate.
        """
        ...

    # -- turns ---------------------------------------------------------------------------------------------------------

    def begin_turn(self, run_id: str, *, token: str, lease: Micros, known: tuple[str, int] | None) -> TurnView | None:
        """Claim the run's turn if it is due, and read what the turn needs.

        A claim holds until its ``lease_until``, whatever a relay has made of ``due_at`` meanwhile.

        :param known: (epoch, version) that the caller has seen already; events up to it are left out.
        :returns: None when there is nothing to do: the run is gone, closed or paused, or its turn is idle or claimed.
        """
        ...

    def read_turn(self, run_id: str, *, known: tuple[str, int] | None) -> TurnView | None:
        """Read the same without claiming. None when there is no such run."""
        ...

    def commit(self, commit: Commit) -> CommitOutcome:
        """Write all that a turn decided, or nothing.

        A closing status frees the workflow id, deletes the run's inbox and its task rows, but keeps those in ``tasks``.
        A run that was paused while its turn ran takes no commit but one that terminates it or times it out: any
        other is a ``CONFLICT``.

        A claim of the turn row by anybody but ``turn_token`` is left alone. Otherwise the row is idle afterwards, or
        with ``leave_due`` queued and due now: a turn that leaves messages in the inbox has to say ``leave_due``.

        :raises ValueError: ``leave_due`` with a closing status, or events that don't go on from the version.
        """
        ...

    def release_turn(
        self,
        run_id: str,
        *,
        token: str,
        delay: Micros,
        blocked: Mapping[str, Json] | None = None,
        declined: bool = False,
    ) -> bool:
        """Give a claimed turn back, due again after ``delay``.

        :param blocked: why it could not be carried out: the run's status becomes ``blocked`` unless it was paused
            meanwhile, and its claims are counted anew.
        :param declined: this process can't do it but another may: the claim does not count, the status stays, and
            ``blocked`` is only noted.
        """
        ...

    def wake_blocked(self, namespace: str) -> int:
        """Make the turns of blocked runs due now, and return how many those were: perhaps there is new code.

        Not of those that kill their workers (``killed`` in what is noted as ``blocked``): each worker that starts because one
        of them has killed it would be killed by it again.
        """
        ...

    def set_status(self, run_id: str, status: WorkflowStatus) -> Delivery:
        """Pause, or take up again, an open run; one that was paused or blocked has its turn due then (``wake``).

        :raises ValueError: a status other than running and paused.
        """
        ...

    # -- activities ----------------------------------------------------------------------------------------------------

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
        """Claim an attempt: queued, or running with a lower ``inner`` (Celery's own retry overtook its release).

        :param known: the (epoch, version) of the run that the process has in memory, ``NOTHING_KNOWN`` if it has none of it; a
            store may return what is newer. None: whatever it has, nothing is to come along.
        :returns: None when the attempt is not to be run: done, canceled, superseded, or claimed by another.
        """
        ...

    def requeue(
        self,
        fence: Fence,
        *,
        delay: Micros,
        grace: Micros,
        next_attempt: bool,
        failure: Mapping[str, Json] | None = None,
    ) -> bool:
        """Give a claimed row back as queued: free to be claimed now, and due for the relay after ``delay + grace``.

        :param next_attempt: it counts as a new attempt, whose time in the queue starts after ``delay``.
        """
        ...

    def renew(self, fences: Sequence[Fence], *, lease: Micros) -> Mapping[Fence, Pulse]:
        """Move on the leases of attempts that are running, in one statement or two for all of them."""
        ...

    def heartbeat(self, fence: Fence, details: Json) -> Pulse:
        """Record progress and move on the heartbeat's deadline."""
        ...

    # -- the relay -----------------------------------------------------------------------------------------------------

    def take_due(self, namespace: str, *, limit: int, hold: Micros) -> Sequence[DueTask]:
        """Take the rows that are due, the longest due first, and make them due again after ``hold``, committed.

        Rows that another relay is taking are passed over. A row is returned as it was before its ``due_at`` was moved.
        Of a paused run only the row of its timeout is taken, of a closed one only that of its last message.
        """
        ...

    def next_due(self, namespace: str) -> Micros | None:
        """Return the earliest ``due_at`` of the rows that :meth:`take_due` may take, or None. It may have passed."""
        ...

    def postpone(self, task: Task, *, delay: Micros, published: int) -> None:
        """Move a row's ``due_at`` to ``delay`` from now unless it has been claimed or has moved on meanwhile."""
        ...

    def remove_task(self, run_id: str, kind: TaskKind, seq: int) -> bool:
        """Delete a row, whoever has claimed it. A crash of the store may bring it back."""
        ...

    def hold_lease(self, name: str, holder: str, *, lease: Micros) -> bool:
        """Take or renew a named lease; False while another holder has it."""
        ...

    # -- reading -------------------------------------------------------------------------------------------------------

    def find_run(
        self,
        namespace: str,
        *,
        workflow_id: str | None = None,
        run_id: str | None = None,
        start_key: str | None = None,
    ) -> Run | None:
        """Return the run with this run id, the one of this start, or the latest with this workflow id.

        The open run, if there is one, is the latest.
        """
        ...

    def history(self, run_id: str, *, after: int = 0, limit: int | None = None) -> Sequence[HistoryEvent]:
        """Return a run's events in order."""
        ...

    def tasks(self, run_id: str) -> Sequence[Task]:
        """Return a run's task rows."""
        ...

    # -- the specification's four --------------------------------------------------------------------------------------

    def save(self, state: WorkflowState) -> None:
        """Restore a whole run under a new epoch (import, move between stores), in place of the run with its run id.

        Task rows are written as they are: an open run has to bring its turn row.

        :raises StoreError: its workflow id belongs to another open run, or its start key to another run.
        """
        ...

    def load(self, namespace: str, workflow_id: str) -> WorkflowState | None:
        """Return the latest run with this workflow id, whole, or None."""
        ...

    def list(self, namespace: str, where: RunFilter) -> Sequence[Run]:
        """Return runs, newest first, a page at a time."""
        ...

    def delete(self, namespace: str, workflow_id: str) -> int:
        """Delete all runs with this workflow id and return how many there were.

        :raises StoreError: one of them is open; cancel or terminate it first.
        """
        ...

    def purge(self, namespace: str, *, closed_before: Micros, limit: int) -> int:
        """Delete runs that closed earlier than a time, the first closed first, in one transaction, and return how many.

        A run whose last message is not known to have arrived is kept. A run that somebody else is deleting may be passed over.

        :param limit: how many at most.
        """
        ...


@runtime_checkable
class CommitsMeanwhile(Protocol):
    """A store whose commits leave their caller time for something else."""

    def commit_meanwhile(self, commit: Commit, meanwhile: Callable[[], None]) -> CommitOutcome:
        """Do what :meth:`Store.commit` does, and call ``meanwhile`` once the commit is on its way, if that can be arranged.

        What ``meanwhile`` raises goes on to the caller, who knows as little of the commit then as after a lost answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class TurnReady:
    """Tell a worker that a run's turn is due."""

    run: RunRef
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Early:
    """What a hint says that went out before the commit that it tells of was known to have come through.

    :param version: the run's once that commit has.
    :param mark: of what that commit wants under this number; another commit may have taken its place, and want something else.
    """

    version: int
    mark: int


@dataclass(frozen=True, slots=True)
class ActivityReady:
    """Tell a worker that an activity's attempt is to be claimed.

    :param data: what the task row holds: ``name``, ``args``, ``kwargs``, ``options``.
    :param delay: seconds until it may be claimed; short ones only.
    :param early: there may be nothing to be claimed yet, or ever.
    """

    run: RunRef
    seq: int
    attempt: int
    data: Mapping[str, Json] = field(default_factory=dict)
    queue: str | None = None
    delay: float = 0.0
    early: Early | None = None


@dataclass(frozen=True, slots=True)
class RunFinished:
    """Tell the one who started the run that it has closed.

    :param closed: the run as it was closed; None where somebody else has closed it.
    """

    run: RunRef
    origin: Mapping[str, Json] | None = None
    closed: Run | None = None


Hint = TurnReady | ActivityReady | RunFinished


@runtime_checkable
class Dispatcher(Protocol):
    """Carries hints to workers. May lose, repeat and reorder them: the store's task rows make up for it."""

    def publish(self, hints: Sequence[Hint]) -> None:
        """Publish hints, in order, bounded in time. An exception costs latency, never work."""
        ...

    def publish_early(self, hints: Sequence[ActivityReady]) -> bool:
        """Publish hints that are ``early``, all of them, or say False: then they are published after the commit.

        Not for activities that are begun without a claim.
        """
        ...

    def expect(self, due_at: Micros) -> None:
        """Tell the relay nearby that something falls due at this time of the store's clock."""
        ...

    def backlog(self, queue: str | None) -> int | None:
        """Return how many messages wait in a queue, or None where that can't be told."""
        ...


class LocalRunner(Protocol):
    """Calls the functions of local activities, one after the other, on the thread that takes the turn.

    Entered for a stretch of calls and left after it.
    """

    def __enter__(self) -> Self:
        """Begin a stretch of calls."""
        ...

    def __exit__(self, *_: object) -> None:
        """Let go of what the calls needed."""
        ...

    def call(
        self,
        activity: ActivityDefinition,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        context: ActivityContext,
        limit: float | None,
    ) -> Any:
        """Call an activity's function, await it where that is called for, and return what it returns or raise what it raises.

        :param limit: seconds it may take, or None.
        :raises TookTooLong: it took longer.
        :raises Held: this process has no such function.
        """
        ...

    def lets_through(self, error: BaseException) -> bool:
        """Whether an exception is not the function's: the process is told to end, a time limit strikes."""
        ...


@runtime_checkable
class SignalBus(Protocol):
    """Carries short texts between processes at once or not at all."""

    def publish(self, channel: str, text: str) -> None:
        """Send a text to everybody who listens."""
        ...

    def listen(self, channels: Sequence[str], on_message: Callable[[str, str], None]) -> Callable[[], None]:
        """Call ``on_message(channel, text)`` for each text from now on, from a thread of the bus; returns what stops it."""
        ...

    def close(self) -> None:
        """Let go of connections that the bus made itself."""
        ...
