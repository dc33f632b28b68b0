"""The store behind a PgBouncer in transaction mode, under a strict default isolation, and with plans that are kept."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine

from celeriac.orchestrator.model import DeliveryOutcome
from celeriac.stores.sql import SqlStore, migrate
from celeriac.testing.contract.racing import Racing
from celeriac.testing.contract.turning import Turning
from celeriac.testing.contract.world import World, wait_until_passed
from tests.servers import PostgresServer, ServerMissing
from tests.stores.pgbouncer import PgBouncer


@pytest.fixture(scope="module")
def url(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.create_database()
    migrate(url)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="module")
def pooler(url: str) -> Iterator[PgBouncer]:
    try:
        pooler = PgBouncer(url)
    except ServerMissing as missing:
        pytest.skip(str(missing))
    with pooler:
        yield pooler


@pytest.fixture(scope="module")
def pooled(pooler: PgBouncer) -> Iterator[SqlStore]:
    store = SqlStore(pooler.url, connections=4)
    yield store
    store.close()


class TestBehindPgBouncer(Turning, Racing):
    rounds = 5

    @pytest.fixture
    def store(self, pooled: SqlStore) -> SqlStore:
        return pooled


def test_many_clients_share_a_pooler_s_two_connections(pooler: PgBouncer) -> None:
    stores = [SqlStore(pooler.url, connections=1) for _ in range(8)]
    world = World(stores[0], stores[1], wait_until_passed)
    run = world.idle()

    def deliver(place: int) -> list[DeliveryOutcome]:
        return [
            stores[place].deliver(world.message(f"{place}-{n}"), namespace=run.namespace, run_id=run.run_id).outcome
            for n in range(20)
        ]

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(deliver, range(8))) == [[DeliveryOutcome.DELIVERED] * 20] * 8
    assert len(world.inbox(run)) == 160
    for store in stores:
        store.close()


def test_a_pooler_s_connections_are_left_without_settings(pooler: PgBouncer) -> None:
    store = SqlStore(pooler.url)
    World(store, store, wait_until_passed).start()
    store.close()
    engine = create_engine(pooler.url)
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW enable_seqscan")) == "on"
        assert connection.scalar(text("SELECT count(*) FROM pg_prepared_statements")) == 0
    engine.dispose()


@pytest.fixture(scope="module")
def strict(postgres_server: PostgresServer) -> Iterator[SqlStore]:
    """A store on an application's engine in a database whose default isolation is serializable."""
    url = postgres_server.create_database()
    migrate(url)
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        name = connection.scalar(text("SELECT current_database()"))
        connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"))
    engine.dispose()
    engine = create_engine(url)
    store = SqlStore(engine)
    yield store
    store.close()
    engine.dispose()
    postgres_server.drop_database(url)


class TestUnderSerializable(Turning, Racing):
    rounds = 5

    @pytest.fixture
    def store(self, strict: SqlStore) -> SqlStore:
        return strict


def test_an_own_connection_is_read_committed_whatever_the_default(strict: SqlStore) -> None:
    store = SqlStore(strict.db.engine.url)
    level = store.db.single(lambda session: session.cursor.execute("SHOW transaction_isolation").fetchone())
    assert level == ("read committed",)
    store.close()


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    """An engine for a database of the test's own: others count their scans late."""
    migrate(postgres_url)
    engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


def test_a_plan_made_for_small_tables_does_not_read_grown_ones(postgres_url: str, engine: Engine) -> None:
    store = SqlStore(postgres_url)
    world = World(store, store, wait_until_passed)
    scans = text("SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname <> 'celeriac_alembic_version'")
    with engine.connect() as connection:
        for table in ("runs", "tasks", "inbox", "events"):
            connection.execute(text(f"TRUNCATE celeriac_{table}"))
            connection.execute(text(f"VACUUM ANALYZE celeriac_{table}"))
        before = connection.execute(scans).fetchall()
        a_few_lives(world)
        store.db.single(lambda session: session.cursor.execute("SELECT pg_stat_force_next_flush()"))
        assert connection.execute(scans).fetchall() == before
    store.close()


def a_few_lives(world: World) -> None:
    for _ in range(12):  # psycopg prepares at the sixth, PostgreSQL keeps a plan from the sixth prepared one on
        run = world.scheduled()
        world.signal(run)
        world.due()
        claim = world.claim(run)
        world.store.renew([claim.fence], lease=10)
        world.store.settle(claim.fence, world.message("outcome"))
        world.read(run)
