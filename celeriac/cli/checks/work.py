"""Whether somebody is there to do what is due."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from celeriac.cli.checks.finding import SAMPLE, Finding, Patient, fail, ok, warn
from celeriac.cli.text import count, span
from celeriac.orchestrator.model import SECOND
from celeriac.orchestrator.status import TaskKind, TaskState, WorkflowStatus

LATE: Final = 15.0
"""Seconds by which something that is due may be late before it is worth a word."""
_NAMED: Final = 5
"""How many ids or names are told; the rest are counted."""


def workers(patient: Patient) -> Iterator[Finding]:
    """Say who answers."""
    found = patient.workers
    if not found:
        yield warn("workers", "none answers", f"{patient.celery} worker")
        return
    queues = sorted(frozenset[str]().union(*(each.queues for each in found)))
    yield ok("workers", f"{_some([each.node for each in found])} on {_some(queues, 'queue')}")
    bare = [each.node for each in found if not each.celeriac]
    if bare:
        yield warn(
            "workers",
            f"{_some(bare)} without celeriac",
            "attach Celeriac(app) there, or keep these workers off the queues of workflows",
        )


def definitions(patient: Patient) -> Iterator[Finding]:
    """Say which workflows this app declares, and which open runs have none."""
    registry = patient.durable.client.registry
    declared = sorted(name for name in patient.app.tasks if registry.workflow(name) is not None)
    if declared:
        yield ok("workflows", _some(declared))
    else:
        yield warn("workflows", "this app declares none", "@durable.workflow, in a module that the app imports")
    orphans = Counter(each.name for each in patient.open_runs if each.name not in declared)
    for name, number in orphans.items():
        yield warn(
            "workflows",
            f"{count(number, 'open run')} of {name!r}, which this app does not declare",
            "deploy the code again, or terminate them",
        )


def runs(patient: Patient) -> Iterator[Finding]:
    """Say how many runs are open, and which are held."""
    statuses = Counter(each.status for each in patient.open_runs)
    more = "at least " if len(patient.open_runs) == SAMPLE else ""
    told = ", ".join(f"{number:,} {status.value}" for status, number in sorted(statuses.items()))
    yield ok("runs", f"{more}{told}" if told else "none open")
    held = [each.workflow_id for each in patient.open_runs if each.status is WorkflowStatus.BLOCKED]
    if held:
        yield warn("runs", f"held: {_some(held)}", f"{patient.celery} workflow show ID says why and what to do")


def overdue(patient: Patient) -> Iterator[Finding]:
    """Say whether what is due gets done."""
    due = patient.store.next_due(patient.namespace)
    late = 0.0 if due is None else (patient.now - due) / SECOND
    if late > LATE:
        yield fail(
            "relay",
            f"something has been due for {span(late)} and nobody has looked",
            "start a worker of this app, or look into the workers' logs for what keeps them from the store",
        )
    elif patient.workers:
        yield ok("relay", "nothing is late")


def queues(patient: Patient) -> Iterator[Finding]:
    """Name the queues with work that no worker consumes."""
    waiting = Counter(
        _queue(
            patient.app,
            run.name if task.kind is TaskKind.TURN else str(task.data.get("name")),
            task.queue or _own(run, task),
        )
        for run, task in patient.tasks
        if task.kind in {TaskKind.TURN, TaskKind.ACTIVITY}
        and task.state is TaskState.QUEUED
        and run.status is WorkflowStatus.RUNNING
    )
    consumed = frozenset[str]().union(*(each.queues for each in patient.workers))
    for queue, number in sorted(waiting.items()):
        if queue in consumed:
            yield ok("queues", f"{queue!r}: {number:,} waiting")
        else:
            yield fail(
                "queues",
                f"{queue!r}: {number:,} waiting, and no worker consumes it",
                f"{patient.celery} worker -Q {queue}",
            )
    if not waiting:
        yield ok("queues", "nothing waits for a worker")


def _own(run: Any, task: Any) -> str | None:
    return run.queue if task.kind is TaskKind.TURN else None


def _queue(app: Any, name: str, queue: str | None) -> str:
    """Return the queue that Celery's routing sends a task to."""
    from celeriac.executors.celery.queues import queue_of  # noqa: PLC0415 - the doctor's only

    return queue or queue_of(app, name) or app.conf.task_default_queue


def _some(names: list[str], word: str = "") -> str:
    """List a few names, and count the rest."""
    told = ", ".join(names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    noun = f"{word}{'' if len(names) == 1 else 's'} " if word else ""
    return f"{noun}{told}{more}"
