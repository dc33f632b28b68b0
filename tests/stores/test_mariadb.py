"""The SQL store keeps the contract on MariaDB, and through forced interleavings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine

from celeriac.errors import SchemaMismatch
from celeriac.stores.sql import SqlStore, current, migrate
from celeriac.stores.sql.schema import make_tables
from celeriac.testing.contract.world import World, wait_until_passed
from celeriac.testing.store_contract import StoreContract
from tests.stores.interleavings import Interleavings
from tests.stores.mariadb import MariaServer


@pytest.fixture(scope="module")
def url(mariadb_server: MariaServer) -> Iterator[str]:
    url = mariadb_server.create_database()
    migrate(url)
    yield url
    mariadb_server.start()  # in case a test stopped it
    mariadb_server.drop_database(url)


@pytest.fixture(scope="module")
def own_engine(url: str) -> Iterator[Engine]:
    engine = create_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def shared(url: str) -> Iterator[SqlStore]:
    store = SqlStore(url, connections=4)
    yield store
    store.close()


@pytest.fixture(scope="module")
def other(own_engine: Engine) -> SqlStore:
    """A store on an engine of the application's."""
    return SqlStore(own_engine)


class TestMariadb(StoreContract):
    rounds = 10

    @pytest.fixture
    def store(self, shared: SqlStore) -> SqlStore:
        return shared

    @pytest.fixture
    def second(self, other: SqlStore) -> SqlStore:
        return other


class TestInterleavings(Interleavings):
    @pytest.fixture
    def store(self, shared: SqlStore) -> SqlStore:
        return shared

    @pytest.fixture
    def engine(self, own_engine: Engine) -> Engine:
        return own_engine


def test_migrating(mariadb_server: MariaServer) -> None:
    url = mariadb_server.create_database()
    store = SqlStore(url)
    with pytest.raises(SchemaMismatch, match="run: celery -A yourapp workflow migrate"):
        store.check()
    assert current(url) is None
    assert (migrate(url), migrate(url), current(url)) == ("0002",) * 3
    store.check()
    store.close()
    mariadb_server.drop_database(url)


def test_what_the_migration_makes_is_what_the_code_expects(own_engine: Engine, url: str) -> None:
    with own_engine.connect() as connection:
        options = {"compare_type": True, "include_object": lambda *args: args[1] != "celeriac_alembic_version"}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, make_tables().metadata) == []


def test_a_connection_that_the_server_has_ended_is_replaced_unnoticed(shared: SqlStore, own_engine: Engine) -> None:
    world = World(shared, shared, wait_until_passed)
    run = world.start()
    (pid,) = shared.db.single(
        lambda session: (session.cursor.execute("SELECT connection_id()"), session.cursor.fetchone())[1]
    )
    with own_engine.connect() as connection:
        connection.execute(text(f"KILL {pid}"))
    assert world.read(run) == run
