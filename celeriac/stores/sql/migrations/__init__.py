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
from typing import TYPE_CHECKING, Final

from sqlalchemy import inspect, select
from sqlalchemy.engine import URL, Connection, Engine

from celeriac.errors import SchemaMismatch
from celeriac.stores.sql.engine import make_engine
from celeriac.stores.sql.migrations.locking import alone, changing, until_free
from celeriac.stores.sql.schema import DEFAULT_PREFIX, check_names
from celeriac.stores.sql.versioning import HEAD, difference, is_fit, is_later, is_ours, is_strange, version_table

if TYPE_CHECKING:
    from celeriac.stores.sql.transactions import Database

__all__ = ["HEAD", "current", "make_ready", "migrate", "run"]

_LOG: Final = logging.getLogger("celeriac.store")
_alembic: Final = threading.Lock()
"""Alembic keeps the environment that it is in as a global of the process."""


def migrate(target: str | URL | Engine, *, table_prefix: str = DEFAULT_PREFIX, schema: str | None = None) -> str:
    """Bring the tables up to this version of celeriac, while workers go on, and return the version they are of.

    Done twice, or at once, is done once. Tables of a later version that this celeriac works with stay as they are.

    :param target: the store's URL, or an engine.
    :raises SchemaMismatch: the tables are of a version that this celeriac does not know.
    :raises StoreUnavailable: they, or another migration, stayed in the way for minutes.
    :raises ConfigurationError: prefix or schema are no parts of names.
    """
    check_names(table_prefix, schema)
    with _engine(target) as engine, _alembic, alone(engine, table_prefix):
        until_free(lambda: _upgrade(engine, table_prefix, schema))
        return current(engine, table_prefix=table_prefix, schema=schema) or HEAD


def current(target: str | URL | Engine, *, table_prefix: str = DEFAULT_PREFIX, schema: str | None = None) -> str | None:
    """Return the version of the tables, or None where there are none."""
    check_names(table_prefix, schema)
    with _engine(target) as engine, engine.connect() as connection:
        return _version(connection, table_prefix, schema)


def make_ready(db: Database) -> None:
    """See that the tables are there; create or upgrade them where that asks nobody's leave, which is in SQLite.

    :raises SchemaMismatch: they are absent, or of another version.
    """
    tables = db.tables
    query = db.statement(select(version_table(tables.prefix, tables.schema).c.version_num))
    found: str | None = None
    try:
        row = db.single(lambda session: session.row(query, {}))
        found = None if row is None else str(row[0])
    except SchemaMismatch:
        if db.dialect.name != "sqlite":
            raise
    if is_fit(found):
        if is_later(found):
            _LOG.info("the store's tables are of version %s; this celeriac knows %s and works with them", found, HEAD)
    elif db.dialect.name == "sqlite" and (found is None or is_ours(found)):
        migrate(db.engine, table_prefix=tables.prefix, schema=tables.schema)
    else:
        raise SchemaMismatch(difference(found))


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


def _upgrade(engine: Engine, prefix: str, schema: str | None) -> None:
    with changing(engine) as connection:
        found = _version(connection, prefix, schema)
        if is_fit(found):
            return
        if is_strange(found):
            raise SchemaMismatch(difference(found))
        if engine.dialect.name != "sqlite":
            connection.rollback()  # what has looked; each version is a transaction of its own
        run(connection, prefix, schema)


def run(connection: Connection, prefix: str, schema: str | None, to: str = "head") -> None:
    """Run the revisions up to a version; :func:`migrate` sees to everything else."""
    # Only who migrates pays for loading it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes.update(connection=connection, prefix=prefix, schema=schema)
    with _quiet():
        command.upgrade(config, to)


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
    table = version_table(prefix, schema)
    if not inspect(connection).has_table(table.name, schema=schema):
        return None
    return connection.scalar(select(table.c.version_num))
