"""Transactions: begun, retried, and their failures put into celeriac's own words."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NoReturn, TypeVar

from sqlalchemy import ColumnElement, exc, select
from sqlalchemy.engine import Engine
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.sql.expression import ClauseElement

from celeriac.crashes import CrashPoint, passing
from celeriac.errors import CeleriacError, InvalidCall, SchemaMismatch, StoreRefused, StoreUnavailable
from celeriac.orchestrator.model import SECOND, Micros
from celeriac.stores.sql.clock import Clock, host_clock, store_now
from celeriac.stores.sql.connections import Connections
from celeriac.stores.sql.drivers import driver_for
from celeriac.stores.sql.faults import CheckFailed, CommitUnknown, Fault, NotNow, Undo, UniqueViolation
from celeriac.stores.sql.schema import Tables
from celeriac.stores.sql.statements import NOW, Family, Raw, Statement
from celeriac.stores.sql.versioning import HOW, difference, is_strange, version_table

T = TypeVar("T")
Row = Sequence[Any]

ATTEMPTS: Final = 8
"""How often a transaction is tried that meets deadlocks, serialisation failures or a busy database."""
_FIRST_PAUSE: Final = 0.002  # seconds; doubled each time, with jitter
_PATIENCE: Final = 10.0
"""Seconds after which it is not tried again, however few attempts there were."""


class Session:
    """Statements within one transaction, or each in its own where none was begun."""

    __slots__ = ("_clock", "_cursor", "_trace", "connection")

    def __init__(self, connection: Any, clock: Clock, trace: Callable[[str], None] | None) -> None:
        self.connection = connection
        self._cursor: Any = None
        self._clock = clock
        self._trace = trace

    @property
    def cursor(self) -> Any:
        """The connection's cursor, made when it is first needed."""
        if self._cursor is None:
            self._cursor = self.connection.cursor()
        return self._cursor

    def close(self) -> None:
        """Close the cursor, if there is one."""
        if self._cursor is not None:
            self._cursor.close()

    def execute(self, statement: Statement | Raw, values: Mapping[str, Any]) -> int:
        """Run a statement and return how many rows it changed."""
        self._begin(statement)
        self._execute(statement, self._with_now(statement, values))
        count: int = self.cursor.rowcount
        return count

    def rows(
        self, statement: Statement | Raw, values: Mapping[str, Any], meanwhile: Callable[[], None] | None = None
    ) -> list[Row]:
        """Run a statement and return its rows.

        :param meanwhile: called between question and answer where the statement has a shorter way than the driver's cursor.
        """
        self._begin(statement)
        values = self._with_now(statement, values)
        found: list[Row] | None = statement.rows(self.connection, values, meanwhile)
        if found is None:
            self._execute(statement, values)
            found = self.cursor.fetchall()
        return found

    def row(
        self, statement: Statement | Raw, values: Mapping[str, Any], meanwhile: Callable[[], None] | None = None
    ) -> Row | None:
        """Run a statement and return its first row, or None."""
        found = self.rows(statement, values, meanwhile)
        return found[0] if found else None

    def _with_now(self, statement: Statement | Raw, values: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**values, NOW: self._clock()} if statement.wants_now else values

    def _begin(self, statement: Statement | Raw) -> None:
        if self._trace is not None:
            self._trace(statement.text)

    def _execute(self, statement: Statement | Raw, values: Mapping[str, Any]) -> None:
        self.cursor.execute(statement.text, statement.bind(values))

    def each(self, statement: Statement, many: Sequence[Mapping[str, Any]]) -> None:
        """Run a statement once for each of these parameters."""
        if not many:
            return
        if self._trace is not None:
            self._trace(statement.text)
        self.cursor.executemany(statement.text, [statement.bind(values) for values in many])


class Database:
    """An engine, its tables and its clock: what every part of the store works with.

    :param owned: the engine was made for this store and is closed with it.
    :param clock: the clock in force instead of the server's, or None.
    :param connections: how many connections an engine of our own may open.
    :param redeliver_after: how long after a wake-up the relay publishes the turn itself.
    """

    def __init__(
        self,
        engine: Engine,
        tables: Tables,
        *,
        owned: bool,
        clock: Clock | None = None,
        connections: int = 1,
        redeliver_after: Micros = 10 * SECOND,
    ) -> None:
        self.engine = engine
        self.redeliver_after = redeliver_after
        self.tables = tables
        self.dialect = engine.dialect
        self.driver = driver_for(engine, owned=owned)
        self._driver_s: type[Exception] = engine.dialect.loaded_dbapi.Error
        self.now: ColumnElement[int] = store_now(self.dialect.name, clock)
        self.injected = clock
        self.trace: Callable[[str], None] | None = None
        """Called with the text of each statement before it runs; for tests and benchmarks."""
        self._clock = clock or host_clock
        self.connections = Connections(engine, self.driver, connections)
        self._version = str(select(version_table(tables.prefix, tables.schema).c.version_num).compile(engine))
        self._version_seen = False

    def statement(self, clause: ClauseElement, columns: Sequence[str] | None = None) -> Statement:
        """Compile a statement for this database."""
        return Statement(clause, self.dialect, columns)

    def family(self, build: Callable[[int], ClauseElement]) -> Family:
        """Prepare a statement that comes in sizes."""
        return Family(build, self.dialect)

    # -- three ways to run statements --------------------------------------------------------------

    def write(self, work: Callable[[Session], T]) -> T:
        """Run ``work`` in a transaction, read committed; again, bounded, when the database asks for it.

        ``work`` may raise :class:`Undo` to roll back and return that exception's result.

        :raises UniqueViolation: a row with the same key is there.
        :raises CommitUnknown: the connection was lost while the commit was under way.
        :raises NotNow: the server has answered that it can't, so that nothing was written.
        """
        return self._again(self._write, work)

    def snapshot(self, work: Callable[[Session], T]) -> T:
        """Run ``work``, which only reads, in a transaction that sees one state of the database."""
        return self._again(self._snapshot, work)

    def single(self, work: Callable[[Session], T]) -> T:
        """Run ``work`` without a transaction around it: each of its statements is one of its own."""
        return self._again(self._single, work)

    def change(self, statement: Statement | Raw, values: Mapping[str, Any]) -> int:
        """Run one statement that writes, as a transaction of its own, and return how many rows it changed."""
        if self.driver.autocommits:
            return self.single(lambda session: session.execute(statement, values))
        return self.write(lambda session: session.execute(statement, values))

    def _write(self, connection: Any, session: Session, work: Callable[[Session], T]) -> T:
        driver = self.driver
        driver.begin(connection, session.cursor)
        try:
            result = work(session)
        except Undo as undo:
            driver.rollback(connection, session.cursor)
            return undo.result  # type: ignore[no-any-return]
        except BaseException as error:
            self._try_rollback(connection, session.cursor, error)
            raise
        passing(CrashPoint.IN_TRANSACTION)
        try:
            driver.commit(connection, session.cursor)
        except BaseException as error:
            self._try_rollback(connection, session.cursor, error)  # SQLite's connection stays, whatever the error
            if isinstance(error, Exception) and self._fault(error) is Fault.LOST:
                raise CommitUnknown(f"the connection was lost during a commit: {_line(error)}") from error
            raise
        return result

    def _snapshot(self, connection: Any, session: Session, work: Callable[[Session], T]) -> T:
        self.driver.begin_snapshot(connection, session.cursor)
        try:
            result = work(session)
        except BaseException as error:
            self._try_rollback(connection, session.cursor, error)
            raise
        self.driver.rollback(connection, session.cursor)
        return result

    def _single(self, _: Any, session: Session, work: Callable[[Session], T]) -> T:
        return work(session)

    def _try_rollback(self, connection: Any, cursor: Any, error: BaseException) -> None:
        if self._usable_after(error):
            with suppress(Exception):  # the error that led here says more
                self.driver.rollback(connection, cursor)

    # -- connections and failures ------------------------------------------------------------------

    def _again(self, run: Callable[[Any, Session, Callable[[Session], T]], T], work: Callable[[Session], T]) -> T:
        attempt, give_up = 1, 0.0
        while True:
            try:
                return self._once(run, work)
            except (CeleriacError, UniqueViolation):
                raise
            except Exception as error:  # noqa: BLE001 - sorted out by what the driver's exceptions mean
                give_up = give_up or time.monotonic() + _PATIENCE
                spent = attempt == ATTEMPTS or time.monotonic() > give_up
                if spent or self._fault(error) is not Fault.RETRY:
                    self._explain(error)
            time.sleep(_FIRST_PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            attempt += 1

    def _once(self, run: Callable[[Any, Session, Callable[[Session], T]], T], work: Callable[[Session], T]) -> T:
        connections, driver = self.connections, self.driver
        pooled = connections.take()
        try:
            connection: Any = pooled.dbapi_connection
            driver.prepare(connection)
            session = Session(connection, self._clock, self.trace)
            if not self._version_seen:
                self._look_at_version(session.cursor)
            result = run(connection, session, work)
            session.close()
            driver.restore(connection)
        except BaseException as error:
            # A connection whose state is unknown is not for anybody else: not a lost one, and not one that a
            # KeyboardInterrupt or a soft time limit struck in the middle of an answer.
            self._put_away(pooled, error)
            raise
        connections.give(pooled)
        return result

    def _look_at_version(self, cursor: Any) -> None:
        """Refuse tables that came after this code, once a process; what else may be wrong with them shows in their use.

        :raises SchemaMismatch: this code does not know how to work with them.
        """
        try:
            cursor.execute(self._version)
            row = cursor.fetchone()
        except Exception as error:
            if self._fault(error) is not Fault.SCHEMA:
                raise
            return
        if row is not None and is_strange(row[0]):
            raise SchemaMismatch(difference(row[0]))
        self._version_seen = row is not None

    def _put_away(self, pooled: PoolProxiedConnection, error: BaseException) -> None:
        if self._usable_after(error):
            with suppress(Exception):
                self.driver.restore(pooled.dbapi_connection)
                self.connections.give(pooled)
                return
        self.connections.drop(pooled)

    def _usable_after(self, error: BaseException) -> bool:
        if self.driver.in_process:
            return True
        if isinstance(error, (CeleriacError, UniqueViolation)):
            return not isinstance(error, StoreUnavailable)
        return isinstance(error, Exception) and self.driver.answered(error)

    def _fault(self, error: Exception) -> Fault:
        if isinstance(error, (exc.DisconnectionError, exc.TimeoutError)):
            return Fault.LOST
        # Drivers don't put all of a socket's errors into words of their own. A TimeoutError may be a signal handler's.
        if isinstance(error, OSError) and not isinstance(error, TimeoutError):
            return Fault.LOST
        original = error.orig if isinstance(error, exc.DBAPIError) and error.orig is not None else error
        return self.driver.fault(original)

    def _explain(self, error: Exception) -> NoReturn:
        fault = self._fault(error)
        if fault is Fault.UNIQUE:
            raise UniqueViolation from error
        if fault is Fault.LOST:
            raise StoreUnavailable(f"the store can't be reached: {_line(error)}") from error
        if fault is Fault.UNWELL:
            raise NotNow(f"the store can't do it now: {_line(error)}") from error
        if fault is Fault.RETRY:
            raise NotNow(f"the store was busy again and again: {_line(error)}") from error
        if fault is Fault.SCHEMA:
            raise SchemaMismatch(
                f"the store's tables are absent or of another version ({_line(error)}); {HOW}"
            ) from error
        # What databases have no characters for, in what was to be written or looked for. JSON has escapes for it.
        if isinstance(error, UnicodeEncodeError) or "NUL (0x00)" in str(error):
            raise InvalidCall(
                "a text with a NUL, or with half of a surrogate pair, is none that a database can hold"
            ) from None
        if not isinstance(error, (exc.DBAPIError, self._driver_s)):
            raise error  # a mistake in the code, or what a signal's handler has raised
        kind = CheckFailed if fault is Fault.CHECK else StoreRefused
        raise kind(f"the store refused it: {_line(error)}") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
