"""The life of a run and of a task row, each as a table."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class WorkflowStatus(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    BLOCKED = "blocked"
    """Open; its last turn could not be carried out, nothing of it was recorded, the reason is kept."""
    PAUSED = "paused"
    """Open; takes input, but no turn, until it is resumed."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    TERMINATED = "terminated"
    TIMED_OUT = "timed_out"
    CONTINUED_AS_NEW = "continued_as_new"

    @property
    def open(self) -> bool:
        """Whether the run takes input."""
        return self in OPEN

    def may_become(self, other: WorkflowStatus) -> bool:
        """Whether the table below has this transition."""
        return other in TRANSITIONS[self]


OPEN: Final = frozenset({WorkflowStatus.RUNNING, WorkflowStatus.BLOCKED, WorkflowStatus.PAUSED})
CLOSED: Final = frozenset(WorkflowStatus) - OPEN

TRANSITIONS: Final[dict[WorkflowStatus, frozenset[WorkflowStatus]]] = {
    # A turn that commits ends in running or in a close; one that can't be carried out blocks.
    WorkflowStatus.RUNNING: frozenset({*WorkflowStatus}),
    WorkflowStatus.BLOCKED: frozenset({*WorkflowStatus}),
    # A paused run takes no turn, so nothing that its own code decides can happen to it.
    WorkflowStatus.PAUSED: frozenset(
        {WorkflowStatus.RUNNING, WorkflowStatus.PAUSED, WorkflowStatus.TERMINATED, WorkflowStatus.TIMED_OUT}
    ),
    **{closed: frozenset() for closed in CLOSED},
}


class TaskKind(StrEnum):
    """What a row of the task table stands for."""

    TURN = "turn"
    """The run's one turn row: the wake-up and the lease of its turns."""
    ACTIVITY = "activity"
    TIMER = "timer"
    TIMEOUT = "timeout"
    """The end of the time that the whole run may take."""
    FINISH = "finish"
    """The last message with the workflow's own Celery task id, not yet traced by Celery."""


class TaskState(StrEnum):
    """Where a task row stands."""

    IDLE = "idle"
    """A turn row with nothing to do; never due."""
    QUEUED = "queued"
    """Published, or to be published when it falls due."""
    RUNNING = "running"
    """Claimed: ``token`` says by whom, ``due_at`` is the end of the lease or the nearest deadline."""


TASK_TRANSITIONS: Final[dict[TaskState, frozenset[TaskState]]] = {
    TaskState.IDLE: frozenset({TaskState.QUEUED}),
    TaskState.QUEUED: frozenset({TaskState.QUEUED, TaskState.RUNNING, TaskState.IDLE}),
    TaskState.RUNNING: frozenset({TaskState.QUEUED, TaskState.RUNNING, TaskState.IDLE}),
}


class MessageKind(StrEnum):
    """What came in from outside and waits in a run's inbox."""

    SIGNAL = "signal"
    OUTCOME = "outcome"
    """An activity's one outcome."""
    TIMER = "timer"
    CANCEL = "cancel"
    TIMEOUT = "timeout"

    @property
    def holds_open(self) -> bool:
        """Whether a run may not close over an unseen message of this kind."""
        return self is MessageKind.SIGNAL
