"""What differs between databases in beginning a transaction, and in telling whether a connection is alive."""

# ruff: noqa: ARG002 - one signature for all drivers, of which each needs a part

from __future__ import annotations

import select
from typing import Any, Final

from sqlalchemy.engine import Engine

from celeriac.errors import ConfigurationError
from celeriac.stores.sql import faults
from celeriac.stores.sql.faults import Fault


class Driver:
    """How to talk to one kind of database through its DBAPI driver.

    A connection comes to :meth:`prepare` each time it is taken from the pool and to :meth:`restore` before it
    goes back, so that an engine which the application shares with us finds its connections as it left them.
    """

    locks_rows = True
    """Whether SELECT ... FOR UPDATE exists."""
    in_process = False
    """Whether the database is a library: then an interrupted call leaves no half-read answer behind."""
    autocommits = False
    """Whether a statement outside of a transaction is one of its own."""

    def __init__(self, *, owned: bool) -> None:
        self.owned = owned

    def prepare(self, connection: Any) -> None:
        """Take over a connection from the pool."""

    def restore(self, connection: Any) -> None:
        """Leave a connection as it was."""

    def begin(self, connection: Any, cursor: Any) -> None:
        """Begin a transaction that writes: read committed, or stricter."""
        raise NotImplementedError

    def begin_snapshot(self, connection: Any, cursor: Any) -> None:
        """Begin a transaction whose statements all read one snapshot, taken from now on."""
        raise NotImplementedError

    def commit(self, connection: Any, cursor: Any) -> None:
        """End the transaction."""
        raise NotImplementedError

    def rollback(self, connection: Any, cursor: Any) -> None:
        """Undo the transaction."""
        raise NotImplementedError

    def fault(self, error: BaseException) -> Fault:
        """Tell what an exception of the driver means."""
        raise NotImplementedError

    def answered(self, error: Exception) -> bool:
        """Say whether the exception is the server's answer, so that the connection may be used further."""
        return self.fault(error) in {Fault.UNIQUE, Fault.RETRY, Fault.UNWELL, Fault.SCHEMA}

    def socket(self, connection: Any) -> int | None:
        """Return the file descriptor of the connection's socket, if it has one."""
        return None

    def alive(self, connection: Any) -> bool:
        """Say whether an idle connection may be used, without asking the server.

        A server that ended the connection has said so: there is something to read, where an idle connection
        has nothing.
        """
        try:
            socket = self.socket(connection)
            if socket is None:
                return True
            poll = select.poll()
            poll.register(socket, select.POLLIN)
            return not poll.poll(0)
        except Exception:  # noqa: BLE001 - drivers raise what they like for a connection that is closed
            return False


class Sqlite(Driver):
    """Python's own ``sqlite3``."""

    locks_rows = False
    in_process = True

    def prepare(self, connection: Any) -> None:
        """Keep sqlite3 from beginning transactions by itself: ours begin by taking the lock."""
        if connection.isolation_level is not None:
            connection.isolation_level = None

    def restore(self, connection: Any) -> None:
        """Give an application's connection sqlite3's default back."""
        if not self.owned:
            connection.isolation_level = ""

    def begin(self, connection: Any, cursor: Any) -> None:
        """Take the write lock first: a read lock that is to become one fails where others wait."""
        cursor.execute("BEGIN IMMEDIATE")

    def begin_snapshot(self, connection: Any, cursor: Any) -> None:
        """Begin; in WAL mode the first read fixes the snapshot."""
        cursor.execute("BEGIN")

    def commit(self, connection: Any, cursor: Any) -> None:
        """End the transaction, on disk when it returns."""
        cursor.execute("COMMIT")

    def rollback(self, connection: Any, cursor: Any) -> None:
        """Undo the transaction, if SQLite has not done so itself."""
        if connection.in_transaction:
            cursor.execute("ROLLBACK")

    def fault(self, error: BaseException) -> Fault:
        """Tell what an exception of sqlite3 means."""
        return faults.of_sqlite(error)


class Psycopg(Driver):
    """PostgreSQL through psycopg 3."""

    autocommits = True

    def prepare(self, connection: Any) -> None:
        """Let single statements be their own transactions: one round trip instead of three."""
        if not connection.autocommit:
            connection.autocommit = True

    def restore(self, connection: Any) -> None:
        """Give an application's connection its mode back."""
        if not self.owned:
            connection.autocommit = False

    def begin(self, connection: Any, cursor: Any) -> None:
        """Begin, read committed whatever the server's default is."""
        cursor.execute("BEGIN ISOLATION LEVEL READ COMMITTED")

    def begin_snapshot(self, connection: Any, cursor: Any) -> None:
        """Begin; the first statement fixes the snapshot."""
        cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def commit(self, connection: Any, cursor: Any) -> None:
        """End the transaction, on disk when it returns."""
        cursor.execute("COMMIT")

    def rollback(self, connection: Any, cursor: Any) -> None:
        """Undo the transaction."""
        cursor.execute("ROLLBACK")

    def fault(self, error: BaseException) -> Fault:
        """Tell what an exception of psycopg means."""
        return faults.of_psycopg(error)

    def answered(self, error: Exception) -> bool:
        """Say whether the server sent it: what has an SQLSTATE of its, and does not end the connection.

        One whose prepared statements are of no use any more is not to be used further either.
        """
        sent = getattr(error, "sqlstate", None) is not None and self.fault(error) is not Fault.LOST
        return sent and not faults.is_of_a_stale_statement(error)

    def socket(self, connection: Any) -> int | None:
        """Return libpq's socket; raises for a closed connection."""
        return int(connection.fileno())


class Mysql(Driver):
    """MySQL and MariaDB through pymysql or mysqlclient."""

    autocommits = True

    def prepare(self, connection: Any) -> None:
        """Let single statements be their own transactions; the driver knows how things stand without asking."""
        if not connection.get_autocommit():
            connection.autocommit(True)  # noqa: FBT003 - the driver's signature

    def restore(self, connection: Any) -> None:
        """Give an application's connection its mode back."""
        if not self.owned:
            connection.autocommit(False)  # noqa: FBT003 - the driver's signature

    def begin(self, connection: Any, cursor: Any) -> None:
        """Begin, read committed: the gap locks of their default would make deliveries wait for one another."""
        if not self.owned:  # ours are so from the beginning
            cursor.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        cursor.execute("START TRANSACTION")

    def begin_snapshot(self, connection: Any, cursor: Any) -> None:
        """Begin with a snapshot."""
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")

    def commit(self, connection: Any, cursor: Any) -> None:
        """End the transaction."""
        connection.commit()

    def rollback(self, connection: Any, cursor: Any) -> None:
        """Undo the transaction."""
        connection.rollback()

    def fault(self, error: BaseException) -> Fault:
        """Tell what an exception of pymysql or mysqlclient means."""
        return faults.of_mysql(error)

    def socket(self, connection: Any) -> int | None:
        """Return pymysql's socket; mysqlclient keeps its own to itself."""
        socket = getattr(connection, "_sock", None)
        return None if socket is None else int(socket.fileno())


_DRIVERS: Final[dict[tuple[str, str], type[Driver]]] = {
    ("sqlite", "pysqlite"): Sqlite,
    ("postgresql", "psycopg"): Psycopg,
    ("mysql", "pymysql"): Mysql,
    ("mariadb", "pymysql"): Mysql,
    ("mysql", "mysqldb"): Mysql,
    ("mariadb", "mysqldb"): Mysql,
}


def driver_for(engine: Engine, *, owned: bool) -> Driver:
    """Return how to talk through this engine.

    :param owned: the engine is ours alone, not the application's.
    :raises ConfigurationError: a database or driver that is not supported.
    """
    name, driver = engine.dialect.name, engine.dialect.driver
    check_supported(name, driver)
    return _DRIVERS[name, driver](owned=owned)


def check_supported(database: str, driver: str) -> None:
    """See that there is a way to talk to this database through this driver.

    :raises ConfigurationError: there is none; lists those there are.
    """
    if (database, driver) not in _DRIVERS:
        known = ", ".join(sorted(f"{each}+{by}" for each, by in _DRIVERS))
        raise ConfigurationError(f"{database}+{driver} can't be a store. Supported are: {known}")
