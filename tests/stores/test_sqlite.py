"""The SQL store keeps the contract on SQLite, in a file and in memory, by a clock moved by hand and by the host's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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


class TestSqliteFile(StoreContract):
    @pytest.fixture
    def store(self, url: str) -> Iterator[SqlStore]:
        yield from opened(url)

    @pytest.fixture
    def second(self, url: str, store: SqlStore) -> Iterator[SqlStore]:
        yield from opened(url)


class TestSqliteByAManualClock(StoreContract):
    def make_clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def store(self, tmp_path: Path, clock: ManualClock) -> Iterator[SqlStore]:
        yield from opened(f"sqlite:///{tmp_path / 'store.db'}", clock)


class TestSqliteInMemory(StoreContract):
    rounds = 5

    @pytest.fixture
    def store(self) -> Iterator[SqlStore]:
        yield from opened("sqlite://")
