"""The first tables: runs, events, inbox, tasks, leases."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import context, op

from celeriac.crashes import CrashPoint, passing
from celeriac.stores.sql.schema import ID, LONG, WORD

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Rows of these are rewritten again and again. Room on the page lets PostgreSQL do so without touching an
# index, and cleaning up after every fiftieth of the rows, not every fifth, keeps the tables as small as what
# is in them.
BUSY = {
    "autovacuum_vacuum_scale_factor": "0.02",
    "autovacuum_vacuum_threshold": "200",
    "autovacuum_analyze_threshold": "200",
}
STORAGE = {
    "runs": {"fillfactor": "70", **BUSY},
    "tasks": {"fillfactor": "70", **BUSY},
    "inbox": BUSY,
}


def upgrade() -> None:
    """Create the tables."""
    prefix: str = context.config.attributes["prefix"]
    schema: str | None = context.config.attributes["schema"]
    for make in (_runs, _events, _inbox, _tasks, _leases):
        make(prefix, schema)
        passing(CrashPoint.IN_MIGRATION)
    if op.get_bind().dialect.name == "postgresql":
        for table, settings in STORAGE.items():
            _set(f"{prefix}{table}", schema, settings)


def downgrade() -> None:
    """Drop the tables, and every promise in them."""
    prefix: str = context.config.attributes["prefix"]
    schema: str | None = context.config.attributes["schema"]
    for name in ("leases", "tasks", "inbox", "events", "runs"):
        op.drop_table(f"{prefix}{name}", schema=schema)


def _is_left(kind: str, *names: str, schema: str | None) -> bool:
    """Whether a table or an index is there from a migration that died, where each statement is a transaction of its own."""
    if op.get_context().impl.transactional_ddl:
        return False
    found: bool = getattr(sa.inspect(op.get_bind()), f"has_{kind}")(*names, schema=schema)
    return found


def _create_table(name: str, *columns: sa.Column[Any], schema: str | None) -> None:
    if not _is_left("table", name, schema=schema):
        op.create_table(name, *columns, schema=schema)


def _create_index(name: str, table: str, columns: list[str], *, schema: str | None, **options: Any) -> None:
    if not _is_left("index", table, name, schema=schema):
        op.create_index(name, table, columns, schema=schema, **options)


def _number(name: str, *, nullable: bool = False, key: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger, nullable=nullable, primary_key=key, autoincrement=False)


def _runs(prefix: str, schema: str | None) -> None:
    table = f"{prefix}runs"
    _create_table(
        table,
        sa.Column("run_id", ID, primary_key=True),
        _number("version"),
        _number("inbox_seq"),
        _number("turns"),
        _number("updated_at"),
        sa.Column("status", WORD, nullable=False),
        sa.Column("waits", LONG, nullable=False),
        sa.Column("blocked", LONG),
        _number("closed_at", nullable=True),
        sa.Column("open_id", ID),
        sa.Column("result", LONG),
        sa.Column("failure", LONG),
        sa.Column("epoch", ID, nullable=False),
        _number("created_at"),
        sa.Column("namespace", ID, nullable=False),
        sa.Column("workflow_id", LONG, nullable=False),
        sa.Column("workflow_index", ID, nullable=False),
        sa.Column("name", LONG, nullable=False),
        sa.Column("definition_version", LONG, nullable=False),
        sa.Column("queue", LONG),
        sa.Column("parent_run_id", ID),
        sa.Column("start_key", LONG, nullable=False),
        sa.Column("start_index", ID),
        sa.Column("input", LONG),
        sa.Column("memo", LONG),
        sa.Column("attributes", LONG),
        sa.Column("origin", LONG),
        schema=schema,
    )
    _create_index(f"{table}_by_id", table, ["namespace", "workflow_index", "created_at"], schema=schema)
    _create_index(f"{table}_by_age", table, ["namespace", "created_at"], schema=schema)
    _create_index(f"{table}_start", table, ["namespace", "start_index"], unique=True, schema=schema)
    _create_index(f"{table}_open", table, ["namespace", "open_id"], unique=True, schema=schema)


def _events(prefix: str, schema: str | None) -> None:
    table = f"{prefix}events"
    _create_table(
        table,
        sa.Column("run_id", ID, primary_key=True),
        _number("number", key=True),
        sa.Column("type", WORD, nullable=False),
        _number("version"),
        _number("at"),
        sa.Column("key", LONG),
        sa.Column("key_index", ID),
        sa.Column("data", LONG, nullable=False),
        schema=schema,
    )
    has_key = sa.text("key_index IS NOT NULL")
    _create_index(
        f"{table}_key",
        table,
        ["run_id", "key_index"],
        unique=True,
        schema=schema,
        postgresql_where=has_key,
        sqlite_where=has_key,
    )


def _inbox(prefix: str, schema: str | None) -> None:
    table = f"{prefix}inbox"
    _create_table(
        table,
        sa.Column("run_id", ID, primary_key=True),
        _number("number", key=True),
        sa.Column("kind", WORD, nullable=False),
        sa.Column("key", LONG, nullable=False),
        sa.Column("key_index", ID, nullable=False),
        _number("at"),
        sa.Column("data", LONG, nullable=False),
        schema=schema,
    )
    _create_index(f"{table}_key", table, ["run_id", "key_index"], unique=True, schema=schema)


def _tasks(prefix: str, schema: str | None) -> None:
    table = f"{prefix}tasks"
    _create_table(
        table,
        sa.Column("run_id", ID, primary_key=True),
        sa.Column("kind", WORD, primary_key=True),
        _number("seq", key=True),
        _number("due_at", nullable=True),
        sa.Column("state", WORD, nullable=False),
        _number("attempt"),
        _number("inner_retries"),
        _number("published"),
        sa.Column("token", ID),
        _number("started_at", nullable=True),
        _number("lease_until", nullable=True),
        _number("heartbeat_by", nullable=True),
        _number("start_to_close_by", nullable=True),
        _number("schedule_to_start_by", nullable=True),
        _number("schedule_to_close_by", nullable=True),
        sa.Column("cancel_requested", sa.SmallInteger, nullable=False),
        sa.Column("worker", LONG, nullable=False),
        sa.Column("details", LONG),
        sa.Column("failure", LONG),
        _number("start_to_close", nullable=True),
        _number("heartbeat", nullable=True),
        sa.Column("repeatable", sa.SmallInteger, nullable=False),
        sa.Column("namespace", ID, nullable=False),
        sa.Column("queue", LONG),
        sa.Column("data", LONG, nullable=False),
        schema=schema,
    )
    _create_index(f"{table}_due", table, ["namespace", "due_at"], schema=schema)


def _leases(prefix: str, schema: str | None) -> None:
    _create_table(
        f"{prefix}leases",
        sa.Column("name", ID, primary_key=True),
        sa.Column("holder", LONG, nullable=False),
        _number("until_at"),
        schema=schema,
    )


def _set(table: str, schema: str | None, settings: dict[str, str]) -> None:
    quoted = op.get_bind().dialect.identifier_preparer.format_table(sa.table(table, schema=schema))
    listed = ", ".join(f"{name} = {value}" for name, value in settings.items())
    op.execute(f"ALTER TABLE {quoted} SET ({listed})")
