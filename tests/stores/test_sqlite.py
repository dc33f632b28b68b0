"""The SQL store keeps the contract on SQLite, in a file and in memory, by a clock moved by hand and by the host's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from celeriac.stores.sql import SqlStore
from celeriac.testing.store_contract import ManualClock, StoreContract


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a file that a whole module shares."""
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'store.db'}"


def opened(url: str, clock: ManualClock | None = None) -> Iterator[SqlStore]:
    store = SqlStore(url, clock=clock)
    store.check()
    yield store
    store.close()


@pytest.fixture(scope="module")
def shared_store(url: str) -> Iterator[SqlStore]:
    yield from opened(url)


@pytest.fixture(scope="module")
def other_store(url: str, shared_store: SqlStore) -> Iterator[SqlStore]:
    yield from opened(url)


@pytest.fixture(scope="module")
def the_clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(scope="module")
def in_memory(the_clock: ManualClock) -> Iterator[SqlStore]:
    yield from opened("sqlite://", the_clock)


class TestSqliteFile(StoreContract):
    @pytest.fixture
    def store(self, shared_store: SqlStore) -> SqlStore:
        return shared_store

    @pytest.fixture
    def second(self, other_store: SqlStore) -> SqlStore:
        return other_store


class TestSqliteInMemoryByAManualClock(StoreContract):
    rounds = 5

    @pytest.fixture
    def clock(self, the_clock: ManualClock) -> ManualClock:
        return the_clock

    @pytest.fixture
    def store(self, in_memory: SqlStore) -> SqlStore:
        return in_memory
