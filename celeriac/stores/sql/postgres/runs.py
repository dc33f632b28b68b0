"""Starting runs on PostgreSQL, one statement each."""

# ruff: noqa: S608 - what is put into the texts are names of columns and parts of our own

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.model import Created, CreateOutcome, IdReuse, NewRun, Run
from celeriac.payloads import from_text
from celeriac.stores import rows
from celeriac.stores.sql.access import Access
from celeriac.stores.sql.faults import UniqueViolation
from celeriac.stores.sql.postgres.texts import Texts
from celeriac.stores.sql.runs import Runs
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
    """Starts in one round trip; one that is refused takes a second to be told why."""

    def __init__(self, db: Database, access: Access, texts: Texts) -> None:
        super().__init__(db, access)
        self._inserts = {
            reuse: texts(_CREATE, unless=unless.format(**texts.parts)) for reuse, unless in _UNLESS.items()
        }

    def _create(self, new: NewRun) -> Created:
        return self._db.single(lambda session: self._insert(session, new))

    def _insert(self, session: Session, new: NewRun) -> Created:
        statement = self._inserts[new.id_reuse]
        run = rows.born(new, 0)
        values = run_values(run)
        first = event_values(new.run_id, HistoryEvent.of(1, 0, new.started))
        started = {f"event_{name}": first[name] for name in ("type", "version", "data")}
        row = session.row(statement, {**values, **started, "turn_due": new.turn_due, "timeout": new.timeout})
        if row is not None:
            return Created(CreateOutcome.CREATED, _as_written(run, values, row[0]))
        refused = self.refusal(session, new)
        if refused is None:  # what was in the way is gone, or it is the run id
            raise UniqueViolation
        return refused


def _as_written(run: Run, values: dict[str, Any], now: int) -> Run:
    """Return the run as it would be read back, sharing nothing with the caller's."""
    names = ("input", "memo", "attributes", "origin")
    written = {name: from_text(values[name]) for name in names if values[name] is not None}
    return replace(run, created_at=now, updated_at=now, **written)
