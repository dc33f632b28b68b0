"""Migrations while workers go on: one at a time, never in the way for longer than a bounded time, tried until they get through.

A statement that changes a table waits until nobody uses it, and whoever comes meanwhile waits behind that statement. So it waits
for a short time only, gives way, and is tried again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError

from celeriac.errors import StoreUnavailable

OTHERS: Final = 600
"""Seconds that one migration waits for another to end."""
PATIENCE: Final = 1
"""Seconds that a statement of a migration waits for a lock, and everybody else behind it."""
GIVE_UP: Final = 300.0
"""Seconds after which a migration is not tried again."""
_PAUSE: Final = 0.5
"""Seconds, about, between two tries, in which those who waited get their turn."""
_LOOK: Final = 0.2
"""Seconds between two looks at whether another migration has ended."""
_BUSY: Final = {"55P03", "40P01", 1205, 1213}
"""Lock timeouts and deadlocks, as PostgreSQL and MariaDB tell of them."""


@contextmanager
def alone(engine: Engine, prefix: str) -> Iterator[None]:
    """Exclude other migrations of these tables while the block runs. SQLite has the transaction itself for that.

    The lock is held by a transaction of its own, which does nothing else: so it outlives each transaction of the migration, holds
    up nobody who builds an index beside the others' work, and does behind a pooler that hands out transactions.

    :raises StoreUnavailable: another one does not end.
    """
    name, lock = engine.dialect.name, f"{prefix}migrate"
    if name == "sqlite":
        yield
        return
    with engine.connect().execution_options(isolation_level="READ COMMITTED") as connection:
        if not (_take_postgres(connection, lock) if name == "postgresql" else _take_mariadb(connection, lock)):
            raise StoreUnavailable(f"another migration of these tables did not end within {OTHERS} s")
        try:
            yield
        finally:
            if name != "postgresql":
                connection.exec_driver_sql("SELECT release_lock(%s)", (lock,))


def _take_postgres(connection: Connection, lock: str) -> bool:
    """Take the lock until the transaction ends. Who waits must hold no snapshot: the other one's index would wait for that."""
    deadline = time.monotonic() + OTHERS
    query = "SELECT pg_try_advisory_xact_lock(hashtext(%(lock)s))"
    while not connection.exec_driver_sql(query, {"lock": lock}).scalar():
        connection.rollback()
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK)
    # Also the last statement: until there is another one, a query keeps its snapshot.
    connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
    return True


def _take_mariadb(connection: Connection, lock: str) -> bool:
    return bool(connection.exec_driver_sql("SELECT get_lock(%s, %s)", (lock, OTHERS)).scalar())


@contextmanager
def changing(engine: Engine) -> Iterator[Connection]:
    """Connect for statements that change tables: none of them waits for long.

    A transaction is begun for SQLite only, where it excludes all others; elsewhere Alembic begins one a version.
    """
    name = engine.dialect.name
    level = "AUTOCOMMIT" if name == "sqlite" else "READ COMMITTED"
    with engine.connect().execution_options(isolation_level=level) as connection:
        if name == "sqlite":
            with connection.begin():
                if not connection.connection.dbapi_connection.in_transaction:  # type: ignore[union-attr]
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                yield connection
            return
        limit = _POSTGRES if name == "postgresql" else _MARIADB

        def patience(begun: Connection) -> None:
            for statement in limit:
                begun.exec_driver_sql(statement)

        event.listen(connection, "begin", patience)
        try:
            yield connection
        finally:
            event.remove(connection, "begin", patience)
            if name != "postgresql":  # it knows no setting of one transaction
                with suppress(DBAPIError):  # a lost connection takes them along
                    connection.exec_driver_sql(_AS_BEFORE)


_POSTGRES: Final = (f"SET LOCAL lock_timeout = '{PATIENCE}s'",)
_MARIADB: Final = (
    f"SET SESSION lock_wait_timeout = {PATIENCE}",
    f"SET SESSION innodb_lock_wait_timeout = {PATIENCE}",
)
_AS_BEFORE: Final = "SET SESSION lock_wait_timeout = DEFAULT, SESSION innodb_lock_wait_timeout = DEFAULT"


def until_free(migrate: Callable[[], None]) -> None:
    """Migrate; again, bounded, while the tables are in use.

    :raises StoreUnavailable: they stayed in use.
    """
    deadline = time.monotonic() + GIVE_UP
    while True:
        try:
            return migrate()
        except DBAPIError as error:
            if _code(error) not in _BUSY:
                raise
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    f"the tables were in use for {GIVE_UP:g} s: a transaction on them has been open for long, or statements on "
                    f"them take more than {PATIENCE} s. End those and migrate again; what was done stays done ({error.orig})"
                ) from error
        time.sleep(_PAUSE * random.uniform(0.5, 1.5))  # noqa: S311 - jitter


def _code(error: DBAPIError) -> Any:
    """Return PostgreSQL's class of an error, or MariaDB's number."""
    original: Any = error.orig
    first = original.args[0] if original is not None and original.args else None
    return first if isinstance(first, int) else getattr(original, "sqlstate", None)
