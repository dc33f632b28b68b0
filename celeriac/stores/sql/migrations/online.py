"""For revisions: changes that workers need not stop for, and that a migration which died may have made already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import context, op


def prefix() -> str:
    """Return what the tables' names begin with."""
    found: str = context.config.attributes["prefix"]
    return found


def schema() -> str | None:
    """Return the schema that the tables are in."""
    found: str | None = context.config.attributes["schema"]
    return found


def add_index(name: str, table: str, columns: Sequence[str], **options: Any) -> None:
    """Build an index beside the work of others.

    PostgreSQL does so outside transactions only, and leaves an invalid index behind where that fails: it is dropped first.
    MariaDB does so by itself.

    :param name: of the index, and ``table``, of its table: without the prefix.
    """
    name, table = f"{prefix()}{name}", f"{prefix()}{table}"
    if op.get_bind().dialect.name != "postgresql":
        if not _there(name, table):
            op.create_index(name, table, list(columns), schema=schema(), **options)
        return
    with op.get_context().autocommit_block():
        how: dict[str, Any] = {"schema": schema(), "postgresql_concurrently": True}
        op.drop_index(name, table, if_exists=True, **how)
        op.create_index(name, table, list(columns), **how, **options)


def add_column(table: str, column: sa.Column[Any]) -> None:
    """Add a column that may be empty: no row is rewritten.

    :param table: without the prefix.
    """
    table = f"{prefix()}{table}"
    if op.get_context().as_sql or column.name not in _columns(table):
        op.add_column(table, column, schema=schema())


def _there(name: str, table: str) -> bool:
    return not op.get_context().as_sql and sa.inspect(op.get_bind()).has_index(table, name, schema=schema())


def _columns(table: str) -> set[str]:
    return {each["name"] for each in sa.inspect(op.get_bind()).get_columns(table, schema=schema())}
