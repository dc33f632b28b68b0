"""Forced interleavings on PostgreSQL, on both paths."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import Engine

from celeriac.stores.sql import SqlStore, migrate
from tests.servers import PostgresServer
from tests.stores.interleavings import Interleavings


@pytest.fixture(scope="module")
def url(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.create_database()
    migrate(url)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="module")
def own_engine(url: str) -> Iterator[Engine]:
    engine = create_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def fast(url: str) -> Iterator[SqlStore]:
    store = SqlStore(url, connections=4)
    yield store
    store.close()


@pytest.fixture(scope="module")
def portable(url: str) -> Iterator[SqlStore]:
    store = SqlStore(url, connections=4, fast_path=False)
    yield store
    store.close()


class TestOnTheFastPath(Interleavings):
    @pytest.fixture
    def store(self, fast: SqlStore) -> SqlStore:
        return fast

    @pytest.fixture
    def engine(self, own_engine: Engine) -> Engine:
        return own_engine


class TestOnThePortablePath(Interleavings):
    @pytest.fixture
    def store(self, portable: SqlStore) -> SqlStore:
        return portable

    @pytest.fixture
    def engine(self, own_engine: Engine) -> Engine:
        return own_engine
