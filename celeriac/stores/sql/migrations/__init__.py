"""The schema's versions: one Alembic history of our own, with a version table of its own.

Nothing here touches the application's Alembic: no ``alembic.ini``, no shared version table, no shared
metadata.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Column, MetaData, String, Table, inspect, select
from sqlalchemy.engine import URL, Connection, Engine

from celeriac.errors import SchemaMismatch
from celeriac.stores.sql.engine import make_engine
from celeriac.stores.sql.schema import DEFAULT_PREFIX

if TYPE_CHECKING:
    from celeriac.stores.sql.transactions import Database

HEAD: Final = "0001"
"""The version that this celeriac reads and writes."""
_KNOWN: Final = frozenset({HEAD})
_HOW: Final = "run: celery -A yourapp workflow migrate"
_LOCK_LIMIT: Final = 60
"""Seconds that one migration waits for another to end."""
_alembic: Final = threading.Lock()
"""Alembic keeps the environment that it is in as a global of the process."""


def migrate(target: str | URL | Engine, *, table_prefix: str = DEFAULT_PREFIX, schema: str | None = None) -> str:
    """Bring the tables up to this version of celeriac and return the version's name. Done twice, or at once,
    is done once.

    :param target: the store's URL, or an engine.
    :raises SchemaMismatch: the tables are of a later version than this celeriac knows.
    """
    with _engine(target) as engine, _alembic, _locked(engine, table_prefix) as connection:
        _upgrade(connection, table_prefix, schema)
    return HEAD


def current(target: str | URL | Engine, *, table_prefix: str = DEFAULT_PREFIX, schema: str | None = None) -> str | None:
    """Return the version of the tables, or None where there are none."""
    with _engine(target) as engine, engine.connect() as connection:
        return _version(connection, table_prefix, schema)


def make_ready(db: Database) -> None:
    """See that the tables are there; create them where that asks nobody's leave, which is in SQLite.

    :raises SchemaMismatch: they are absent, or of another version.
    """
    tables = db.tables
    query = db.statement(select(_version_table(tables.prefix, tables.schema).c.version_num))
    found: str | None = None
    try:
        row = db.single(lambda session: session.row(query, {}))
        found = None if row is None else str(row[0])
    except SchemaMismatch:
        if db.dialect.name != "sqlite":
            raise
    if found is None and db.dialect.name == "sqlite":
        migrate(db.engine, table_prefix=tables.prefix, schema=tables.schema)
    elif found != HEAD:
        raise SchemaMismatch(_difference(found))


def _difference(found: str | None) -> str:
    if found is None:
        return f"the store's tables are not there yet; {_HOW}"
    if found in _KNOWN:
        return f"the store's tables are of version {found}, this celeriac needs {HEAD}; {_HOW}"
    return (
        f"the store's tables are of version {found}, which this celeriac (up to {HEAD}) does not know; upgrade celeriac"
    )


@contextmanager
def _engine(target: str | URL | Engine) -> Iterator[Engine]:
    if isinstance(target, Engine):
        yield target
        return
    engine = make_engine(target)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _locked(engine: Engine, prefix: str) -> Iterator[Connection]:
    """Open a transaction that excludes other migrations, and commit it."""
    name = engine.dialect.name
    level = "AUTOCOMMIT" if name == "sqlite" else "READ COMMITTED"
    with engine.connect().execution_options(isolation_level=level) as connection, connection.begin():
        lock = f"{prefix}migrate"
        if name == "sqlite":
            if not _driver_connection(connection).in_transaction:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
        elif name == "postgresql":
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_LIMIT}s'")
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext(%(lock)s))", {"lock": lock})
            yield connection
        else:
            connection.exec_driver_sql("SELECT get_lock(%s, %s)", (lock, _LOCK_LIMIT))
            try:
                yield connection
            finally:
                connection.exec_driver_sql("SELECT release_lock(%s)", (lock,))


def _driver_connection(connection: Connection) -> Any:
    return connection.connection.dbapi_connection


def _upgrade(connection: Connection, prefix: str, schema: str | None) -> None:
    found = _version(connection, prefix, schema)
    if found == HEAD:
        return
    if found is not None and found not in _KNOWN:
        raise SchemaMismatch(_difference(found))
    # Only who migrates pays for loading it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes.update(connection=connection, prefix=prefix, schema=schema)
    with _quiet():
        command.upgrade(config, "head")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Alembic's own remarks about its steps out of the log of a worker that makes its tables."""
    log = logging.getLogger("alembic.runtime")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)


def _version(connection: Connection, prefix: str, schema: str | None) -> str | None:
    table = _version_table(prefix, schema)
    if not inspect(connection).has_table(table.name, schema=schema):
        return None
    return connection.scalar(select(table.c.version_num))


def _version_table(prefix: str, schema: str | None) -> Table:
    return Table(f"{prefix}alembic_version", MetaData(), Column("version_num", String(32)), schema=schema)
