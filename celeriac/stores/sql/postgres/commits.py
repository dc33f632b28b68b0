"""A commit as one statement.

Its text is made of the parts that this commit has; a handful of shapes is all that a running system ever prepares.
"""

# ruff: noqa: S608 - what is put into the texts are names of columns and parts of our own

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Self

from celeriac.errors import StoreUnavailable
from celeriac.orchestrator.model import Commit, CommitOutcome, Task
from celeriac.payloads import to_text
from celeriac.stores.sql.access import Access
from celeriac.stores.sql.commits import Commits, check, run_changes
from celeriac.stores.sql.faults import CheckFailed, NotNow, UniqueViolation
from celeriac.stores.sql.postgres.texts import Texts
from celeriac.stores.sql.statements import Raw
from celeriac.stores.sql.transactions import Database
from celeriac.stores.sql.values import event_values, task_values

_SEEN: Final = "WITH seen AS MATERIALIZED (SELECT turns FROM {runs} WHERE run_id = %(run_id)s)"
# A commit that came between counts `turns` up, a message `inbox_seq`: either shuts the gate. What hangs on the gate is still
# asked for by the run id that was given: with the gate's, a connection that has planned this for few runs reads the rows of all.
_GATE: Final = """
    gate AS (
        UPDATE {runs} r SET
            version = %(last)s, turns = r.turns + 1, updated_at = n.now, status = %(status)s, waits = %(waits)s,
            blocked = NULL, result = %(result)s, failure = %(failure)s
"""
_GATE_CLOSING: Final = ", open_id = NULL, closed_at = n.now"
_GATE_ORIGIN: Final = ", origin = %(origin)s"
_GATE_WHERE: Final = """
        FROM seen, (SELECT {now} AS now) n
        WHERE r.run_id = %(run_id)s AND r.turns = seen.turns AND r.epoch = %(epoch)s AND r.version = %(version)s
            AND r.open_id IS NOT NULL AND (r.status <> 'paused' OR %(from_outside)s = 1)
"""
_GATE_INBOX: Final = "AND r.inbox_seq = %(inbox_seq)s"
_FENCE: Final = """
    t.kind = %(fence_kind)s AND t.seq = %(fence_seq)s AND coalesce(t.token, '') = %(fence_token)s
"""
_GATE_END: Final = "RETURNING r.run_id, r.namespace, n.now)"

FEW: Final = 4
"""Up to so many events, and a single task row, are parameters by name: JSON has room for any number, and costs more to read."""
_EVENT_COLUMNS: Final = (
    ("number", "bigint"),
    ("type", "text"),
    ("version", "bigint"),
    ("at", "bigint"),
    ("key", "text"),
    ("key_index", "text"),
    ("data", "text"),
)
_EVENTS: Final = f"""
    new_events AS (
        INSERT INTO {{events}} (run_id, {", ".join(name for name, _ in _EVENT_COLUMNS)})
        SELECT gate.run_id, x.* FROM gate, {{source}}
    )
"""
_FROM_JSON: Final = f"""
    json_to_recordset(%(events)s::json) AS x({", ".join(f"{name} {kind}" for name, kind in _EVENT_COLUMNS)})
"""
_CONSUMED: Final = """
    consumed AS (
        DELETE FROM {inbox} i USING gate
        WHERE i.run_id = %(run_id)s AND i.number = ANY (%(consumed)s::bigint[])
        RETURNING i.number
    )
"""
_CLEARED: Final = "consumed AS (DELETE FROM {inbox} i USING gate WHERE i.run_id = %(run_id)s RETURNING i.number)"
_SETTLED: Final = f"""
    settled AS (
        DELETE FROM {{tasks}} t USING gate WHERE t.run_id = %(run_id)s AND {_FENCE} RETURNING t.seq
    )
"""
_DROPPED: Final = """
    dropped AS (
        DELETE FROM {tasks} t USING gate, json_to_recordset(%(dropped)s::json) AS x(kind text, seq bigint)
        WHERE t.run_id = %(run_id)s AND t.kind = x.kind AND t.seq = x.seq
    )
"""
_ALL_DROPPED: Final = "dropped AS (DELETE FROM {tasks} t USING gate WHERE t.run_id = %(run_id)s)"
# No row may be changed twice in one statement.
_OTHERS_DROPPED: Final = """
    dropped AS (
        DELETE FROM {tasks} t USING gate
        WHERE t.run_id = %(run_id)s AND NOT (t.kind = %(fence_kind)s AND t.seq = %(fence_seq)s)
    )
"""
_CANCELING: Final = """
    canceling AS (
        UPDATE {tasks} t SET
            cancel_requested = 1, due_at = CASE WHEN t.state = 'queued' THEN gate.now ELSE t.due_at END
        FROM gate
        WHERE t.run_id = %(run_id)s AND t.kind = 'activity' AND t.seq = ANY (%(canceling)s::bigint[])
    )
"""
_TURN: Final = """
    turn AS (
        UPDATE {tasks} t SET
            state = 'idle', due_at = NULL, token = NULL, lease_until = NULL, published = 0, attempt = 0
        FROM gate
        WHERE t.run_id = %(run_id)s AND t.kind = 'turn' AND t.seq = 0
            AND (t.state = 'queued' OR (t.state = 'running' AND t.token = %(turn_token)s))
    )
"""
_TURN_LEFT_DUE: Final = """
    turn AS (
        UPDATE {tasks} t SET
            state = 'queued', due_at = gate.now, token = NULL, lease_until = NULL, published = 0, attempt = 0
        FROM gate
        WHERE t.run_id = %(run_id)s AND t.kind = 'turn' AND t.seq = 0
            AND (t.state <> 'running' OR t.token = %(turn_token)s)
    )
"""
_TASK_COLUMNS: Final = (
    ("kind", "text"),
    ("seq", "bigint"),
    ("due_at", "bigint"),
    ("state", "text"),
    ("attempt", "bigint"),
    ("inner_retries", "bigint"),
    ("published", "bigint"),
    ("token", "text"),
    ("started_at", "bigint"),
    ("lease_until", "bigint"),
    ("heartbeat_by", "bigint"),
    ("start_to_close_by", "bigint"),
    ("schedule_to_start_by", "bigint"),
    ("schedule_to_close_by", "bigint"),
    ("cancel_requested", "smallint"),
    ("worker", "text"),
    ("details", "text"),
    ("failure", "text"),
    ("start_to_close", "bigint"),
    ("heartbeat", "bigint"),
    ("repeatable", "smallint"),
    ("queue", "text"),
    ("data", "text"),
)
_TASKS: Final = f"""
    new_tasks AS (
        INSERT INTO {{tasks}} (run_id, namespace, {", ".join(name for name, _ in _TASK_COLUMNS)})
        SELECT gate.run_id, gate.namespace, x.* FROM gate, json_to_recordset(%(tasks)s::json)
            AS x({", ".join(f"{name} {kind}" for name, kind in _TASK_COLUMNS)})
    )
"""
_CLAIMED: Final = frozenset(
    {"token", "started_at", "lease_until", "heartbeat_by", "start_to_close_by", "details", "failure"}
)
"""Columns that a row nobody has claimed yet leaves empty."""
_NEW_COLUMNS: Final = tuple(each for each in _TASK_COLUMNS if each[0] not in _CLAIMED)
_TASK: Final = f"""
    new_task AS (
        INSERT INTO {{tasks}} (run_id, namespace, {", ".join(name for name, _ in _NEW_COLUMNS)})
        SELECT gate.run_id, gate.namespace, {", ".join(f"%(task_{name})s::{kind}" for name, kind in _NEW_COLUMNS)}
        FROM gate
    )
"""
_CHECK_CONSUMED: Final = """
    (SELECT count(*) FROM consumed WHERE number = ANY (%(consumed)s::bigint[])) = %(consumed_count)s
"""
_CHECK_SETTLED: Final = "(SELECT count(*) FROM settled) = 1"
# A part that found less than it must undoes everything: the only way a statement has is to fail.
_CHECKED: Final = "SELECT CAST(CASE WHEN {checks} THEN '1' ELSE 'the commit came too late' END AS int) FROM gate"


class PostgresCommits(Commits):
    """Commits in one round trip; one that is refused takes a few to be told why."""

    def __init__(self, db: Database, access: Access, texts: Texts) -> None:
        super().__init__(db, access)
        self._statement = lru_cache(maxsize=None)(lambda shape: texts(commit_text(shape)))

    def commit(self, commit: Commit, meanwhile: Callable[[], None] | None = None) -> CommitOutcome:
        """Write all that a turn decided, or nothing, and call ``meanwhile`` between question and answer."""
        check(commit)
        shape = Shape.of(commit)
        statement: Raw = self._statement(shape)
        values = commit_values(commit)
        try:
            row = self._db.single(lambda session: session.row(statement, values, meanwhile))
        except NotNow:
            raise
        except StoreUnavailable:
            return self.look_up(commit)
        except (UniqueViolation, CheckFailed):
            row = None
        # What was refused is refused again, and told why, under the lock.
        return super().commit(commit) if row is None else CommitOutcome.COMMITTED


@dataclass(frozen=True, slots=True)
class Shape:
    """Which parts a commit has.

    :param events: how many, up to :data:`FEW`; one more for any other number.
    :param tasks: 1 for one that nobody has claimed yet, 2 for any other number or kind.
    """

    closing: bool
    leave_due: bool
    settles: bool
    events: int
    consumed: bool
    dropped: bool
    canceling: bool
    tasks: int
    origin: bool

    @classmethod
    def of(cls, commit: Commit) -> Self:
        """Return the shape of a commit."""
        closing = not commit.status.open
        return cls(
            closing,
            commit.leave_due,
            commit.settles is not None,
            min(len(commit.events), FEW + 1),
            bool(commit.consumed),
            not closing and bool(_dropped(commit)),
            not closing and bool(_canceling(commit)),
            (1 if _is_new(commit.tasks) else 2) if commit.tasks else 0,
            commit.origin is not None,
        )


def commit_text(shape: Shape) -> str:
    """Return the template of the statement for commits of this shape."""
    parts = [_SEEN, _gate(shape)]
    checks = ["true"]
    if shape.events:
        parts.append(_EVENTS.replace("{source}", _FROM_JSON if shape.events > FEW else _from_values(shape.events)))
    if shape.consumed or shape.closing:
        parts.append(_CLEARED if shape.closing else _CONSUMED)
    if shape.consumed:
        checks.append(_CHECK_CONSUMED)
    if shape.settles:
        parts.append(_SETTLED)
        checks.append(_CHECK_SETTLED)
    parts += _closing_parts(shape) if shape.closing else _open_parts(shape)
    if shape.tasks:
        parts.append(_TASK if shape.tasks == 1 else _TASKS)
    return ", ".join(parts) + _CHECKED.replace("{checks}", " AND ".join(checks))


def _gate(shape: Shape) -> str:
    pieces = [_GATE]
    if shape.closing:
        pieces.append(_GATE_CLOSING)
    if shape.origin:
        pieces.append(_GATE_ORIGIN)
    pieces.append(_GATE_WHERE)
    if not shape.leave_due:
        pieces.append(_GATE_INBOX)
    return " ".join([*pieces, _GATE_END])


def _from_values(count: int) -> str:
    rows = (", ".join(f"%(event{place}_{name})s::{kind}" for name, kind in _EVENT_COLUMNS) for place in range(count))
    return f"(VALUES {', '.join(f'({row})' for row in rows)}) AS x"


def _closing_parts(shape: Shape) -> list[str]:
    return [_OTHERS_DROPPED if shape.settles else _ALL_DROPPED]


def _open_parts(shape: Shape) -> list[str]:
    parts = [_TURN_LEFT_DUE if shape.leave_due else _TURN]
    if shape.dropped:
        parts.append(_DROPPED)
    if shape.canceling:
        parts.append(_CANCELING)
    return parts


def commit_values(commit: Commit) -> dict[str, Any]:
    """Return the statement's parameters."""
    values = run_changes(commit)
    values["turn_token"] = commit.turn_token
    events = [event_values("", event) for event in commit.events]
    if len(events) > FEW:
        values["events"] = to_text(events)
    else:
        for place, event in enumerate(events):
            values.update((f"event{place}_{name}", event[name]) for name, _ in _EVENT_COLUMNS)
    if commit.consumed:
        values["consumed"] = _array(commit.consumed)
        values["consumed_count"] = len(commit.consumed)
    if commit.settles is not None:
        fence = commit.settles
        values.update(fence_kind=fence.kind.value, fence_seq=fence.seq, fence_token=fence.token)
    tasks = [task_values(task, "") for task in commit.tasks]
    if _is_new(commit.tasks):
        values.update((f"task_{name}", tasks[0][name]) for name, _ in _NEW_COLUMNS)
    elif tasks:
        values["tasks"] = to_text(tasks)
    if commit.dropped:
        values["dropped"] = to_text([{"kind": kind, "seq": seq} for kind, seq in _dropped(commit)])
    if commit.canceling:
        values["canceling"] = _array(_canceling(commit))
    return values


def _is_new(tasks: Sequence[Task]) -> bool:
    return len(tasks) == 1 and all(getattr(tasks[0], name) is None for name in _CLAIMED)


def _dropped(commit: Commit) -> list[tuple[str, int]]:
    settled = commit.settles and (commit.settles.kind, commit.settles.seq)
    return [(kind.value, seq) for kind, seq in commit.dropped if (kind, seq) != settled]


def _canceling(commit: Commit) -> list[int]:
    gone = {seq for kind, seq in _dropped(commit) if kind == "activity"}
    if commit.settles is not None:
        gone.add(commit.settles.seq)
    return [seq for seq in commit.canceling if seq not in gone]


def _array(numbers: Sequence[int]) -> str:
    return "{" + ",".join(map(str, numbers)) + "}"
