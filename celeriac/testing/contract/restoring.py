"""The contract of ``save``, ``load``, ``delete`` and ``purge``."""
# ruff: noqa: D102, S101, S106, PLR2004 - these are tests: their names say what they show

from __future__ import annotations

import uuid
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from celeriac.errors import StoreError
from celeriac.orchestrator.events import SignalReceived
from celeriac.orchestrator.model import (
    CommitOutcome,
    CreateOutcome,
    DeliveryOutcome,
    RunFilter,
    WorkflowState,
)
from celeriac.orchestrator.status import CLOSED, OPEN, TaskKind, TaskState, WorkflowStatus
from celeriac.testing.contract.base import ContractBase
from celeriac.testing.contract.world import MINUTE, MOMENT

if TYPE_CHECKING:
    from celeriac.orchestrator.model import Run
    from celeriac.testing.contract.world import World


def _load(world: World, workflow_id: str) -> WorkflowState:
    state = world.store.load(world.namespace, workflow_id)
    assert state is not None
    return state


def _same(state: WorkflowState, other: WorkflowState) -> bool:
    """Whether two states are the same but for the epoch."""
    return (
        replace(state.run, epoch="", waits=tuple(state.run.waits))
        == replace(other.run, epoch="", waits=tuple(other.run.waits))
        and list(state.history) == list(other.history)
        and list(state.inbox) == list(other.inbox)
        and sorted(state.tasks, key=lambda row: (row.kind, row.seq))
        == sorted(other.tasks, key=lambda row: (row.kind, row.seq))
    )


def _full(world: World) -> Run:
    """Return an open run that has something of everything."""
    run = world.start("order-1", timeout=MINUTE, memo={"a": [1]}, origin={"task_id": "t"}, attributes={"n": 1})
    rows = [world.activity(run, 1, heartbeat=MINUTE, start_to_close=MINUTE), world.timer(run, 2)]
    world.signal(run, "a")
    run = world.commit(run, (SignalReceived("a"), "a"), consumed=[1], tasks=rows, waits=["x"])
    world.store.heartbeat(world.claim(run).fence, {"row": 3})
    world.signal(run, "b", name="b")
    world.signal(run, "c", name="c")
    return world.read(run)


class Restoring(ContractBase):
    """A whole run can be read, put back and deleted."""

    # -- loading -----------------------------------------------------------------------------------

    def test_a_run_is_loaded_whole(self, world: World) -> None:
        run = _full(world)
        state = _load(world, "order-1")
        assert state.run == run
        assert list(state.history) == list(world.store.history(run.run_id))
        assert [(item.number, item.message.key) for item in state.inbox] == [(2, "b"), (3, "c")]
        assert list(state.tasks) == list(world.store.tasks(run.run_id))
        assert len(state.tasks) == 4

    def test_the_latest_run_is_loaded(self, world: World) -> None:
        world.closed("order-1")
        world.wait(1)
        latest = world.closed("order-1", WorkflowStatus.FAILED)
        assert _load(world, "order-1").run == latest

    def test_what_is_not_there_loads_as_none(self, world: World) -> None:
        world.start("order-1")
        assert world.store.load(world.namespace, "order-2") is None
        assert world.store.load(f"{world.namespace}-other", "order-1") is None

    # -- saving --------------------------------------------------------------------------------------

    def test_a_saved_run_is_the_same_under_a_new_epoch(self, world: World) -> None:
        run = _full(world)
        state = _load(world, "order-1")
        world.store.save(state)
        again = _load(world, "order-1")
        assert _same(state, again)
        assert again.run.epoch not in {run.epoch, ""}
        world.store.save(state)
        assert _load(world, "order-1").run.epoch != again.run.epoch

    def test_a_run_can_be_saved_where_it_never_was(self, world: World) -> None:
        _full(world)
        state = _load(world, "order-1")
        run = replace(state.run, run_id=uuid.uuid4().hex, workflow_id="order-2", start_key=uuid.uuid4().hex)
        rows = [replace(row, run_id=run.run_id) for row in state.tasks]
        moved = WorkflowState(run, state.history, state.inbox, rows)
        world.store.save(moved)
        assert _same(_load(world, "order-2"), moved)
        assert _same(_load(world, "order-1"), state)

    @pytest.mark.parametrize("status", sorted(WorkflowStatus))
    def test_a_run_can_be_saved_in_any_status(self, world: World, status: WorkflowStatus) -> None:
        run = world.in_status(status)
        state = _load(world, run.workflow_id)
        world.store.save(state)
        assert _same(_load(world, run.workflow_id), state)

    def test_what_came_after_is_gone_when_a_run_is_put_back(self, world: World) -> None:
        run = _full(world)
        state = _load(world, "order-1")
        world.signal(run, "d")
        world.commit(run, (SignalReceived("b"), "b"), consumed=[2], tasks=[world.activity(run, 9)], leave_due=True)
        world.store.save(state)
        assert _same(_load(world, "order-1"), state)
        assert world.keys(run) == [(TaskKind.ACTIVITY, 1), (TaskKind.TIMEOUT, 0), (TaskKind.TIMER, 2)]

    def test_the_same_version_of_a_branch_put_back_is_another(self, world: World) -> None:
        run = world.idle("order-1")
        state = _load(world, "order-1")
        late = world.a_commit(run, SignalReceived("late"))
        world.store.save(state)
        assert world.store.commit(late) is CommitOutcome.CONFLICT
        assert world.read(run).version == run.version
        view = world.store.read_turn(run.run_id, known=(run.epoch, run.version))
        assert view is not None
        assert ([event.number for event in view.events], view.complete) == ([1], True)

    def test_a_run_put_back_goes_on(self, world: World) -> None:
        run = _full(world)
        world.store.save(_load(world, "order-1"))
        view = world.begin(run)
        after = world.commit(run, (SignalReceived("b"), "b"), consumed=[2, 3], turn_token="turn")
        assert (after.version, after.epoch) == (run.version + 1, view.run.epoch)
        assert world.turn(run).state is TaskState.IDLE
        assert world.signal(run, "e").wake is True
        assert world.inbox(run) == [(4, "e")]

    def test_the_keys_of_a_run_put_back_are_known(self, world: World) -> None:
        run = _full(world)
        world.store.save(_load(world, "order-1"))
        outcomes = [world.signal(run, key).outcome for key in ("a", "b", "z")]
        same = DeliveryOutcome.DUPLICATE
        assert outcomes == [same, same, DeliveryOutcome.DELIVERED]

    def test_a_key_that_was_not_there_yet_is_free_when_a_run_is_put_back(self, world: World) -> None:
        run = world.idle("order-1")
        state = _load(world, "order-1")
        world.signal(run, "k")
        world.commit(run, (SignalReceived("a"), "k"), consumed=[1])
        world.store.save(state)
        assert world.signal(run, "k").outcome is DeliveryOutcome.DELIVERED

    def test_a_closed_run_put_back_as_it_was_when_it_was_open_is_open(self, world: World) -> None:
        run = world.idle("order-1")
        state = _load(world, "order-1")
        world.commit(run, status=WorkflowStatus.FAILED)
        world.store.save(state)
        assert world.read(run).closed_at is None
        assert world.store.create(world.new("order-1")).outcome is CreateOutcome.OPEN_EXISTS
        assert world.signal(run).wake is True

    def test_an_earlier_run_put_back_does_not_become_the_latest(self, world: World) -> None:
        world.closed("order-1")
        state = _load(world, "order-1")
        world.wait(1)
        latest = world.closed("order-1", WorkflowStatus.FAILED)
        world.store.save(state)
        assert world.store.find_run(world.namespace, workflow_id="order-1") == latest
        assert _load(world, "order-1").run == latest

    def test_an_earlier_run_that_is_open_again_is_the_one_that_its_id_means(self, world: World) -> None:
        run = world.idle("order-1")
        state = _load(world, "order-1")
        world.commit(run, status=WorkflowStatus.FAILED)
        world.wait(1)
        world.closed("order-1")
        world.store.save(state)
        assert _load(world, "order-1").run.run_id == run.run_id
        found = world.store.find_run(world.namespace, workflow_id="order-1")
        assert found == world.read(run)
        delivery = world.store.deliver(world.message(), namespace=world.namespace, workflow_id="order-1")
        assert delivery.outcome is DeliveryOutcome.DELIVERED
        assert world.inbox(run) == [(1, "key")]

    def test_an_open_run_put_back_as_closed_is_closed(self, world: World) -> None:
        run = world.start("order-1")
        status, closed_at = WorkflowStatus.CANCELED, world.store.now()
        closed = replace(run, status=status, closed_at=closed_at)
        world.store.save(WorkflowState(closed, world.store.history(run.run_id)))
        assert list(world.store.tasks(run.run_id)) == []
        assert world.signal(run).outcome is DeliveryOutcome.CLOSED
        assert world.store.create(world.new("order-1")).outcome is CreateOutcome.CREATED

    def test_a_run_s_start_key_comes_along(self, world: World) -> None:
        run = world.closed("order-1", start_key="task-1")
        state = _load(world, "order-1")
        world.store.delete(world.namespace, "order-1")
        world.store.save(state)
        again = world.store.create(world.new(start_key="task-1"))
        assert (again.outcome, again.run.run_id) == (CreateOutcome.SAME_START, run.run_id)

    def test_runs_without_start_keys_can_be_saved(self, world: World) -> None:
        for workflow_id in ("order-1", "order-2"):
            run = world.closed(workflow_id)
            state = _load(world, workflow_id)
            world.store.save(replace(state, run=replace(run, start_key="")))
            assert world.read(run).start_key == ""

    def test_a_second_open_run_of_an_id_can_not_be_saved(self, world: World) -> None:
        earlier = world.idle("order-1")
        state = _load(world, "order-1")
        world.commit(earlier, status=WorkflowStatus.FAILED)
        world.wait(1)
        world.start("order-1")
        before = world.everything(earlier)
        with pytest.raises(StoreError):
            world.store.save(state)
        assert world.everything(earlier) == before

    # -- deleting ------------------------------------------------------------------------------------

    def test_all_runs_of_an_id_are_deleted_with_what_belongs_to_them(self, world: World) -> None:
        runs = [world.closed("order-1") for _ in range(3)]
        last = world.start("order-1")
        last = world.commit(last, status=WorkflowStatus.FAILED, tasks=[world.finish(last, due_in=0)])
        other = world.closed("order-2")
        assert world.store.delete(world.namespace, "order-1") == 4
        for run in (*runs, last):
            assert world.store.find_run(world.namespace, run_id=run.run_id) is None
            assert list(world.store.history(run.run_id)) == []
            assert list(world.store.tasks(run.run_id)) == []
        assert world.due() == []
        assert list(world.store.list(world.namespace, RunFilter())) == [other]
        assert len(world.store.history(other.run_id)) == 1

    def test_a_deleted_workflow_is_not_found(self, world: World) -> None:
        world.closed("order-1")
        world.store.delete(world.namespace, "order-1")
        assert world.store.load(world.namespace, "order-1") is None
        assert world.store.find_run(world.namespace, workflow_id="order-1") is None
        delivery = world.store.deliver(world.message(), namespace=world.namespace, workflow_id="order-1")
        assert delivery.outcome is DeliveryOutcome.NOT_FOUND

    def test_runs_that_closed_before_a_time_are_purged_the_first_closed_first(self, world: World) -> None:
        old = []
        for run in reversed([world.start(f"order-{number}") for number in range(3)]):
            old.append(world.commit(run, status=WorkflowStatus.COMPLETED))
            world.wait(MOMENT)
        before = world.store.now()
        world.wait(MOMENT)
        late, running = world.closed("late"), world.start("running")
        elsewhere = world.closed("order-1", namespace=f"{world.namespace}-other")
        purge = partial(world.store.purge, world.namespace, closed_before=before)
        assert purge(limit=2) == 2
        left = {run.run_id for run in world.store.list(world.namespace, RunFilter())}
        assert left == {running.run_id, late.run_id, old[2].run_id}
        assert purge(limit=2) == 1
        assert purge(limit=2) == 0
        assert [list(world.store.history(run.run_id)) for run in old] == [[], [], []]
        assert len(world.store.history(late.run_id)) == 1
        assert world.store.find_run(elsewhere.namespace, run_id=elsewhere.run_id) is not None

    def test_a_run_whose_last_message_is_due_is_not_purged(self, world: World) -> None:
        run = world.start()
        run = world.commit(run, status=WorkflowStatus.FAILED, tasks=[world.finish(run, due_in=0)])
        world.wait(MOMENT)
        assert world.store.purge(world.namespace, closed_before=world.store.now(), limit=10) == 0
        world.store.remove_task(run.run_id, TaskKind.FINISH, 0)
        assert world.store.purge(world.namespace, closed_before=world.store.now(), limit=10) == 1

    def test_deleting_what_is_not_there_deletes_nothing(self, world: World) -> None:
        world.closed("order-1", namespace=f"{world.namespace}-other")
        assert world.store.delete(world.namespace, "order-1") == 0
        assert world.store.find_run(f"{world.namespace}-other", workflow_id="order-1") is not None

    @pytest.mark.parametrize("status", sorted(OPEN))
    def test_an_open_run_is_not_deleted(self, world: World, status: WorkflowStatus) -> None:
        run = world.in_status(status)
        before = world.everything(run)
        with pytest.raises(StoreError):
            world.store.delete(world.namespace, run.workflow_id)
        assert world.everything(run) == before

    def test_earlier_runs_stay_while_one_is_open(self, world: World) -> None:
        earlier = world.closed("order-1")
        world.start("order-1")
        with pytest.raises(StoreError):
            world.store.delete(world.namespace, "order-1")
        assert world.read(earlier) == earlier

    def test_ids_and_keys_of_deleted_runs_are_free(self, world: World) -> None:
        world.closed("order-1", start_key="task-1")
        world.store.delete(world.namespace, "order-1")
        new = world.new("order-1", start_key="task-1")
        assert world.store.create(new).outcome is CreateOutcome.CREATED

    def test_a_run_deleted_and_created_again_does_not_take_commits_for_the_old_one(self, world: World) -> None:
        new = world.new("order-1")
        run = world.store.create(new).run
        late = world.a_commit(run, SignalReceived("late"))
        world.commit(run, status=WorkflowStatus.COMPLETED)
        world.store.delete(world.namespace, "order-1")
        again = world.store.create(replace(new, epoch=uuid.uuid4().hex)).run
        assert world.store.commit(late) is CommitOutcome.CONFLICT
        assert world.read(again) == again

    @pytest.mark.parametrize("status", sorted(CLOSED))
    def test_a_run_that_closed_in_any_way_can_be_deleted(self, world: World, status: WorkflowStatus) -> None:
        run = world.closed(status=status)
        assert world.store.delete(world.namespace, run.workflow_id) == 1
