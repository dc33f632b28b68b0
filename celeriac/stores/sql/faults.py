"""What went wrong, told from the driver's own exceptions."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from celeriac.errors import StoreUnavailable


class Fault(StrEnum):
    """What a driver's exception means for the one who was writing."""

    UNIQUE = "unique"
    """A row with the same key is there."""
    RETRY = "retry"
    """Deadlock, serialisation failure, busy: nothing was written, the same again may work."""
    LOST = "lost"
    """The connection is gone, or the server takes none."""
    SCHEMA = "schema"
    """A table or column is not there."""
    OTHER = "other"


class UniqueViolation(Exception):
    """A row with the same key is there; the transaction was rolled back."""


class Undo(Exception):
    """Raised inside a transaction to roll it back and have ``result`` as its outcome."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result


class CommitUnknown(StoreUnavailable):
    """The connection was lost while a commit was under way: it may have been written, or not."""


# Classes of https://www.postgresql.org/docs/current/errcodes-appendix.html
_PG_RETRY: Final = {"40001", "40P01", "55P03"}
_PG_SCHEMA: Final = {"42P01", "42703", "3F000"}
_PG_LOST: Final = {"57P01", "57P02", "57P03", "57P05", "53300", "25006", "25P03"}


def of_psycopg(error: BaseException) -> Fault:
    """Tell what an exception of psycopg means."""
    state = getattr(error, "sqlstate", None)
    if state is None:  # not the server's word: the connection failed, or was closed
        return (
            Fault.LOST
            if type(error).__name__ in {"OperationalError", "InterfaceError", "ConnectionTimeout"}
            else Fault.OTHER
        )
    if state == "23505":
        return Fault.UNIQUE
    if state in _PG_RETRY:
        return Fault.RETRY
    if state in _PG_SCHEMA:
        return Fault.SCHEMA
    return Fault.LOST if state in _PG_LOST or state.startswith("08") else Fault.OTHER


def of_sqlite(error: BaseException) -> Fault:
    """Tell what an exception of sqlite3 means."""
    name = getattr(error, "sqlite_errorname", None) or ""
    if name in {"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"}:
        return Fault.UNIQUE
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Fault.RETRY
    if name == "SQLITE_ERROR" and str(error).startswith(("no such table", "no such column")):
        return Fault.SCHEMA
    broken = (
        "SQLITE_IOERR",
        "SQLITE_CANTOPEN",
        "SQLITE_FULL",
        "SQLITE_READONLY",
        "SQLITE_CORRUPT",
        "SQLITE_NOTADB",
    )
    return Fault.LOST if name.startswith(broken) else Fault.OTHER


# https://mariadb.com/docs/server/reference/error-codes
_MYSQL: Final = {
    1062: Fault.UNIQUE,
    1205: Fault.RETRY,  # lock wait timeout
    1213: Fault.RETRY,  # deadlock
    1020: Fault.RETRY,  # record has changed since last read
    1146: Fault.SCHEMA,
    1054: Fault.SCHEMA,
    1049: Fault.SCHEMA,
    **dict.fromkeys((1040, 1053, 1077, 1079, 1152, 1153, 1158, 1159, 1160, 1161, 1290, 1927), Fault.LOST),
    **dict.fromkeys((2002, 2003, 2006, 2013, 2014, 2045, 2055, 4031), Fault.LOST),
}


def of_mysql(error: BaseException) -> Fault:
    """Tell what an exception of pymysql or mysqlclient means."""
    code = error.args[0] if error.args else None
    if code in _MYSQL:
        return _MYSQL[code]
    # pymysql says (0, "") of a connection that it has closed itself
    return Fault.LOST if type(error).__name__ == "InterfaceError" else Fault.OTHER
