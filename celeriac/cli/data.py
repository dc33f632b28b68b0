"""Runs, events and tasks as JSON documents. The names of their fields are an interface: they stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.activities.options import ActivityOptions
from celeriac.orchestrator.model import moment
from celeriac.orchestrator.status import TaskKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from celeriac.orchestrator.events import HistoryEvent
    from celeriac.orchestrator.model import Micros, Run, Task


def iso(at: Micros | None) -> str | None:
    """Write a time in UTC as ISO 8601 has it, to the microsecond."""
    return None if at is None else moment(at).isoformat(timespec="microseconds")


def run_document(run: Run) -> dict[str, Any]:
    """Describe a run."""
    return {
        "id": run.workflow_id,
        "run_id": run.run_id,
        "name": run.name,
        "status": run.status.value,
        "namespace": run.namespace,
        "definition_version": run.definition_version,
        "queue": run.queue,
        "created_at": iso(run.created_at),
        "updated_at": iso(run.updated_at),
        "closed_at": iso(run.closed_at),
        "events": run.version,
        "waits": list(run.waits),
        "blocked": run.blocked,
        "input": run.input,
        "result": run.result,
        "failure": run.failure,
        "parent_run_id": run.parent_run_id,
        "memo": run.memo,
        "attributes": run.attributes,
    }


def event_document(event: HistoryEvent) -> dict[str, Any]:
    """Describe an event of a history."""
    return {
        "number": event.number,
        "type": event.type,
        "at": iso(event.at),
        "version": event.version,
        "data": event.data,
    }


def activity_document(task: Task) -> dict[str, Any]:
    """Describe an activity that has no outcome yet."""
    return {
        "command": task.seq,
        "name": task.data.get("name"),
        "state": task.state.value,
        "attempt": task.attempt,
        "max_attempts": ActivityOptions.from_json(task.data.get("options", {})).retry.max_attempts,
        "worker": task.worker or None,
        "started_at": iso(task.started_at),
        "due_at": iso(task.due_at),
        "lease_until": iso(task.lease_until),
        "queue": task.queue,
        "cancel_requested": task.cancel_requested,
        "last_failure": task.failure,
        "heartbeat": task.details,
    }


def timer_document(task: Task) -> dict[str, Any]:
    """Describe a timer that has not fired yet."""
    return {"command": task.seq, "fires_at": iso(task.due_at)}


def of_kind(tasks: Iterable[Task], kind: TaskKind) -> list[Task]:
    """Return the tasks of one kind, in the order of their commands."""
    return sorted((each for each in tasks if each.kind is kind), key=lambda each: each.seq)
