"""The SQL store keeps the contract on SQLite, in a file and in memory, by a clock moved by hand and by the host's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from celeriac.orchestrator.model import DeliveryOutcome, Run, RunRef
from celeriac.orchestrator.status import WorkflowStatus
from celeriac.stores.sql import SqlStore
from celeriac.stores.sql.deliveries import Deliveries
from celeriac.testing.contract.world import World
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


def test_a_message_by_name_reaches_the_successor_of_a_run_that_is_purged_meanwhile(
    shared_store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(shared_store, shared_store, lambda *_: None)
    first = world.idle("order-1")
    successors: list[Run] = []
    find = Deliveries._find

    def overtaken(self: Deliveries, *names: str | None) -> RunRef | None:
        ref = find(self, *names)  # type: ignore[arg-type]
        if not successors:  # it is resolved; before it is locked, it closes, is deleted, and another one starts
            world.commit(first, status=WorkflowStatus.COMPLETED)
            assert shared_store.purge(first.namespace, closed_before=world.read(first).updated_at + 1, limit=10) == 1
            successors.append(world.start("order-1"))
        return ref

    monkeypatch.setattr(Deliveries, "_find", overtaken)
    delivery = shared_store.deliver(world.message("late"), namespace=first.namespace, workflow_id="order-1")

    assert delivery.outcome is DeliveryOutcome.DELIVERED
    assert delivery.run is not None
    assert delivery.run.run_id == successors[0].run_id
