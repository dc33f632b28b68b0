"""The SQL store keeps the contract on PostgreSQL."""

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
def stores(url: str) -> Iterator[tuple[SqlStore, SqlStore]]:
    pair = SqlStore(url, connections=4), SqlStore(url, connections=4)
    yield pair
    for store in pair:
        store.close()


class TestPostgresql(StoreContract):
    @pytest.fixture
    def store(self, stores: tuple[SqlStore, SqlStore]) -> SqlStore:
        return stores[0]

    @pytest.fixture
    def second(self, stores: tuple[SqlStore, SqlStore]) -> SqlStore:
        return stores[1]
