"""The tables, as SQLAlchemy sees them, for a prefix and an optional schema.

They belong to a :class:`~sqlalchemy.MetaData` of their own, so that the application's Alembic never takes
them for its own: its autogenerate would drop what is in the database and not in its models, hence
:func:`include_object`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import BigInteger, Column, Index, MetaData, SmallInteger, Table, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

from celeriac.errors import ConfigurationError

DEFAULT_PREFIX: Final = "celeriac_"


def _on_mysql(make: Callable[..., TypeEngine[str]]) -> TypeEngine[str]:
    # MySQL and MariaDB index no unbounded text, and by default compare without regard to case. MariaDB's plain binary
    # collation still overlooks blanks at the end.
    mysql_kind = make(charset="utf8mb4", collation="utf8mb4_bin")
    mariadb_kind = make(charset="utf8mb4", collation="utf8mb4_nopad_bin")
    return Text().with_variant(mysql_kind, "mysql").with_variant(mariadb_kind, "mariadb")


ID: Final = _on_mysql(partial(mysql.VARCHAR, 255))
"""A text that is, or is part of, an index as it stands: run ids, namespaces, index forms of longer ids."""
WORD: Final = _on_mysql(partial(mysql.VARCHAR, 40))
"""One of our own words: a status, a kind, an event's tag."""
LONG: Final = _on_mysql(mysql.LONGTEXT)
"""Anything else, JSON included."""


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one store."""

    prefix: str
    schema: str | None
    metadata: MetaData
    runs: Table
    events: Table
    inbox: Table
    tasks: Table
    leases: Table


def check_names(prefix: str, schema: str | None) -> None:
    """See that what goes into every statement's text as part of a name is one. It is quoted besides.

    :raises ConfigurationError: it holds anything but ASCII letters, digits, underscores, and in a schema blanks and hyphens.
    """
    if not re.fullmatch(r"[A-Za-z0-9_]{0,40}", prefix):
        raise ConfigurationError(f"table_prefix={prefix!r}: up to 40 letters, digits and underscores")
    if schema is not None and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_ -]{0,62}", schema):
        raise ConfigurationError(f"schema={schema!r}: up to 63 letters, digits, underscores, blanks and hyphens")


def make_tables(prefix: str = DEFAULT_PREFIX, schema: str | None = None) -> Tables:
    """Describe the tables whose names begin with ``prefix``, in ``schema`` or in the connection's own.

    :raises ConfigurationError: these are no parts of names.
    """
    check_names(prefix, schema)
    metadata = MetaData(schema=schema)
    return Tables(
        prefix,
        schema,
        metadata,
        _runs(metadata, prefix),
        _events(metadata, prefix),
        _inbox(metadata, prefix),
        _tasks(metadata, prefix),
        _leases(metadata, prefix),
    )


def include_object(prefix: str = DEFAULT_PREFIX) -> Callable[[Any, str | None, str, bool, Any], bool]:
    """Return an ``include_object`` for the application's Alembic environment that leaves these tables alone.

    Usage, in the application's ``env.py``: ``context.configure(..., include_object=include_object())``.
    """

    def included(_: Any, name: str | None, kind: str, reflected: bool, __: Any) -> bool:  # noqa: FBT001 - Alembic's
        return not (kind == "table" and reflected and (name or "").startswith(prefix))

    return included


def _number(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable, autoincrement=False)


def _runs(metadata: MetaData, prefix: str) -> Table:
    # What changes with every turn comes first and what never changes last: PostgreSQL logs only the span
    # between the first and the last byte that differ.
    closed_at = _number("closed_at", nullable=True)
    closed = closed_at.is_not(None)
    return Table(
        f"{prefix}runs",
        metadata,
        Column("run_id", ID, primary_key=True),
        _number("version"),
        _number("inbox_seq"),
        _number("turns"),
        _number("updated_at"),
        Column("status", WORD, nullable=False),
        Column("waits", LONG, nullable=False),
        Column("blocked", LONG),
        closed_at,
        # The index form of the workflow id while the run is open, else null: one open run an id, and "is it
        # open".
        Column("open_id", ID),
        Column("result", LONG),
        Column("failure", LONG),
        Column("epoch", ID, nullable=False),
        _number("created_at"),
        Column("namespace", ID, nullable=False),
        Column("workflow_id", LONG, nullable=False),
        Column("workflow_index", ID, nullable=False),
        Column("name", LONG, nullable=False),
        Column("definition_version", LONG, nullable=False),
        Column("queue", LONG),
        Column("parent_run_id", ID),
        Column("start_key", LONG, nullable=False),
        Column("start_index", ID),
        Column("input", LONG),
        Column("memo", LONG),
        Column("attributes", LONG),
        Column("origin", LONG),
        Index(f"{prefix}runs_by_id", "namespace", "workflow_index", "created_at"),
        Index(f"{prefix}runs_by_age", "namespace", "created_at"),
        # For purging. Open runs, which change with every turn, take no room in it.
        Index(f"{prefix}runs_closed", "namespace", "closed_at", postgresql_where=closed, sqlite_where=closed),
        Index(f"{prefix}runs_start", "namespace", "start_index", unique=True),
        Index(f"{prefix}runs_open", "namespace", "open_id", unique=True),
    )


def _events(metadata: MetaData, prefix: str) -> Table:
    key = Column("key_index", ID)
    return Table(
        f"{prefix}events",
        metadata,
        Column("run_id", ID, primary_key=True),
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("type", WORD, nullable=False),
        _number("version"),
        _number("at"),
        Column("key", LONG),
        key,
        Column("data", LONG, nullable=False),
        # Most events have no key; where the database can, those take no room in the index.
        Index(
            f"{prefix}events_key",
            "run_id",
            "key_index",
            unique=True,
            postgresql_where=key.is_not(None),
            sqlite_where=key.is_not(None),
        ),
    )


def _inbox(metadata: MetaData, prefix: str) -> Table:
    return Table(
        f"{prefix}inbox",
        metadata,
        Column("run_id", ID, primary_key=True),
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("kind", WORD, nullable=False),
        Column("key", LONG, nullable=False),
        Column("key_index", ID, nullable=False),
        _number("at"),
        Column("data", LONG, nullable=False),
        Index(f"{prefix}inbox_key", "run_id", "key_index", unique=True),
    )


def _tasks(metadata: MetaData, prefix: str) -> Table:
    return Table(
        f"{prefix}tasks",
        metadata,
        Column("run_id", ID, primary_key=True),
        Column("kind", WORD, primary_key=True),
        Column("seq", BigInteger, primary_key=True, autoincrement=False),
        _number("due_at", nullable=True),
        Column("state", WORD, nullable=False),
        _number("attempt"),
        _number("inner_retries"),
        _number("published"),
        Column("token", ID),
        _number("started_at", nullable=True),
        _number("lease_until", nullable=True),
        _number("heartbeat_by", nullable=True),
        _number("start_to_close_by", nullable=True),
        _number("schedule_to_start_by", nullable=True),
        _number("schedule_to_close_by", nullable=True),
        Column("cancel_requested", SmallInteger, nullable=False),
        Column("worker", LONG, nullable=False),
        Column("details", LONG),
        Column("failure", LONG),
        _number("start_to_close", nullable=True),
        _number("heartbeat", nullable=True),
        # Whether the activity may be attempted more than once; if so, its claim need not wait for the disk.
        Column("repeatable", SmallInteger, nullable=False),
        Column("namespace", ID, nullable=False),
        Column("queue", LONG),
        Column("data", LONG, nullable=False),
        Index(f"{prefix}tasks_due", "namespace", "due_at"),
    )


def _leases(metadata: MetaData, prefix: str) -> Table:
    return Table(
        f"{prefix}leases",
        metadata,
        Column("name", ID, primary_key=True),
        Column("holder", LONG, nullable=False),
        _number("until_at"),
    )
