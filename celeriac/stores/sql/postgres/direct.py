"""Statements of the fast path, run on libpq without psycopg's cursor.

A cursor looks for a statement's form, its parameters' types and their way onto the wire anew each time, which costs more
processor time than sending it and waiting for the answer. The statements here are few, their parameters are texts and whole
numbers, and what they return is texts, whole numbers and truth values: all of that is known beforehand. Each connection prepares
a statement once it has run it as often as psycopg would have it; until then, and for anything out of the ordinary, the cursor
does it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from psycopg import Connection, errors, generators
from psycopg.pq import ExecStatus

from celeriac.stores.sql.statements import Raw

Row = Sequence[Any]
_PREPARED: Final = "celeriac_prepared"
"""Set on a connection: by a statement's text and its parameters' types its name, or how often it has run without one."""
_NUMBERS: Final = itertools.count()
_UNTYPED: Final = 0
"""The server finds a parameter's type by where it stands, as it does with a literal."""
_INT8: Final = 20


class Direct(Raw):
    """A statement that goes the short way where it can."""

    __slots__ = ("_names", "_numbered")

    def __init__(self, text: str, *, wants_now: bool) -> None:
        super().__init__(text, wants_now=wants_now)
        self._names: list[str] = []
        self._numbered = re.sub(r"%\((\w+)\)s", self._number, text).replace("%%", "%").encode()

    def _number(self, found: re.Match[str]) -> str:
        self._names.append(found[1])
        return f"${len(self._names)}"

    def rows(
        self, connection: Any, values: Mapping[str, Any], meanwhile: Callable[[], None] | None = None
    ) -> list[Row] | None:
        """Run the statement and return its rows; None where it has to go through a cursor, and has not been run.

        :param meanwhile: called when the statement is on its way.
        :raises psycopg.Error: as a cursor would.
        """
        if connection.prepare_threshold is None:
            return None
        kinds, written = [], []
        for name in self._names:
            value = values[name]
            found = _WRITE.get(type(value), _refused)(value)
            if found is None:
                return None
            kinds.append(found[0])
            written.append(found[1])
        prepared = self._prepared(connection, tuple(kinds))
        if prepared is None:
            return None
        connection.pgconn.send_query_prepared(prepared, written)
        if meanwhile is not None:
            connection.pgconn.flush()  # as much of it as the socket takes
            meanwhile()
        try:
            return _rows(_answer(connection))
        except errors.InvalidSqlStatementName:  # somebody has had the server forget it
            del connection.__dict__[_PREPARED]
            return None

    def _prepared(self, connection: Connection[Any], kinds: tuple[int, ...]) -> bytes | None:
        known: dict[Any, bytes | int] = connection.__dict__.setdefault(_PREPARED, {})
        key = (self._numbered, kinds)
        found = known.get(key, 0)
        if isinstance(found, bytes):
            return found
        if found + 1 < (connection.prepare_threshold or 0) or not _speaks_utf8(connection):
            known[key] = found + 1
            return None
        name = f"celeriac_{next(_NUMBERS)}".encode()
        connection.pgconn.send_prepare(name, self._numbered, kinds)
        _answer(connection)
        known[key] = name
        return name


def _text(value: str) -> tuple[int, bytes | None] | None:
    # What ends a text in C is refused by psycopg, in words; half a surrogate pair raises here as it does there.
    return None if "\0" in value else (_UNTYPED, value.encode())


def _refused(_: Any) -> None:
    return None


_WRITE: Final[Mapping[type, Callable[[Any], tuple[int, bytes | None] | None]]] = {
    str: _text,
    int: lambda value: (_INT8, str(value).encode()),
    type(None): lambda _: (_UNTYPED, None),
}
_READ: Final[Mapping[int, Callable[[bytes], Any]]] = {
    16: lambda value: value == b"t",
    20: int,
    21: int,
    23: int,
}
"""How to read a column, by its type; texts in all others."""


def _speaks_utf8(connection: Connection[Any]) -> bool:
    return connection.pgconn.parameter_status(b"client_encoding") == b"UTF8"


def _answer(connection: Connection[Any]) -> Any:
    """Return the answer to what was sent; raise it if it is an error."""
    answer = connection.wait(generators.execute(connection.pgconn))[-1]
    if answer.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
        raise errors.error_from_result(answer)
    return answer


def _rows(answer: Any) -> list[Row]:
    readers = [_READ.get(answer.ftype(column), bytes.decode) for column in range(answer.nfields)]
    return [
        [
            None if (value := answer.get_value(row, column)) is None else read(value)
            for column, read in enumerate(readers)
        ]
        for row in range(answer.ntuples)
    ]
