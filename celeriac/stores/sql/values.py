"""Rows of the tables <-> the values that engine and store exchange."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Table

from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.model import InboxItem, Message, Run, RunRef, Task
from celeriac.orchestrator.status import MessageKind, TaskKind, TaskState, WorkflowStatus
from celeriac.payloads import Json, from_text, to_text
from celeriac.stores.sql.ids import check_id, index_form

Row = Sequence[Any]

RUN: Final = (
    "run_id",
    "workflow_id",
    "namespace",
    "name",
    "status",
    "version",
    "epoch",
    "inbox_seq",
    "created_at",
    "updated_at",
    "definition_version",
    "queue",
    "start_key",
    "closed_at",
    "parent_run_id",
    "turns",
    "waits",
    "input",
    "result",
    "failure",
    "memo",
    "attributes",
    "blocked",
    "origin",
)
"""Columns of a run in the order in which :func:`run_of` reads them."""
HEAD: Final = (*RUN[:16], "origin")
"""Columns of a run in the order in which :func:`head_of` reads them: what a turn needs of it that has read it before."""
REF: Final = ("run_id", "workflow_id", "namespace", "name", "queue", "status")
"""Columns of a run in the order in which :func:`ref_of` reads them."""
TASK: Final = (
    "run_id",
    "kind",
    "seq",
    "state",
    "due_at",
    "namespace",
    "attempt",
    "inner_retries",
    "queue",
    "data",
    "token",
    "worker",
    "published",
    "started_at",
    "lease_until",
    "heartbeat_by",
    "start_to_close_by",
    "schedule_to_start_by",
    "schedule_to_close_by",
    "start_to_close",
    "heartbeat",
    "cancel_requested",
    "details",
    "failure",
)
"""Columns of a task row in the order in which :func:`task_of` reads them."""
EVENT: Final = ("number", "type", "at", "data", "version", "key")
"""Columns of an event in the order in which :func:`event_of` reads them."""
ITEM: Final = ("number", "kind", "key", "data", "at")
"""Columns of an inbox row in the order in which :func:`item_of` reads them."""

_STATUSES: Final[Mapping[str, WorkflowStatus]] = {each.value: each for each in WorkflowStatus}
_KINDS: Final[Mapping[str, TaskKind]] = {each.value: each for each in TaskKind}
_STATES: Final[Mapping[str, TaskState]] = {each.value: each for each in TaskState}
_MESSAGES: Final[Mapping[str, MessageKind]] = {each.value: each for each in MessageKind}


def columns(table: Table, names: Sequence[str]) -> list[ColumnElement[Any]]:
    """Return a table's columns by name."""
    return [table.c[name] for name in names]


def text_of(value: Json) -> str | None:
    """Return JSON as text, and None as SQL's null."""
    return None if value is None else to_text(value)


def _json(text: str | None) -> Json:
    return None if text is None else from_text(text)


# -- reading ---------------------------------------------------------------------------------------


def run_of(row: Row) -> Run:
    """Read a row of :data:`RUN`'s columns."""
    return Run(
        row[0],
        row[1],
        row[2],
        row[3],
        _STATUSES[row[4]],
        row[5],
        row[6],
        row[7],
        row[8],
        row[9],
        row[10],
        row[11],
        row[12],
        _json(row[17]),
        _json(row[18]),
        _json(row[19]),
        row[13],
        row[14],
        _json(row[20]),
        _json(row[21]),
        tuple(from_text(row[16])),
        _json(row[22]),
        _json(row[23]),
        row[15],
    )


def head_of(row: Row) -> Run:
    """Read a row of :data:`HEAD`'s columns; input, result and the like are left out."""
    return Run(
        row[0],
        row[1],
        row[2],
        row[3],
        _STATUSES[row[4]],
        row[5],
        row[6],
        row[7],
        row[8],
        row[9],
        row[10],
        row[11],
        row[12],
        closed_at=row[13],
        parent_run_id=row[14],
        turns=row[15],
        origin=_json(row[16]),
    )


def ref_of(row: Row) -> RunRef:
    """Read a row of :data:`REF`'s columns."""
    return RunRef(row[0], row[1], row[2], row[3], row[4], _STATUSES[row[5]])


def task_of(row: Row) -> Task:
    """Read a row of :data:`TASK`'s columns."""
    return Task(
        row[0],
        _KINDS[row[1]],
        row[2],
        _STATES[row[3]],
        row[4],
        row[5],
        row[6],
        row[7],
        row[8],
        from_text(row[9]),
        row[10],
        row[11],
        row[12],
        row[13],
        row[14],
        row[15],
        row[16],
        row[17],
        row[18],
        row[19],
        row[20],
        bool(row[21]),
        _json(row[22]),
        _json(row[23]),
    )


def event_of(row: Row) -> HistoryEvent:
    """Read a row of :data:`EVENT`'s columns."""
    return HistoryEvent(row[0], row[1], row[2], from_text(row[3]), row[4], row[5])


def item_of(row: Row) -> InboxItem:
    """Read a row of :data:`ITEM`'s columns."""
    return InboxItem(row[0], Message(_MESSAGES[row[1]], row[2], from_text(row[3])), row[4])


# -- writing ---------------------------------------------------------------------------------------


def run_values(run: Run) -> dict[str, Any]:
    """Return what a run's row holds.

    :raises ValueError: an id that databases can't hold.
    """
    values = {name: getattr(run, name) for name in RUN[:16]}
    for name in ("input", "result", "failure", "memo", "attributes", "blocked", "origin"):
        values[name] = text_of(getattr(run, name))
    workflow_index = index_form(check_id("workflow id", run.workflow_id))
    return {
        **values,
        "status": run.status.value,
        "waits": to_text(list(run.waits)),
        "workflow_index": workflow_index,
        "open_id": workflow_index if run.status.open else None,
        "start_index": index_form(check_id("start key", run.start_key)) if run.start_key else None,
    }


def event_values(run_id: str, event: HistoryEvent) -> dict[str, Any]:
    """Return what an event's row holds."""
    key = event.key
    return {
        "run_id": run_id,
        "number": event.number,
        "type": event.type,
        "version": event.version,
        "at": event.at,
        "key": key,
        "key_index": None if key is None else index_form(check_id("event key", key)),
        "data": to_text(event.data),
    }


def message_values(message: Message) -> dict[str, Any]:
    """Return what of a message its inbox row holds."""
    return {
        "kind": message.kind.value,
        "key": message.key,
        "key_index": index_form(check_id("message key", message.key)),
        "data": to_text(message.data),
    }


def task_values(task: Task, namespace: str) -> dict[str, Any]:
    """Return what a task's row holds."""
    values = {name: getattr(task, name, None) for name in TASK}
    return {
        **values,
        "namespace": namespace,
        "kind": task.kind.value,
        "state": task.state.value,
        "inner_retries": task.inner,
        "data": to_text(task.data),
        "cancel_requested": int(task.cancel_requested),
        "details": text_of(task.details),
        "failure": text_of(task.failure),
        "repeatable": int(task.repeatable),
    }
