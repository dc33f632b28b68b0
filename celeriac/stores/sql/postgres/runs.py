"""Starting runs on PostgreSQL: one statement each, or one for many."""

# ruff: noqa: S608 - what is put into the texts are names of columns and parts of our own

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.model import Created, CreateOutcome, IdReuse, NewRun, Run
from celeriac.payloads import to_text
from celeriac.stores import rows
from celeriac.stores.sql.access import Access
from celeriac.stores.sql.faults import UniqueViolation
from celeriac.stores.sql.postgres.texts import Texts
from celeriac.stores.sql.runs import Runs, as_written
from celeriac.stores.sql.transactions import Database, Session
from celeriac.stores.sql.values import event_values, run_values

_COLUMNS: Final = (
    "run_id",
    "version",
    "inbox_seq",
    "turns",
    "status",
    "waits",
    "open_id",
    "epoch",
    "namespace",
    "workflow_id",
    "workflow_index",
    "name",
    "definition_version",
    "queue",
    "parent_run_id",
    "start_key",
    "start_index",
    "input",
    "memo",
    "attributes",
    "origin",
)
_CREATE: Final = f"""
    WITH run AS (
        INSERT INTO {{runs}} ({", ".join(_COLUMNS)}, created_at, updated_at)
        SELECT {", ".join(f"%({name})s" for name in _COLUMNS)}, n.now, n.now FROM (SELECT {{now}} AS now) n
        {{unless}}
        ON CONFLICT DO NOTHING
        RETURNING run_id, namespace, queue, created_at
    ), started AS (
        INSERT INTO {{events}} (run_id, number, type, version, at, data)
        SELECT run.run_id, 1, %(event_type)s, %(event_version)s, run.created_at, %(event_data)s FROM run
    ), task AS (
        INSERT INTO {{tasks}} (
            run_id, namespace, queue, kind, seq, state, due_at, attempt, inner_retries, published, cancel_requested,
            worker, data, repeatable
        )
        SELECT run.run_id, run.namespace, run.queue, x.kind, 0, 'queued', run.created_at + x.due, x.attempt, 0,
            x.published, 0, '', '{{{{}}}}', 1
        FROM run, (VALUES ('turn', %(turn_due)s::bigint, 0, 1), ('timeout', %(timeout)s::bigint, 1, 0))
            AS x(kind, due, attempt, published)
        WHERE x.due IS NOT NULL
    )
    SELECT created_at FROM run
"""
# Many at once: each start is an element of a JSON array. What conflicts is passed over, and asked about afterwards.
_GIVEN: Final = (
    *((name, "bigint" if name in {"version", "inbox_seq", "turns"} else "text") for name in _COLUMNS),
    ("event_type", "text"),
    ("event_version", "bigint"),
    ("event_data", "text"),
    ("turn_due", "bigint"),
    ("timeout", "bigint"),
    ("id_reuse", "text"),
)
_CREATE_MANY: Final = f"""
    WITH given AS MATERIALIZED (
        SELECT * FROM json_to_recordset(%(starts)s::json) AS x({", ".join(f"{name} {kind}" for name, kind in _GIVEN)})
    ), run AS (
        INSERT INTO {{runs}} ({", ".join(_COLUMNS)}, created_at, updated_at)
        SELECT {", ".join(f"g.{name}" for name in _COLUMNS)}, n.now, n.now FROM given g, (SELECT {{now}} AS now) n
        WHERE g.id_reuse = 'allow' OR {{latest}} IS DISTINCT FROM 'completed' AND (g.id_reuse <> 'never' OR {{latest}} IS NULL)
        ON CONFLICT DO NOTHING
        RETURNING run_id, namespace, queue, created_at
    ), started AS (
        INSERT INTO {{events}} (run_id, number, type, version, at, data)
        SELECT run.run_id, 1, g.event_type, g.event_version, run.created_at, g.event_data
        FROM run JOIN given g USING (run_id)
    ), task AS (
        INSERT INTO {{tasks}} (
            run_id, namespace, queue, kind, seq, state, due_at, attempt, inner_retries, published, cancel_requested,
            worker, data, repeatable
        )
        SELECT run.run_id, run.namespace, run.queue, x.kind, 0, 'queued', run.created_at + x.due, x.attempt, 0,
            x.published, 0, '', '{{{{}}}}', 1
        FROM run JOIN given g USING (run_id),
            LATERAL (VALUES ('turn', g.turn_due, 0, 1), ('timeout', g.timeout, 1, 0)) AS x(kind, due, attempt, published)
        WHERE x.due IS NOT NULL
    )
    SELECT run_id, created_at FROM run
"""
_LATEST: Final = """(
    SELECT status FROM {runs} r WHERE r.namespace = g.namespace AND r.workflow_index = g.workflow_index
    ORDER BY r.created_at DESC, r.run_id DESC LIMIT 1
)"""
_UNLESS: Final = {
    IdReuse.ALLOW: "",
    IdReuse.AFTER_FAILURE: """
        WHERE 'completed' IS DISTINCT FROM (
            SELECT status FROM {runs} WHERE namespace = %(namespace)s AND workflow_index = %(workflow_index)s
            ORDER BY created_at DESC, run_id DESC LIMIT 1
        )
    """,
    IdReuse.NEVER: """
        WHERE NOT EXISTS (
            SELECT FROM {runs} WHERE namespace = %(namespace)s AND workflow_index = %(workflow_index)s
        )
    """,
}


class PostgresRuns(Runs):
    """Starts in one round trip, also many; one that is refused takes a second to be told why."""

    def __init__(self, db: Database, access: Access, texts: Texts) -> None:
        super().__init__(db, access)
        self._inserts = {
            reuse: texts(_CREATE, unless=unless.format(**texts.parts)) for reuse, unless in _UNLESS.items()
        }

        self._insert_many = texts(_CREATE_MANY, latest=_LATEST.format(**texts.parts))

    def _create(self, new: NewRun) -> Created:
        return self._db.single(lambda session: self._insert_one(session, new))

    def _insert_one(self, session: Session, new: NewRun) -> Created:
        run, values = _values(new)
        row = session.row(self._inserts[new.id_reuse], values)
        if row is not None:
            return _created(run, values, row[0])
        refused = self.refusal(session, new)
        if refused is None:  # what was in the way is gone, or it is the run id
            raise UniqueViolation
        return refused

    def _create_together(self, many: Mapping[int, NewRun]) -> dict[int, Created]:
        """Write what nothing is in the way of, in one statement."""
        given = {place: _values(new) for place, new in many.items()}
        starts = to_text([{**values, "id_reuse": many[place].id_reuse.value} for place, (_, values) in given.items()])
        found = self._db.single(lambda session: session.rows(self._insert_many, {"starts": starts}))
        written: dict[str, int] = {run_id: now for run_id, now in found}  # noqa: C416 - rows are sequences to mypy
        return {
            place: _created(run, values, written[run.run_id])
            for place, (run, values) in given.items()
            if run.run_id in written
        }


def _values(new: NewRun) -> tuple[Run, dict[str, Any]]:
    """Return a run whose times are still to be told, and the parameters of its start."""
    run = rows.born(new, 0)
    first = event_values(new.run_id, HistoryEvent.of(1, 0, new.started))
    started = {f"event_{name}": first[name] for name in ("type", "version", "data")}
    return run, {**run_values(run), **started, "turn_due": new.turn_due, "timeout": new.timeout}


def _created(run: Run, values: Mapping[str, Any], now: int) -> Created:
    return Created(CreateOutcome.CREATED, replace(as_written(run, values), created_at=now, updated_at=now))
