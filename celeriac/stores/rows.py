"""What becomes of rows: each transition of a run or a task row as a function of the row and the time.

No lock, no clock, nothing kept: a store that can read and replace rows atomically needs no other rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from celeriac.frozen import changed
from celeriac.orchestrator.model import Commit, Fence, Micros, NewRun, Pulse, Run, RunRef, Task
from celeriac.orchestrator.status import TaskKind, TaskState, WorkflowStatus
from celeriac.payloads import Json

TURN: Final = (TaskKind.TURN, 0)
"""The key of a run's turn row among the run's task rows."""
_ENDED_FROM_OUTSIDE: Final = frozenset({WorkflowStatus.PAUSED, WorkflowStatus.TERMINATED, WorkflowStatus.TIMED_OUT})


def ref(run: Run) -> RunRef:
    """Return as much of a run as publishing for it needs."""
    return RunRef(run.run_id, run.workflow_id, run.namespace, run.name, run.queue, run.status)


def nearest(row: Task) -> Micros | None:
    """Return the nearest deadline of a claimed row: what its ``due_at`` has to be."""
    deadlines = (row.lease_until, row.start_to_close_by, row.heartbeat_by, row.schedule_to_close_by)
    return min((each for each in deadlines if each is not None), default=None)


def holds(row: Task | None, fence: Fence) -> bool:
    """Whether the row is there and its token is the fence's; an empty token stands for an unclaimed row."""
    return row is not None and (row.token or "") == fence.token


# -- runs ------------------------------------------------------------------------------------------


def born(new: NewRun, now: Micros) -> Run:
    """Return the row of a run that starts now."""
    return Run(
        run_id=new.run_id,
        workflow_id=new.workflow_id,
        namespace=new.namespace,
        name=new.name,
        status=WorkflowStatus.RUNNING,
        version=1,
        epoch=new.epoch,
        inbox_seq=0,
        created_at=now,
        updated_at=now,
        definition_version=new.definition_version,
        queue=new.queue,
        start_key=new.start_key,
        input=new.input,
        parent_run_id=new.parent_run_id,
        memo=new.memo,
        attributes=new.attributes,
        origin=new.origin,
    )


def first_tasks(new: NewRun, now: Micros) -> list[Task]:
    """Return the rows that a run starts with: its turn, and the end of its time if that is limited."""
    due = now + new.turn_due
    turn = Task(
        new.run_id,
        TaskKind.TURN,
        0,
        TaskState.QUEUED,
        due,
        new.namespace,
        attempt=0,
        queue=new.queue,
        published=1,
    )
    if new.timeout is None:
        return [turn]
    end = now + new.timeout
    return [turn, changed(turn, kind=TaskKind.TIMEOUT, due_at=end, attempt=1, published=0)]


def takes(run: Run, commit: Commit) -> bool:
    """Whether the commit is of the run's branch and version, and the run's status lets it be written.

    A run that was paused while its turn ran keeps what it has: only an end from outside may still come to it.
    """
    if (run.epoch, run.version) != (commit.epoch, commit.version) or not run.status.open:
        return False
    return run.status is not WorkflowStatus.PAUSED or commit.status in _ENDED_FROM_OUTSIDE


def committed(run: Run, commit: Commit, now: Micros) -> Run:
    """Return the run's row after the commit."""
    return changed(
        run,
        status=commit.status,
        version=commit.version + len(commit.events),
        turns=run.turns + 1,
        updated_at=now,
        closed_at=None if commit.status.open else now,
        result=commit.result,
        failure=commit.failure,
        waits=tuple(commit.waits),
        blocked=None,
        origin=run.origin if commit.origin is None else commit.origin,
    )


# -- turn rows -------------------------------------------------------------------------------------


def queued(row: Task, due_at: Micros | None, *, published: int = 0) -> Task:
    """Return the row queued and unclaimed.

    :param published: 1 where whoever queues it publishes it too, and ``due_at`` is when that counts as lost.
    """
    return changed(row, state=TaskState.QUEUED, token=None, due_at=due_at, lease_until=None, published=published)


def turn_woken(row: Task, status: WorkflowStatus, due_at: Micros) -> tuple[Task, bool]:
    """Return the turn row after a message has arrived, and whether the deliverer is to publish the turn."""
    if status is WorkflowStatus.PAUSED:  # queued, but never due: taking the run up again makes it so
        return (queued(row, None) if row.state is TaskState.IDLE else row), False
    asleep = row.state is TaskState.IDLE
    backing_off = row.state is TaskState.QUEUED and status is WorkflowStatus.BLOCKED
    return (queued(row, due_at, published=1), True) if asleep or backing_off else (row, False)


def turn_claimed(row: Task, now: Micros, token: str, lease: Micros) -> Task | None:
    """Return the turn row with a new claim, or None when it is idle or claimed.

    The lease itself says whether it has run out, since ``due_at`` moves on when a relay takes the row.
    """
    ran_out = row.state is TaskState.RUNNING and row.lease_until is not None and row.lease_until <= now
    if row.state is not TaskState.QUEUED and not ran_out:
        return None
    until = now + lease
    return changed(
        row,
        state=TaskState.RUNNING,
        token=token,
        due_at=until,
        lease_until=until,
        started_at=now,
        attempt=row.attempt + 1,
        published=0,
    )


def turn_released(row: Task, due_at: Micros, *, blocked: bool, declined: bool) -> Task:
    """Return the turn row given back: a declined claim does not count, and a block has them counted anew."""
    attempt = row.attempt - 1 if declined else 0 if blocked else row.attempt
    return changed(queued(row, due_at), attempt=attempt)


def turn_after(row: Task, commit: Commit, now: Micros) -> Task:
    """Return the turn row after a commit that left the run open; a claim of somebody else's is left alone."""
    if row.state is TaskState.RUNNING and row.token != commit.turn_token:
        return row
    if commit.leave_due:
        return changed(queued(row, now), attempt=0)
    return changed(queued(row, None), state=TaskState.IDLE, attempt=0)


# -- activity rows ---------------------------------------------------------------------------------


def attempt_claimed(
    row: Task, now: Micros, *, attempt: int, inner: int, token: str, lease: Micros, worker: str
) -> Task | None:
    """Return the activity's row with a new claim, or None when this attempt is not to be run."""
    free = row.state is TaskState.QUEUED or (row.state is TaskState.RUNNING and row.inner < inner)
    if not free or row.attempt != attempt or row.cancel_requested:
        return None
    claimed = changed(
        row,
        state=TaskState.RUNNING,
        token=token,
        worker=worker,
        inner=inner,
        published=0,
        started_at=now,
        lease_until=now + lease,
        start_to_close_by=None if row.start_to_close is None else now + row.start_to_close,
        heartbeat_by=None if row.heartbeat is None else now + row.heartbeat,
        schedule_to_start_by=None,
    )
    return changed(claimed, due_at=nearest(claimed))


def attempt_returned(
    row: Task, due_at: Micros, failure: Mapping[str, Json] | None, *, next_attempt: bool, published: bool
) -> Task:
    """Return the activity's row given back; the time that everything may take still ends when it ends."""
    if row.schedule_to_close_by is not None:
        due_at = min(due_at, row.schedule_to_close_by)
    return changed(
        queued(row, due_at, published=int(published)),
        attempt=row.attempt + 1 if next_attempt else row.attempt,
        inner=0 if next_attempt else row.inner,
        worker="",
        started_at=None,
        heartbeat_by=None,
        start_to_close_by=None,
        schedule_to_start_by=None,
        failure=row.failure if failure is None else dict(failure),
    )


def renewed(row: Task, now: Micros, lease: Micros) -> Task:
    """Return a claimed row with its lease moved on."""
    moved = changed(row, lease_until=now + lease)
    return changed(moved, due_at=nearest(moved))


def beaten(row: Task, now: Micros, details: Json) -> Task:
    """Return a claimed row after a heartbeat."""
    by = None if row.heartbeat is None else now + row.heartbeat
    moved = changed(row, details=details, heartbeat_by=by)
    return changed(moved, due_at=nearest(moved))


def pulse(row: Task) -> Pulse:
    """Return what a claimed row tells whoever holds it."""
    return Pulse.CANCEL if row.cancel_requested else Pulse.ALIVE


def served(run: Run, kind: TaskKind) -> bool:
    """Whether a relay may take a due row of this kind of this run."""
    if not run.status.open:
        return kind is TaskKind.FINISH
    return run.status is not WorkflowStatus.PAUSED or kind is TaskKind.TIMEOUT
