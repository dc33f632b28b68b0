"""A hundred thousand runs in seconds: the rows of one real run, copied as they are under new names."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Column, ColumnElement, MetaData, String, Table, cast, insert, literal, select
from sqlalchemy.engine import Connection, Engine

from celeriac.stores.sql.schema import Tables

_NAMED: Final = frozenset({"run_id", "workflow_id", "workflow_index", "open_id", "start_key", "start_index"})
"""What differs between two runs that have done the same."""
_TIMED: Final = frozenset({"created_at", "closed_at"})
_BATCH: Final = 10_000
_NUMBERS: Final = Table("numbers", MetaData(), Column("n", BigInteger, primary_key=True), prefixes=["TEMPORARY"])


def multiply(engine: Engine, tables: Tables, run_id: str, copies: int, *, apart: int = 0) -> None:
    """Copy a run, its history, its inbox and its task rows so many times.

    :param run_id: of a run that nobody works on, with ids short enough to be indexed as they stand.
    :param apart: microseconds between one copy's ``created_at`` and ``closed_at`` and the next one's, backwards from the
        run's own.
    """
    every = (tables.runs, tables.events, tables.inbox, tables.tasks)
    for first in range(1, copies + 1, _BATCH):
        with engine.begin() as connection:
            _NUMBERS.create(connection)
            connection.execute(insert(_NUMBERS), [{"n": n} for n in range(first, min(first + _BATCH, copies + 1))])
            for table in every:
                _copy(connection, table, run_id, apart)
            _NUMBERS.drop(connection)
    word = "ANALYZE TABLE" if engine.dialect.name in {"mysql", "mariadb"} else "ANALYZE"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for table in every:
            connection.exec_driver_sql(f"{word} {table.fullname}").close()


def _copy(connection: Connection, table: Table, run_id: str, apart: int) -> None:
    def value(column: Column[Any]) -> ColumnElement[Any]:
        if column.name in _NAMED:
            return column.concat("-").concat(cast(_NUMBERS.c.n, String(20)))
        if column.name in _TIMED:
            return column - _NUMBERS.c.n * cast(literal(apart), BigInteger)
        return column

    rows = select(*map(value, table.c)).where(table.c.run_id == run_id)
    both = table.join(_NUMBERS, _NUMBERS.c.n > 0)
    connection.execute(insert(table).from_select(table.c.keys(), rows.select_from(both)))
