"""The SQL store keeps the contract on PostgreSQL: on the fast path, on the portable one, and with both at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from celeriac.stores.sql import SqlStore, migrate
from celeriac.testing.store_contract import StoreContract
from tests.servers import PostgresServer


@pytest.fixture(scope="module")
def url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a database that a whole module shares."""
    url = postgres_server.create_database()
    migrate(url)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="module")
def fast(url: str) -> Iterator[SqlStore]:
    store = SqlStore(url, connections=4)
    yield store
    store.close()


@pytest.fixture(scope="module")
def another_fast(url: str) -> Iterator[SqlStore]:
    store = SqlStore(url, connections=4)
    yield store
    store.close()


@pytest.fixture(scope="module")
def portable(url: str) -> Iterator[SqlStore]:
    store = SqlStore(url, connections=4, fast_path=False)
    yield store
    store.close()


class TestPostgresql(StoreContract):
    @pytest.fixture
    def store(self, fast: SqlStore) -> SqlStore:
        return fast

    @pytest.fixture
    def second(self, another_fast: SqlStore) -> SqlStore:
        return another_fast


class TestPostgresqlOnThePortablePath(StoreContract):
    rounds = 10

    @pytest.fixture
    def store(self, portable: SqlStore) -> SqlStore:
        return portable


class TestPostgresqlOnBothPathsAtOnce(StoreContract):
    rounds = 10

    @pytest.fixture
    def store(self, fast: SqlStore) -> SqlStore:
        return fast

    @pytest.fixture
    def second(self, portable: SqlStore) -> SqlStore:
        return portable
