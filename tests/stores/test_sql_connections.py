"""What happens when the connection is not what it was: ended, lost in the middle of a commit, refused, busy."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, select, text
from sqlalchemy.engine import Engine, make_url

from celeriac.embedded import free_port
from celeriac.errors import SchemaMismatch, StoreUnavailable
from celeriac.orchestrator.events import SignalReceived
from celeriac.orchestrator.model import CommitOutcome, DeliveryOutcome
from celeriac.stores.sql import SqlStore, connections, migrate, transactions
from celeriac.testing.contract.world import World, wait_until_passed
from tests.servers import PostgresServer
from tests.stores.proxy import Proxy
from tests.stores.stage import Stage


@pytest.fixture(scope="module")
def url(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.create_database()
    migrate(url)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(params=[True, False], ids=["fast", "portable"])
def fast_path(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def store(url: str, fast_path: bool) -> Iterator[SqlStore]:
    store = SqlStore(url, fast_path=fast_path)
    yield store
    store.close()


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


@pytest.fixture
def world(store: SqlStore) -> World:
    return World(store, store, wait_until_passed)


def execute(engine: Engine, statement: str, **values: Any) -> None:
    with engine.connect() as connection:
        connection.execute(text(statement), values)


END_WAITING = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
END_ALL = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'celeriac'
"""


def test_a_connection_that_the_server_has_ended_is_replaced_unnoticed(world: World, engine: Engine) -> None:
    run = world.start()
    for key in ("a", "b", "c"):
        execute(engine, END_ALL)
        assert world.read(run).run_id == run.run_id
        execute(engine, END_ALL)
        assert world.signal(run, key).outcome is DeliveryOutcome.DELIVERED


def test_a_store_outlives_a_restart_of_its_server(world: World, postgres_server: PostgresServer) -> None:
    run = world.start()
    postgres_server.stop()
    with pytest.raises(StoreUnavailable, match="the store can't be reached: "):
        world.read(run)
    with pytest.raises(StoreUnavailable):
        world.signal(run)
    postgres_server.start()
    assert world.read(run) == run
    assert world.signal(run).outcome is DeliveryOutcome.DELIVERED


def test_a_store_that_is_nowhere_says_so() -> None:
    store = SqlStore(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/nothing")
    with pytest.raises(StoreUnavailable, match=r"the store can't be reached: .*refused"):
        store.check()


def test_a_commit_whose_acknowledgement_is_lost_is_looked_up_and_found(url: str, fast_path: bool, world: World) -> None:
    run = world.start()
    commit = world.a_commit(run, SignalReceived("x"))
    with Proxy(make_url(url).port or 0) as proxy:
        store = SqlStore(make_url(url).set(port=proxy.port), fast_path=fast_path)
        assert store.read_turn(run.run_id, known=None) is not None
        original = store.db.driver.commit
        if fast_path:
            proxy.swallow_next_answer()
        else:  # the statement before was answered: the next answer is that to COMMIT

            def commit_unheard(connection: Any, cursor: Any) -> None:
                store.db.driver.commit = original  # type: ignore[method-assign]
                proxy.swallow_next_answer()
                original(connection, cursor)

            store.db.driver.commit = commit_unheard  # type: ignore[method-assign]
        assert store.commit(commit) is CommitOutcome.COMMITTED
        assert proxy.swallowed.is_set()
        store.close()
    assert (world.read(run).version, world.read(run).turns) == (2, 1)


def test_a_commit_that_is_lost_while_it_waits_is_unknown(world: World, engine: Engine) -> None:
    run = world.start()
    commit = world.a_commit(run, SignalReceived("x"))
    lock = "SELECT run_id FROM celeriac_runs WHERE run_id = :run_id FOR UPDATE"
    other = create_engine(engine.url)
    with Stage(other, lock, run_id=run.run_id) as stage:
        stage.send(lambda: world.store.commit(commit))
        execute(engine, END_WAITING)
        with pytest.raises(StoreUnavailable):
            stage.lift()
    other.dispose()
    assert world.read(run) == run
    assert world.store.commit(commit) is CommitOutcome.COMMITTED


def test_a_commit_that_loses_a_deadlock_is_made_again(world: World, engine: Engine) -> None:
    run = world.start()
    commit = world.a_commit(run, SignalReceived("x"))
    other = create_engine(engine.url, connect_args={"options": "-c deadlock_timeout=1h"})
    row = "SELECT run_id FROM celeriac_tasks WHERE run_id = :run_id AND kind = 'turn' FOR UPDATE"
    with Stage(other, row, run_id=run.run_id) as stage:
        stage.send(lambda: world.store.commit(commit))
        # The wrong way round: the run after its task. The commit finds the circle, and gives way.
        stage._holder.execute(
            text("SELECT run_id FROM celeriac_runs WHERE run_id = :run_id FOR UPDATE"), {"run_id": run.run_id}
        )
        assert stage.lift() == [CommitOutcome.COMMITTED]
    other.dispose()


def test_tables_that_are_not_there_are_told_of(postgres_url: str, fast_path: bool) -> None:
    store = SqlStore(postgres_url, fast_path=fast_path)
    for call in (store.check, lambda: store.tasks("run"), lambda: store.find_run("n", run_id="run")):
        with pytest.raises(SchemaMismatch, match="run: celery -A yourapp workflow migrate"):
            call()
    store.close()


def test_an_interrupted_call_leaves_no_half_read_answer_behind(world: World, engine: Engine) -> None:
    run = world.start()
    store = world.store
    assert isinstance(store, SqlStore)

    def strike(_: str) -> None:
        store.db.trace = None
        raise KeyboardInterrupt

    for call in (lambda: world.read(run), lambda: world.signal(run, "x"), world.idle):
        store.db.trace = strike
        with pytest.raises(KeyboardInterrupt):
            call()
        assert world.read(run).run_id == run.run_id


def test_the_application_s_engine_is_left_as_it_was(url: str, fast_path: bool) -> None:
    engine = create_engine(url, pool_size=1, max_overflow=0)
    store = SqlStore(engine, fast_path=fast_path)
    run = World(store, store, wait_until_passed).start()
    with engine.connect() as connection:
        driver: Any = connection.connection.dbapi_connection
        assert driver.autocommit is False
        connection.execute(text("DELETE FROM celeriac_runs WHERE run_id = :run_id"), {"run_id": run.run_id})
        connection.rollback()
    assert store.find_run(run.namespace, run_id=run.run_id) == run
    store.close()
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT 1")) == 1
    engine.dispose()


def test_sqlite_waits_for_a_writer_and_then_says_that_it_is_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transactions, "_PATIENCE", 0.1)
    store = SqlStore(f"sqlite:///{tmp_path / 'store.db'}?timeout=0.05")
    store.check()
    world = World(store, store, wait_until_passed)
    run = world.start()
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="the store was busy again and again: database is locked"):
        world.signal(run)
    assert world.read(run) == run  # readers don't wait for writers
    other.execute("ROLLBACK")
    other.close()
    assert world.signal(run).outcome is DeliveryOutcome.DELIVERED
    store.close()


def test_a_signal_handler_does_not_wait_for_the_connection_of_the_thread_that_it_struck(
    store: SqlStore, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Celery's solo pool runs tasks in the handler of a cold shutdown, wherever that strikes, such as in a transaction of ours."""
    monkeypatch.setattr(connections, "_PATIENCE", 5.0)
    other, found = world.start(), list[Any]()

    def handle(*_: Any) -> None:
        found.append(world.read(other).run_id)
        found.append(world.signal(other, f"key {len(found)}").outcome)

    def work(session: transactions.Session) -> int:
        os.kill(os.getpid(), signal.SIGUSR1)
        return session.execute(store.db.statement(select(store.db.tables.runs.c.run_id)), {})

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        for _ in range(3):  # what was opened for the handler is not kept beyond the limit, nor is room lost
            store.db.write(work)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert found == [other.run_id, DeliveryOutcome.DELIVERED] * 3
    assert world.read(other).run_id == other.run_id
