"""What went wrong, told from the driver's own exceptions."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

from celeriac.errors import StoreRefused, StoreUnavailable


class Fault(StrEnum):
    """What a driver's exception means for the one who was writing."""

    UNIQUE = "unique"
    """A row with the same key is there."""
    RETRY = "retry"
    """Deadlock, serialisation failure, busy: nothing was written, the same again may work."""
    UNWELL = "unwell"
    """The server has answered that it can't now: a statement that took too long, a full disk. Nothing was written."""
    LOST = "lost"
    """The connection is gone, or the server takes none."""
    SCHEMA = "schema"
    """A table or column is not there."""
    CHECK = "check"
    """A text that is none of the type it was cast to: how a statement of several parts undoes them all."""
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


class NotNow(StoreUnavailable):
    """The server has answered, and that it can't: nothing was written."""


class CheckFailed(StoreRefused):
    """A statement that checks itself has found less than it must, and has written nothing."""


# Classes of https://www.postgresql.org/docs/current/errcodes-appendix.html
_PG_RETRY: Final = {"40001", "40P01", "55P03"}
_PG_SCHEMA: Final = {"42P01", "42703", "3F000"}
_PG_LOST: Final = {"57P01", "57P02", "57P03", "57P04", "57P05", "53300", "25006", "25P03", "25P04", "40003"}
# Who may do what, resources, operators (a statement that was canceled or took too long), the system, the server's own faults:
# someone mends that, and what was to be written is not to blame.
_PG_UNWELL: Final = ("28", "42501", "53", "57", "58", "XX")
_PG_FORGOTTEN: Final = {"26000", "42P05"}
_PG_CODES: Final = {
    "23505": Fault.UNIQUE,
    "22P02": Fault.CHECK,
    **dict.fromkeys(_PG_RETRY, Fault.RETRY),
    **dict.fromkeys(_PG_SCHEMA, Fault.SCHEMA),
    **dict.fromkeys(_PG_LOST, Fault.LOST),
}


def of_psycopg(error: BaseException) -> Fault:
    """Tell what an exception of psycopg means."""
    state = getattr(error, "sqlstate", None)
    if state is None:  # not the server's word: the connection failed, or was closed
        return (
            Fault.LOST
            if type(error).__name__ in {"OperationalError", "InterfaceError", "ConnectionTimeout"}
            else Fault.OTHER
        )
    if state in _PG_CODES:
        return _PG_CODES[state]
    if state.startswith("08"):
        return Fault.LOST
    if state.startswith(_PG_UNWELL):
        return Fault.UNWELL
    return Fault.RETRY if is_of_a_stale_statement(error) else Fault.OTHER


def is_of_a_stale_statement(error: BaseException) -> bool:
    """Say whether what this connection has prepared is no longer what the server would run, as after an ALTER TABLE.

    The server finds that out before it runs the statement, and once more each time: only another connection helps.
    """
    state = getattr(error, "sqlstate", None)
    if state != "0A000":
        return state in _PG_FORGOTTEN
    # The server may say it in any language.
    function = getattr(getattr(error, "diag", None), "source_function", None)
    return function == "RevalidateCachedQuery" or "cached plan" in str(error)


def of_sqlite(error: BaseException) -> Fault:
    """Tell what an exception of sqlite3 means."""
    name = getattr(error, "sqlite_errorname", None) or ""
    if name in {"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"}:
        return Fault.UNIQUE
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL", "SQLITE_SCHEMA")):
        return Fault.RETRY
    if name.startswith(("SQLITE_FULL", "SQLITE_INTERRUPT", "SQLITE_NOMEM", "SQLITE_PERM", "SQLITE_AUTH")):
        return Fault.UNWELL
    if name == "SQLITE_ERROR" and str(error).startswith(("no such table", "no such column")):
        return Fault.SCHEMA
    broken = (
        "SQLITE_IOERR",
        "SQLITE_CANTOPEN",
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
    1412: Fault.RETRY,  # so has the table
    1615: Fault.RETRY,  # a prepared statement is to be prepared again
    1689: Fault.RETRY,  # a wait for a lock was called off
    3101: Fault.RETRY,  # a plugin, such as group replication, had it rolled back
    1146: Fault.SCHEMA,
    1054: Fault.SCHEMA,
    1049: Fault.SCHEMA,
    **dict.fromkeys((1040, 1053, 1077, 1079, 1152, 1153, 1158, 1159, 1160, 1161, 1927, 4031), Fault.LOST),
    **dict.fromkeys((1047, 1290, 1792, 1836), Fault.LOST),  # another server may take it, now that this one does not
    1180: Fault.LOST,  # an error during COMMIT, of which it is not said how far it came
    **dict.fromkeys((1, 2, 3, 4, 5, 20, 29), Fault.UNWELL),  # files, memory, disk: the server's library says so
    **dict.fromkeys((1016, 1017, 1021, 1023, 1024, 1026, 1030, 1114, 1194, 1195), Fault.UNWELL),  # files, disk
    **dict.fromkeys((1037, 1038, 1041, 1135, 1203, 1206, 1226, 1637), Fault.UNWELL),  # memory, threads, limits
    **dict.fromkeys((1044, 1045, 1129, 1130, 1142, 1143, 1227, 1698), Fault.UNWELL),  # who may do what
    **dict.fromkeys((1317, 1969, 3024, 3100), Fault.UNWELL),  # interrupted, took too long, was not agreed to
}
_MYSQL_CLIENT: Final = range(2000, 3000)
"""What the client says, not the server: of its connection."""


def of_mysql(error: BaseException) -> Fault:
    """Tell what an exception of pymysql or mysqlclient means."""
    code = error.args[0] if error.args else None
    if code in _MYSQL:
        return _MYSQL[code]
    if code in _MYSQL_CLIENT:
        return Fault.LOST
    # pymysql says (0, "") of a connection that it has closed itself, and has no number for an answer out of order
    kind = type(error).__name__
    lost = kind == "InterfaceError" or (kind == "InternalError" and isinstance(code, str))
    return Fault.LOST if lost else Fault.OTHER
