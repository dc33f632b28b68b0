"""What the errors of drivers mean: to be waited out, of no use to try again, or a mistake of our own that stays what it is."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine, make_url

from celeriac.errors import InvalidCall, StoreRefused, StoreUnavailable
from celeriac.orchestrator.attempts import Attempts
from celeriac.orchestrator.definition import Registry
from celeriac.orchestrator.engine import Engine as Turns
from celeriac.orchestrator.events import SignalReceived
from celeriac.orchestrator.model import CommitOutcome, DeliveryOutcome
from celeriac.stores.sql import SqlStore, faults, migrate
from celeriac.stores.sql.faults import CommitUnknown, Fault, NotNow
from celeriac.stores.sql.statements import Raw
from celeriac.testing.contract.world import World, wait_until_passed
from tests.servers import PostgresServer
from tests.stores.mariadb import MariaServer

# -- the tables ----------------------------------------------------------------------------------------------------------

POSTGRESQL = {
    Fault.UNIQUE: "23505",
    Fault.RETRY: "40001 40P01 55P03 26000 42P05",
    Fault.UNWELL: "57014 53100 53200 53400 58000 58030 58P01 28000 28P01 42501 XX000 XX001 XX002",
    Fault.LOST: "57P01 57P02 57P03 57P04 57P05 53300 25006 25P03 25P04 40003 08000 08003 08006 08P01",
    Fault.SCHEMA: "42P01 42703 3F000",
    Fault.CHECK: "22P02",
    Fault.OTHER: "0A000 22001 22P05 23502 23514 42601 42883 54000",
}
MARIADB = {
    Fault.UNIQUE: "1062",
    Fault.RETRY: "1205 1213 1020 1412 1615 1689 3101",
    Fault.UNWELL: "3 5 20 1021 1026 1030 1037 1038 1041 1114 1135 1142 1203 1226 1317 1969 3024",
    Fault.LOST: "1040 1047 1053 1158 1180 1290 1792 1836 1927 2002 2006 2013 2026 2055 4031",
    Fault.SCHEMA: "1146 1054 1049",
    Fault.OTHER: "1048 1064 1118 1406",
}
SQLITE = {
    Fault.UNIQUE: "CONSTRAINT_UNIQUE CONSTRAINT_PRIMARYKEY",
    Fault.RETRY: "BUSY BUSY_SNAPSHOT LOCKED LOCKED_SHAREDCACHE PROTOCOL SCHEMA",
    Fault.UNWELL: "FULL INTERRUPT PERM AUTH",
    Fault.LOST: "IOERR IOERR_FSYNC CANTOPEN READONLY READONLY_DBMOVED CORRUPT NOTADB",
    Fault.OTHER: "ERROR TOOBIG MISMATCH CONSTRAINT_NOTNULL",
}


def every(table: dict[Fault, str]) -> list[Any]:
    return [pytest.param(code, fault, id=f"{code}-{fault}") for fault, codes in table.items() for code in codes.split()]


@pytest.mark.parametrize(("code", "fault"), every(POSTGRESQL))
def test_postgresql_s_codes(code: str, fault: Fault) -> None:
    assert faults.of_psycopg(psycopg.errors.lookup(code)("said")) is fault


@pytest.mark.parametrize(("code", "fault"), every(MARIADB))
def test_mariadb_s_codes(code: str, fault: Fault) -> None:
    errors: Any = pytest.importorskip("pymysql.err")
    assert faults.of_mysql(errors.OperationalError(int(code), "said")) is fault


@pytest.mark.parametrize(("code", "fault"), every(SQLITE))
def test_sqlite_s_codes(code: str, fault: Fault) -> None:
    error = sqlite3.OperationalError("said")
    error.sqlite_errorname = f"SQLITE_{code}"
    assert faults.of_sqlite(error) is fault


def test_what_no_server_has_said() -> None:
    assert faults.of_psycopg(psycopg.OperationalError("the connection is closed")) is Fault.LOST
    assert faults.of_psycopg(psycopg.ProgrammingError("the query has 0 placeholders")) is Fault.OTHER
    errors: Any = pytest.importorskip("pymysql.err")
    assert faults.of_mysql(errors.InterfaceError(0, "")) is Fault.LOST
    assert faults.of_mysql(errors.InternalError("Packet sequence number wrong - got 1 expected 2")) is Fault.LOST
    assert faults.of_mysql(errors.ProgrammingError("no such thing")) is Fault.OTHER


# -- PostgreSQL ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def url(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.create_database()
    migrate(url)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(params=[True, False], ids=["fast", "portable"])
def store(url: str, request: pytest.FixtureRequest) -> Iterator[SqlStore]:
    """A store whose statements may take a third of a second."""
    hasty = make_url(url).update_query_dict({"options": "-c statement_timeout=300"})
    with closing(SqlStore(hasty, fast_path=bool(request.param))) as store:
        yield store


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


@pytest.fixture
def world(store: SqlStore) -> World:
    return World(store, store, wait_until_passed)


def pid(store: SqlStore) -> int:
    """Which server process the store's connection leads to."""
    found: int = store.db.single(lambda session: session.cursor.execute("SELECT pg_backend_pid()").fetchone()[0])
    return found


@pytest.fixture
def failing(engine: Engine) -> Iterator[Callable[..., None]]:
    """Have each change of a run fail with a code, at once or at the end of its transaction; without one, no more."""

    def fail(code: str = "", *, late: bool = False) -> None:
        with engine.connect() as connection:
            connection.execute(text("DROP TRIGGER IF EXISTS failing ON celeriac_runs"))
            if code:
                body = f"BEGIN RAISE EXCEPTION 'said the server' USING ERRCODE = '{code}'; END"
                connection.execute(
                    text(f"CREATE OR REPLACE FUNCTION failing() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
                )
                kind = "CONSTRAINT TRIGGER failing AFTER" if late else "TRIGGER failing BEFORE"
                when = "DEFERRABLE INITIALLY DEFERRED" if late else ""
                connection.execute(
                    text(f"CREATE {kind} UPDATE ON celeriac_runs {when} FOR EACH ROW EXECUTE FUNCTION failing()")
                )

    yield fail
    fail()


def test_an_outcome_waits_for_a_statement_that_took_too_long(world: World, url: str) -> None:
    """An attempt's end is recorded once the table is free, and once."""
    run = world.scheduled(data={"name": "pay"})
    with psycopg.connect(make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)) as other:
        pauses: list[float] = []

        def sleep(seconds: float) -> None:
            pauses.append(seconds)
            other.rollback()

        attempts = Attempts(Turns(world.store, Registry(), _Nobody()), sleep=sleep)
        claim = attempts.claim(run.run_id, 1, attempt=1, worker="w")
        assert claim is not None
        other.execute("LOCK TABLE celeriac_runs, celeriac_tasks IN SHARE MODE")
        assert attempts.completed(claim, "receipt")
    assert len(pauses) == 1
    assert not attempts.completed(claim, "a second one")
    (item,) = world.begin(run).inbox
    assert item.message.data["result"] == "receipt"


class _Nobody:
    """A dispatcher of whose messages nobody hears."""

    def publish(self, hints: Any) -> None:
        pass

    def publish_early(self, hints: Any) -> bool:
        return False

    def expect(self, due_at: Any) -> None:
        pass

    def backlog(self, queue: Any) -> int | None:
        return None


@pytest.mark.parametrize("code", ["57014", "53100", "58030", "XX000", "42501"])
def test_a_server_that_can_t_is_unavailable_and_keeps_its_connection(
    store: SqlStore, world: World, failing: Callable[..., None], code: str
) -> None:
    run, before = world.start(), pid(store)
    failing(code)
    for call in (lambda: world.signal(run), lambda: store.commit(world.a_commit(run, SignalReceived("x")))):
        with pytest.raises(StoreUnavailable, match="the store can't do it now: said the server") as raised:
            call()
        assert type(raised.value) is NotNow
    failing()
    assert world.read(run) == run
    assert pid(store) == before
    assert world.signal(run).outcome is DeliveryOutcome.DELIVERED


@pytest.mark.parametrize("code", ["53100", "57014"])
def test_a_commit_that_the_server_has_answered_with_an_error_is_not_unknown(
    store: SqlStore, world: World, failing: Callable[..., None], code: str
) -> None:
    run = world.start()
    commit = world.a_commit(run, SignalReceived("x"))
    failing(code, late=True)
    with pytest.raises(StoreUnavailable, match="the store can't do it now: said the server") as raised:
        store.commit(commit)
    assert not isinstance(raised.value, CommitUnknown)
    failing()
    assert world.read(run) == run
    assert store.commit(commit) is CommitOutcome.COMMITTED


@pytest.mark.parametrize("code", ["22001", "23514", "54000"])
def test_what_the_server_refuses_is_an_error_of_the_store(
    store: SqlStore, world: World, failing: Callable[..., None], code: str
) -> None:
    run, before = world.start(), pid(store)
    failing(code)
    with pytest.raises(StoreRefused, match="the store refused it: said the server") as raised:
        world.signal(run)
    assert not isinstance(raised.value, StoreUnavailable)
    assert isinstance(raised.value.__cause__, psycopg.Error)
    failing()
    assert world.signal(run).outcome is DeliveryOutcome.DELIVERED
    assert pid(store) == before


def test_a_mistake_that_is_not_the_driver_s_stays_what_it_is(store: SqlStore) -> None:
    for error in (ZeroDivisionError("one"), TimeoutError("of a signal's handler")):

        def work(_: Any, error: Exception = error) -> None:
            raise error

        for run in (store.db.single, store.db.write, store.db.snapshot):
            with pytest.raises(type(error)) as raised:
                run(work)
            assert raised.value is error


def test_a_socket_s_own_error_is_a_lost_connection(store: SqlStore) -> None:
    def work(_: Any) -> None:
        raise ConnectionResetError("reset by peer")

    before = pid(store)
    with pytest.raises(StoreUnavailable, match="the store can't be reached: reset by peer"):
        store.db.single(work)
    assert pid(store) != before


def test_a_nul_is_an_invalid_call(store: SqlStore) -> None:
    with pytest.raises(InvalidCall, match="a text with a NUL"):
        store.find_run("with \0 in it", workflow_id="flow")


def test_statements_that_were_prepared_before_a_column_changed_are_prepared_anew(
    store: SqlStore, world: World, engine: Engine
) -> None:
    runs = [world.start() for _ in range(8)]
    for run in runs:
        world.begin(run, lease=1)
        world.read(run)
    before = pid(store)
    for width in (4000, 5000):
        with engine.connect() as connection:
            connection.execute(text(f"ALTER TABLE celeriac_runs ALTER COLUMN waits TYPE varchar({width})"))
        for run in runs:
            assert world.read(run).run_id == run.run_id
            assert world.begin(run, token="other", lease=1).run.run_id == run.run_id
        assert pid(store) != before
        before = pid(store)
    with engine.connect() as connection:
        connection.execute(text("ALTER TABLE celeriac_runs ALTER COLUMN waits TYPE text"))


def test_statements_that_the_server_was_made_to_forget_are_prepared_anew(store: SqlStore, world: World) -> None:
    run = world.start()
    for _ in range(8):
        world.read(run)
    store.db.single(lambda session: session.connection.pgconn.exec_(b"DEALLOCATE ALL"))
    assert world.read(run) == run


# -- MariaDB -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def maria(mariadb_server: MariaServer) -> Iterator[SqlStore]:
    url = mariadb_server.create_database()
    migrate(url)
    with closing(SqlStore(url)) as store:
        yield store
    mariadb_server.drop_database(url)


def test_a_statement_that_took_too_long_on_mariadb(maria: SqlStore) -> None:
    world = World(maria, maria, wait_until_passed)
    run = world.start()
    maria.db.single(lambda session: session.cursor.execute("SET max_statement_time = 0.2"))
    other = create_engine(maria.db.engine.url)
    with other.connect() as connection:
        connection.execute(
            text("SELECT run_id FROM celeriac_runs WHERE run_id = :run_id FOR UPDATE"), {"run_id": run.run_id}
        )
        with pytest.raises(NotNow, match=r"the store can't do it now: .*max_statement_time"):
            world.signal(run)
    other.dispose()
    assert world.signal(run).outcome is DeliveryOutcome.DELIVERED


def test_what_mariadb_says_of_its_own_accord(maria: SqlStore) -> None:
    world = World(maria, maria, wait_until_passed)
    run = world.start()
    for code, expected in ((1114, NotNow), (1021, NotNow), (1406, StoreRefused), (1180, StoreUnavailable)):
        with maria.db.engine.connect() as connection:
            connection.execute(text("DROP TRIGGER IF EXISTS failing"))
            signal = f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {code}, MESSAGE_TEXT = 'said the server'"
            connection.execute(text(f"CREATE TRIGGER failing BEFORE UPDATE ON celeriac_runs FOR EACH ROW {signal}"))
        with pytest.raises(expected, match="said the server"):
            world.signal(run)
    with maria.db.engine.connect() as connection:
        connection.execute(text("DROP TRIGGER failing"))
    assert world.signal(run).outcome is DeliveryOutcome.DELIVERED


# -- SQLite --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[SqlStore]:
    with closing(SqlStore(f"sqlite:///{tmp_path / 'store.db'}")) as store:
        store.check()
        yield store


def pragma(store: SqlStore, words: str) -> Any:
    return store.db.single(lambda session: session.cursor.execute(f"PRAGMA {words}").fetchone()[0])


def test_a_full_disk_on_sqlite(sqlite: SqlStore) -> None:
    world = World(sqlite, sqlite, wait_until_passed)
    run = world.start()
    pragma(sqlite, f"max_page_count = {pragma(sqlite, 'page_count')}")
    with pytest.raises(NotNow, match="the store can't do it now: database or disk is full"):
        world.signal(run, text="x" * 100_000)
    assert world.read(run) == run
    pragma(sqlite, "max_page_count = 1000000")
    assert world.signal(run).outcome is DeliveryOutcome.DELIVERED


def test_a_commit_that_fails_on_sqlite_leaves_no_transaction_open(
    sqlite: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(sqlite, sqlite, wait_until_passed)
    run = world.start()
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = "SQLITE_IOERR_FSYNC"

    def commit(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(sqlite.db.driver, "commit", commit)
        with pytest.raises(CommitUnknown):
            world.signal(run)
    assert world.read(run) == run
    assert world.signal(run).outcome is DeliveryOutcome.DELIVERED


def test_a_statement_that_is_none_is_refused_by_each_database(sqlite: SqlStore, maria: SqlStore) -> None:
    nonsense = Raw("NONSENSE", wants_now=False)
    for store in (sqlite, maria):
        with pytest.raises(StoreRefused, match=r"the store refused it: .*NONSENSE"):
            store.db.change(nonsense, {})
