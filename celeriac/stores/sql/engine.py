"""Engines as the store wants them: one connection a process, opened at first use, alive, never carried over a
fork.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any, Final

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool, QueuePool

from celeriac.errors import ConfigurationError, MissingExtra
from celeriac.stores.sql.drivers import check_supported

_BUSY: Final = 5.0
"""Seconds that SQLite waits for a lock before it says that it is busy; then the store tries again."""
_CONNECT: Final = 5
"""Seconds that a server may take to answer, where the URL doesn't say otherwise."""
_EXTRAS: Final = {"psycopg": "postgres", "pymysql": "mysql", "MySQLdb": "mysql"}
_DEFAULT_DRIVERS: Final = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
}


def make_engine(url: str | URL) -> Engine:
    """Make an engine of the store's own, without a pool: :class:`.Connections` keeps what it opens.

    :param url: as SQLAlchemy takes it. Without a driver PostgreSQL means psycopg and MariaDB pymysql. On PostgreSQL
        ``?prepare_threshold=none`` keeps psycopg from preparing statements; behind a PgBouncer it does not anyway.
    :raises ConfigurationError: a URL that can't work.
    :raises MissingExtra: the database's driver is not installed.
    """
    parsed = _parse(url)
    options: dict[str, Any] = {"poolclass": NullPool}
    family = parsed.get_backend_name()
    if family == "postgresql":
        parsed, connect = _postgresql(parsed)
    elif family == "sqlite":
        connect = {"timeout": _BUSY, "check_same_thread": False, "cached_statements": 256}
        options["isolation_level"] = "AUTOCOMMIT"  # that is: ours begin explicitly
        if parsed.database in {None, "", ":memory:"}:  # each connection would be another database
            options |= {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0}
    else:
        connect = {"connect_timeout": _CONNECT, "charset": "utf8mb4"}
    # What the URL says goes before what we think.
    connect = {name: value for name, value in connect.items() if name not in parsed.query}
    engine = _create(parsed, connect, options)
    if family in _CONFIGURE:
        event.listen(engine, "connect", _CONFIGURE[family])
    return engine


def _parse(url: str | URL) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        shown = str(url).partition("://")[0]
        raise ConfigurationError(
            f"the store's URL, which begins {shown[:20]!r}, can't be read. A store is named like "
            f"postgresql+psycopg://user:password@host/database or sqlite:///file.db"
        ) from None
    parsed = parsed.set(drivername=_DEFAULT_DRIVERS.get(parsed.drivername, parsed.drivername))
    family, _, driver = parsed.drivername.partition("+")
    check_supported(family, driver or "pysqlite")
    return parsed


def _postgresql(url: URL) -> tuple[URL, dict[str, Any]]:
    connect: dict[str, Any] = {"connect_timeout": _CONNECT, "application_name": "celeriac"}
    # A network that drops packets silently is noticed within half a minute.
    connect |= {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}
    threshold = url.query.get("prepare_threshold")
    if threshold is not None:
        url = url.difference_update_query(["prepare_threshold"])
        try:
            connect["prepare_threshold"] = None if str(threshold).lower() == "none" else int(str(threshold))
        except ValueError:
            raise ConfigurationError(f"prepare_threshold={threshold!r} in the store's URL: a number, or none") from None
    return url, connect


def _create(url: URL, connect: dict[str, Any], options: dict[str, Any]) -> Engine:
    try:
        return create_engine(url, connect_args=connect, pool_reset_on_return=None, **options)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(error.name or "")
        if extra is None:
            raise
        raise MissingExtra(f"the store {url.drivername}", extra) from error
    except (ArgumentError, TypeError) as error:
        raise ConfigurationError(f"the store's URL can't be used: {error}") from None


def _configure_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    # Changing the journal's mode does not wait for others as statements do.
    deadline = time.monotonic() + _BUSY
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _configure_postgresql(connection: Any, _: Any) -> None:
    """Settle what the statements count on, for a connection that is ours alone.

    Behind a pooler it is not: there a setting would end up with somebody else, and a prepared statement may be with
    another server process than the one that is asked to run it. A pooler gives itself away by the process id that it
    hands out for canceling.
    """
    connection.autocommit = True
    query = "SELECT pg_backend_pid(), current_setting('default_transaction_isolation')"
    with connection.cursor() as cursor:
        pid, level = cursor.execute(query).fetchone()
        if pid != connection.info.backend_pid:
            connection.prepare_threshold = None
            return
        # A plan that is made while a table is small, and kept, must not read all of it when it has grown.
        cursor.execute("SET enable_seqscan = off")
        if level != "read committed":  # anything stricter turns a wait for a row into a failure to be retried
            cursor.execute("SET default_transaction_isolation = 'read committed'")


def _configure_mysql(connection: Any, _: Any) -> None:
    connection.autocommit(True)  # noqa: FBT003 - the driver's signature
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")


_CONFIGURE: Final = {
    "sqlite": _configure_sqlite,
    "postgresql": _configure_postgresql,
    "mysql": _configure_mysql,
    "mariadb": _configure_mysql,
}
