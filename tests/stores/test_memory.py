"""The reference store keeps the contract, under a clock that is moved by hand and under the wall clock."""

from __future__ import annotations

import pytest

from celeriac.stores.memory import InMemoryStore
from celeriac.testing.store_contract import ManualClock, StoreContract


class TestInMemoryStore(StoreContract):
    def make_clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def store(self, clock: ManualClock) -> InMemoryStore:
        return InMemoryStore(clock)


class TestInMemoryStoreByTheWallClock(StoreContract):
    @pytest.fixture
    def store(self) -> InMemoryStore:
        return InMemoryStore()
