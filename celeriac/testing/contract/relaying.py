"""The contract of ``take_due``, ``next_due``, ``postpone``, ``remove_task`` and ``hold_lease``."""
# ruff: noqa: D102, S101, S106 - these are tests: their names say what they show

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from celeriac.orchestrator.model import SECOND, DueTask, RunRef
from celeriac.orchestrator.status import TaskKind, TaskState, WorkflowStatus
from celeriac.testing.contract.base import ContractBase
from celeriac.testing.contract.world import MINUTE, MOMENT

if TYPE_CHECKING:
    from celeriac.orchestrator.model import Run
    from celeriac.testing.contract.world import World


def _with_due(world: World, *ages: int) -> Run:
    """Return a run with an activity for each age, due that many microseconds ago, numbered from 1."""
    run = world.start()
    now = world.store.now()
    rows = [world.activity(run, number, due_at=now - age) for number, age in enumerate(ages, 1)]
    return world.commit(run, tasks=rows)


class Relaying(ContractBase):
    """What is due is handed to one relay at a time, and comes again until it is dealt with."""

    def test_a_due_row_is_handed_out_as_it_was_with_its_run(self, world: World) -> None:
        run = world.commit(world.start(origin={"task_id": "t"}, queue="workflows"))
        run = world.commit(run, tasks=[world.activity(run, due_at=world.store.now() - 5, data={"n": 1})])
        row = world.row(run)
        with world.span() as span:
            found = list(world.store.take_due(world.namespace, limit=10, hold=MINUTE))
        ref = RunRef(run.run_id, run.workflow_id, world.namespace, run.name, "workflows", WorkflowStatus.RUNNING)
        assert found == [DueTask(row, ref, found[0].now, {"task_id": "t"})]
        assert span.covers(found[0].now)

    def test_a_row_taken_is_due_again_after_the_hold(self, world: World) -> None:
        run = _with_due(world, 5)
        row = world.row(run)
        with world.span() as span:
            world.due(hold=MINUTE)
        held = world.row(run)
        assert span.covers(held.due_at, plus=MINUTE)
        assert held == replace(row, due_at=held.due_at)
        assert world.due() == []

    def test_a_row_whose_hold_is_over_is_handed_out_again(self, world: World) -> None:
        run = _with_due(world, 5)
        world.due(hold=MOMENT)
        world.wait(MOMENT)
        assert world.due() == [(run.run_id, TaskKind.ACTIVITY, 1)]

    def test_the_longest_due_comes_first_across_runs(self, world: World) -> None:
        one, other = _with_due(world, 50 * SECOND, 10 * SECOND), _with_due(world, 30 * SECOND, 70 * SECOND)
        kind = TaskKind.ACTIVITY
        assert world.due() == [
            (other.run_id, kind, 2), (one.run_id, kind, 1), (other.run_id, kind, 1), (one.run_id, kind, 2)
        ]  # fmt: skip

    def test_no_more_than_the_limit_are_taken_and_the_rest_stay_due(self, world: World) -> None:
        _with_due(world, *(age * SECOND for age in (50, 40, 30, 20, 10)))
        assert [seq for _, _, seq in world.due(limit=2)] == [1, 2]
        assert [seq for _, _, seq in world.due(limit=2)] == [3, 4]
        assert [seq for _, _, seq in world.due(limit=2)] == [5]
        assert world.due(limit=2) == []

    def test_a_row_is_handed_out_once_however_often_it_was_moved(self, world: World) -> None:
        run = _with_due(world, 0)
        for delay in (MINUTE, 0, MINUTE, 0):
            world.store.postpone(world.row(run), delay=delay, published=0)
        assert world.due() == [(run.run_id, TaskKind.ACTIVITY, 1)]

    def test_what_is_not_due_yet_is_not_handed_out(self, world: World) -> None:
        world.scheduled()
        assert world.due() == []

    def test_a_row_falls_due_when_its_time_comes(self, world: World) -> None:
        run = world.start()
        run = world.commit(run, tasks=[world.timer(run, 2, due_in=MOMENT)])
        world.wait(MOMENT)
        assert world.due() == [(run.run_id, TaskKind.TIMER, 2)]

    def test_idle_turns_are_never_due(self, world: World) -> None:
        world.idle()
        assert world.due() == []
        assert world.store.next_due(world.namespace) is None

    def test_a_claimed_turn_is_due_when_its_lease_has_run_out(self, world: World) -> None:
        run = world.start()
        world.begin(run, lease=MOMENT)
        world.wait(MOMENT)
        found = world.store.take_due(world.namespace, limit=10, hold=MINUTE)
        assert [(each.task.kind, each.task.state, each.task.token) for each in found] == [
            (TaskKind.TURN, TaskState.RUNNING, "turn")
        ]

    def test_another_namespace_s_rows_are_another_relay_s(self, world: World) -> None:
        _with_due(world, 5)
        other = f"{world.namespace}-other"
        assert list(world.store.take_due(other, limit=10, hold=MINUTE)) == []
        assert world.store.next_due(other) is None
        assert len(world.due()) == 1

    # -- runs that are not running -----------------------------------------------------------------

    def test_of_a_paused_run_only_the_end_of_its_time_is_handed_out(self, world: World) -> None:
        run = world.start(timeout=0)
        late = world.store.now() - 5
        run = world.commit(run, tasks=[world.activity(run, due_at=late), world.timer(run, 2, due_in=-5)])
        world.store.set_status(run.run_id, WorkflowStatus.PAUSED)
        world.signal(run)
        assert world.due() == [(run.run_id, TaskKind.TIMEOUT, 0)]

    def test_what_fell_due_during_a_pause_is_handed_out_after_it(self, world: World) -> None:
        run = _with_due(world, 5)
        world.store.set_status(run.run_id, WorkflowStatus.PAUSED)
        assert world.due() == []
        world.store.set_status(run.run_id, WorkflowStatus.RUNNING)
        assert world.due() == [(run.run_id, TaskKind.ACTIVITY, 1)]

    def test_a_blocked_run_s_rows_are_handed_out(self, world: World) -> None:
        run = world.blocked(delay=0)
        assert world.due() == [(run.run_id, TaskKind.TURN, 0)]

    def test_a_closed_run_s_last_message_is_handed_out_until_it_is_removed(self, world: World) -> None:
        run = world.start()
        run = world.commit(run, status=WorkflowStatus.FAILED, tasks=[world.finish(run, due_in=0)])
        found = world.store.take_due(world.namespace, limit=10, hold=0)
        assert [(each.task.kind, each.run.status) for each in found] == [(TaskKind.FINISH, WorkflowStatus.FAILED)]
        assert world.due(hold=0) == [(run.run_id, TaskKind.FINISH, 0)]
        assert world.store.remove_task(run.run_id, TaskKind.FINISH, 0) is True
        assert world.due() == []

    # -- the next time -------------------------------------------------------------------------------

    def test_the_next_due_time_is_the_earliest_of_all(self, world: World) -> None:
        assert world.store.next_due(world.namespace) is None
        now = world.store.now()
        run = world.start()
        rows = [world.activity(run, number, due_at=now + number * SECOND) for number in (3, 2, 4)]
        world.commit(run, tasks=rows)
        assert world.store.next_due(world.namespace) == now + 2 * SECOND
        world.store.remove_task(run.run_id, TaskKind.ACTIVITY, 2)
        assert world.store.next_due(world.namespace) == now + 3 * SECOND

    def test_the_next_due_time_may_have_passed(self, world: World) -> None:
        run = _with_due(world, 5_000_000, 10)
        assert world.store.next_due(world.namespace) == world.row(run).due_at

    def test_the_next_due_time_passes_over_what_a_pause_holds_back(self, world: World) -> None:
        run = _with_due(world, 5)
        world.store.set_status(run.run_id, WorkflowStatus.PAUSED)
        assert world.store.next_due(world.namespace) is None

    # -- postponing ----------------------------------------------------------------------------------

    def test_a_postponed_row_counts_its_publications(self, world: World) -> None:
        run = _with_due(world, 5)
        (taken,) = world.store.take_due(world.namespace, limit=10, hold=SECOND)
        with world.span() as span:
            world.store.postpone(taken.task, delay=2 * MINUTE, published=3)
        row = world.row(run)
        assert span.covers(row.due_at, plus=2 * MINUTE)
        assert row == replace(taken.task, due_at=row.due_at, published=3)

    def test_a_row_claimed_meanwhile_is_not_postponed(self, world: World) -> None:
        run = _with_due(world, 5)
        (taken,) = world.store.take_due(world.namespace, limit=10, hold=SECOND)
        row = world.claim(run).task
        world.store.postpone(taken.task, delay=5 * MINUTE, published=1)
        assert world.row(run) == row

    def test_a_row_at_its_next_attempt_is_not_postponed(self, world: World) -> None:
        run = _with_due(world, 5)
        (taken,) = world.store.take_due(world.namespace, limit=10, hold=SECOND)
        world.store.requeue(world.claim(run).fence, delay=0, grace=0, next_attempt=True)
        row = world.row(run)
        world.store.postpone(taken.task, delay=5 * MINUTE, published=1)
        assert world.row(run) == row

    def test_a_row_that_another_claim_has_overtaken_is_not_postponed(self, world: World) -> None:
        run = world.scheduled()
        world.claim(run, lease=0)
        (taken,) = world.store.take_due(world.namespace, limit=10, hold=SECOND)
        row = world.claim(run, inner=1, token="another").task
        world.store.postpone(taken.task, delay=5 * MINUTE, published=1)
        assert world.row(run) == row

    def test_a_turn_that_has_committed_is_not_postponed(self, world: World) -> None:
        run = world.start(turn_due=0)
        (taken,) = world.store.take_due(world.namespace, limit=10, hold=SECOND)
        world.commit(run)
        world.store.postpone(taken.task, delay=5 * MINUTE, published=1)
        assert (world.turn(run).state, world.turn(run).due_at) == (TaskState.IDLE, None)

    def test_a_row_that_is_gone_is_not_postponed(self, world: World) -> None:
        run = _with_due(world, 5)
        (taken,) = world.store.take_due(world.namespace, limit=10, hold=SECOND)
        world.store.remove_task(run.run_id, TaskKind.ACTIVITY, 1)
        world.store.postpone(taken.task, delay=0, published=1)
        assert world.keys(run) == []

    def test_a_claimed_row_can_be_postponed_by_who_saw_the_claim(self, world: World) -> None:
        run = world.scheduled()
        world.claim(run, lease=0)
        (taken,) = world.store.take_due(world.namespace, limit=10, hold=SECOND)
        with world.span() as span:
            world.store.postpone(taken.task, delay=MINUTE, published=0)
        assert span.covers(world.row(run).due_at, plus=MINUTE)

    # -- removing ------------------------------------------------------------------------------------

    def test_a_row_is_removed_whoever_has_claimed_it_and_once(self, world: World) -> None:
        run = world.scheduled()
        world.claim(run)
        assert world.store.remove_task(run.run_id, TaskKind.ACTIVITY, 1) is True
        assert world.store.remove_task(run.run_id, TaskKind.ACTIVITY, 1) is False
        assert world.keys(run) == []

    @pytest.mark.parametrize(("kind", "seq"), [(TaskKind.TIMER, 1), (TaskKind.ACTIVITY, 2)])
    def test_only_the_row_that_is_named_is_removed(self, world: World, kind: TaskKind, seq: int) -> None:
        run = world.scheduled()
        assert world.store.remove_task(run.run_id, kind, seq) is False
        assert world.store.remove_task("0" * 32, TaskKind.ACTIVITY, 1) is False
        assert world.keys(run) == [(TaskKind.ACTIVITY, 1)]

    # -- named leases --------------------------------------------------------------------------------

    def test_a_named_lease_has_one_holder(self, world: World) -> None:
        name = f"poller {uuid.uuid4().hex}"
        assert world.store.hold_lease(name, "a", lease=MINUTE) is True
        assert world.second.hold_lease(name, "b", lease=MINUTE) is False
        assert world.store.hold_lease(name, "a", lease=MINUTE) is True

    def test_a_named_lease_that_ran_out_is_free(self, world: World) -> None:
        name = f"poller {uuid.uuid4().hex}"
        world.store.hold_lease(name, "a", lease=MOMENT)
        world.wait(MOMENT)
        assert world.second.hold_lease(name, "b", lease=MINUTE) is True
        assert world.store.hold_lease(name, "a", lease=MINUTE) is False

    def test_a_renewed_named_lease_holds_on(self, world: World) -> None:
        name = f"poller {uuid.uuid4().hex}"
        world.store.hold_lease(name, "a", lease=MOMENT)
        world.store.hold_lease(name, "a", lease=MINUTE)
        world.wait(MOMENT)
        assert world.second.hold_lease(name, "b", lease=MINUTE) is False

    def test_a_named_lease_can_be_given_up(self, world: World) -> None:
        name = f"poller {uuid.uuid4().hex}"
        world.store.hold_lease(name, "a", lease=MINUTE)
        world.store.hold_lease(name, "a", lease=0)
        assert world.second.hold_lease(name, "b", lease=MINUTE) is True

    def test_named_leases_are_apart(self, world: World) -> None:
        name = uuid.uuid4().hex
        assert world.store.hold_lease(f"{name}-1", "a", lease=MINUTE) is True
        assert world.store.hold_lease(f"{name}-2", "b", lease=MINUTE) is True
