"""The reference store keeps the contract, under a clock that is moved by hand and under the wall clock."""

from __future__ import annotations

import time

import pytest

from celeriac.errors import StoreError
from celeriac.orchestrator.events import SignalReceived
from celeriac.orchestrator.model import WorkflowState
from celeriac.orchestrator.ports import Store
from celeriac.stores.memory import InMemoryStore
from celeriac.testing.store_contract import ManualClock, StoreContract, World


class TestInMemoryStore(StoreContract):
    def make_clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def store(self, clock: ManualClock) -> InMemoryStore:
        return InMemoryStore(clock)

    def test_of_runs_created_in_the_same_microsecond_the_last_is_the_latest(self, world: World) -> None:
        runs = [world.closed("order-1") for _ in range(10)]
        assert len({run.created_at for run in runs}) == 1
        assert world.store.find_run(world.namespace, workflow_id="order-1") == runs[-1]

    def test_a_run_id_is_never_used_twice(self, world: World) -> None:
        run = world.start()
        with pytest.raises(StoreError, match=f"there is a run '{run.run_id}' already"):
            world.start(run_id=run.run_id)
        assert world.read(run) == run

    def test_a_row_whose_number_is_taken_is_refused_and_nothing_written(self, world: World) -> None:
        run = world.scheduled()
        before = world.everything(run)
        with pytest.raises(ValueError, match="the run has a row activity 1 already"):
            world.commit(run, SignalReceived("a"), tasks=[world.activity(run, 1)])
        assert world.everything(run) == before

    def test_a_start_key_of_another_run_can_not_be_saved(self, world: World) -> None:
        run = world.closed("order-1", start_key="task-1")
        state = world.store.load(world.namespace, "order-1")
        assert state is not None
        world.store.delete(world.namespace, "order-1")
        world.start("order-2", start_key="task-1")
        with pytest.raises(StoreError, match="the start key 'task-1' belongs to another run"):
            world.store.save(state)
        assert world.store.find_run(world.namespace, run_id=run.run_id) is None


def test_a_run_saved_without_its_turn_row_still_takes_messages() -> None:
    store = InMemoryStore(ManualClock())
    world = World(store, store, lambda *_: None)
    run = world.start("order-1")
    store.save(WorkflowState(run, store.history(run.run_id)))
    assert world.signal(run).wake is False
    assert world.inbox(run) == [(1, "key")]
    assert store.begin_turn(run.run_id, token="turn", lease=1, known=None) is None
    assert world.commit(run, consumed=[1]).turns == 1


def test_the_wall_clock_counts_microseconds() -> None:
    before = time.time_ns() // 1000
    assert before <= InMemoryStore().now() <= time.time_ns() // 1000


def test_there_is_nothing_to_check_or_to_close() -> None:
    store = InMemoryStore()
    store.check()
    store.close()
    assert isinstance(store, Store)


class TestInMemoryStoreByTheWallClock(StoreContract):
    @pytest.fixture
    def store(self) -> InMemoryStore:
        return InMemoryStore()
