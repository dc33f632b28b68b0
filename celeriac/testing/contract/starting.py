"""The contract of ``create``."""
# ruff: noqa: D102, S101 - these are tests: their names say what they show

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from celeriac.orchestrator.events import HistoryEvent, WorkflowStarted
from celeriac.orchestrator.model import SECOND, CreateOutcome, IdReuse, Run
from celeriac.orchestrator.status import CLOSED, TaskKind, TaskState, WorkflowStatus
from celeriac.testing.contract.base import ContractBase

if TYPE_CHECKING:
    from celeriac.testing.contract.world import World

FAILURES = sorted({WorkflowStatus.FAILED, WorkflowStatus.CANCELED, WorkflowStatus.TERMINATED, WorkflowStatus.TIMED_OUT})


class Starting(ContractBase):
    """A start writes a run, its first event and its turn row, once."""

    def test_a_new_run_is_running_at_version_one(self, world: World) -> None:
        new = world.new(
            definition_version="2",
            queue="workflows",
            memo={"for": "Ann"},
            attributes={"customer": 7},
            origin={"task_id": "t"},
            parent_run_id="p" * 32,
        )
        with world.span() as span:
            created = world.store.create(new)
        assert created.outcome is CreateOutcome.CREATED
        assert span.covers(created.run.created_at)
        assert created.run == Run(
            run_id=new.run_id,
            workflow_id=new.workflow_id,
            namespace=world.namespace,
            name="shop.fulfil",
            status=WorkflowStatus.RUNNING,
            version=1,
            epoch=new.epoch,
            inbox_seq=0,
            created_at=created.run.created_at,
            updated_at=created.run.created_at,
            definition_version="2",
            queue="workflows",
            start_key=new.start_key,
            input={"args": ["A"], "kwargs": {}},
            memo={"for": "Ann"},
            attributes={"customer": 7},
            origin={"task_id": "t"},
            parent_run_id="p" * 32,
        )

    def test_what_create_returns_is_what_the_store_holds(self, world: World) -> None:
        run = world.start()
        assert world.read(run) == run

    def test_the_first_event_is_recorded_at_the_time_of_the_start(self, world: World) -> None:
        run = world.start(started=WorkflowStarted("shop.fulfil", args=["A"], seed="9"))
        data = {"workflow": "shop.fulfil", "args": ["A"], "seed": "9"}
        assert list(world.store.history(run.run_id)) == [
            HistoryEvent(1, "workflow_started", run.created_at, data, key=None)
        ]

    def test_its_turn_is_queued_unclaimed_and_due_after_turn_due(self, world: World) -> None:
        with world.span() as span:
            run = world.start(turn_due=3 * SECOND)
        row = world.turn(run)
        # Whoever starts a run publishes its first turn: that counts.
        assert (row.state, row.token, row.attempt, row.published) == (TaskState.QUEUED, None, 0, 1)
        assert row.namespace == world.namespace
        assert span.covers(row.due_at, plus=3 * SECOND)

    def test_there_is_no_other_row_without_a_timeout(self, world: World) -> None:
        assert world.keys(world.start()) == []

    def test_a_timeout_is_a_row_that_falls_due_at_the_end_of_the_time(self, world: World) -> None:
        with world.span() as span:
            run = world.start(timeout=90 * SECOND)
        row = world.row(run, TaskKind.TIMEOUT, 0)
        assert (row.state, row.token, row.namespace) == (TaskState.QUEUED, None, world.namespace)
        assert row.published == 0
        assert span.covers(row.due_at, plus=90 * SECOND)

    def test_a_start_that_json_can_not_hold_writes_nothing(self, world: World) -> None:
        new = world.new(input={"args": [object()], "kwargs": {}})
        with pytest.raises(TypeError):
            world.store.create(new)
        assert world.store.find_run(world.namespace, run_id=new.run_id) is None
        assert world.store.create(replace(new, input=None)).outcome is CreateOutcome.CREATED

    # -- the same start ----------------------------------------------------------------------------

    def test_a_start_repeated_after_a_lost_answer_is_the_same_start(self, world: World) -> None:
        new = world.new()
        first = world.store.create(new)
        again = world.second.create(new)
        assert (again.outcome, again.run) == (CreateOutcome.SAME_START, first.run)

    def test_the_same_start_under_other_ids_is_still_the_first_run(self, world: World) -> None:
        first = world.start(start_key="task-1")
        again = world.store.create(world.new(start_key="task-1"))
        assert (again.outcome, again.run) == (CreateOutcome.SAME_START, first)

    def test_the_same_start_writes_nothing(self, world: World) -> None:
        first = world.start(start_key="task-1")
        before = world.everything(first)
        again = world.new(start_key="task-1")
        world.store.create(again)
        assert world.everything(first) == before
        assert world.store.find_run(world.namespace, run_id=again.run_id) is None
        assert world.store.find_run(world.namespace, workflow_id=again.workflow_id) is None
        assert list(world.store.tasks(again.run_id)) == []

    @pytest.mark.parametrize("status", sorted(CLOSED))
    def test_the_same_start_is_the_same_run_however_it_closed(self, world: World, status: WorkflowStatus) -> None:
        run = world.closed(start_key="task-1", status=status)
        again = world.store.create(world.new(run.workflow_id, start_key="task-1"))
        assert (again.outcome, again.run) == (CreateOutcome.SAME_START, run)

    def test_a_start_key_is_of_its_namespace(self, world: World) -> None:
        world.start(start_key="task-1")
        other = world.new(start_key="task-1", namespace=f"{world.namespace}-other")
        assert world.store.create(other).outcome is CreateOutcome.CREATED

    def test_the_same_start_is_recognised_before_the_open_run_is(self, world: World) -> None:
        closed = world.closed(start_key="task-1")
        world.start(closed.workflow_id)
        again = world.store.create(world.new(closed.workflow_id, start_key="task-1"))
        assert (again.outcome, again.run) == (CreateOutcome.SAME_START, closed)

    # -- the same workflow id ----------------------------------------------------------------------

    @pytest.mark.parametrize("reuse", sorted(IdReuse))
    def test_an_id_has_one_open_run(self, world: World, reuse: IdReuse) -> None:
        run = world.start("order-1")
        before = world.everything(run)
        other = world.new("order-1", id_reuse=reuse)
        again = world.store.create(other)
        assert (again.outcome, again.run) == (CreateOutcome.OPEN_EXISTS, run)
        assert world.everything(run) == before
        assert world.store.find_run(world.namespace, run_id=other.run_id) is None

    @pytest.mark.parametrize("status", [WorkflowStatus.BLOCKED, WorkflowStatus.PAUSED])
    def test_a_blocked_or_paused_run_is_open(self, world: World, status: WorkflowStatus) -> None:
        run = world.in_status(status)
        again = world.store.create(world.new(run.workflow_id))
        assert (again.outcome, again.run) == (CreateOutcome.OPEN_EXISTS, run)

    def test_a_start_that_found_an_open_run_may_be_made_again_when_that_has_closed(self, world: World) -> None:
        run = world.start("order-1")
        later = world.new("order-1")
        world.store.create(later)
        world.commit(run, status=WorkflowStatus.COMPLETED)
        assert world.store.create(later).outcome is CreateOutcome.CREATED

    def test_the_same_id_in_another_namespace_is_another_workflow(self, world: World) -> None:
        world.start("order-1")
        other = world.new("order-1", namespace=f"{world.namespace}-other")
        assert world.store.create(other).outcome is CreateOutcome.CREATED

    @pytest.mark.parametrize("status", sorted(CLOSED))
    def test_the_id_of_a_closed_run_is_free(self, world: World, status: WorkflowStatus) -> None:
        world.closed("order-1", status)
        assert world.store.create(world.new("order-1")).outcome is CreateOutcome.CREATED

    @pytest.mark.parametrize("status", sorted(CLOSED))
    def test_never_refuses_the_id_of_any_closed_run(self, world: World, status: WorkflowStatus) -> None:
        run = world.closed("order-1", status)
        again = world.store.create(world.new("order-1", id_reuse=IdReuse.NEVER))
        assert (again.outcome, again.run) == (CreateOutcome.REUSE_REFUSED, run)

    def test_never_and_after_failure_take_an_id_that_is_new(self, world: World) -> None:
        for reuse in (IdReuse.NEVER, IdReuse.AFTER_FAILURE):
            assert world.store.create(world.new(id_reuse=reuse)).outcome is CreateOutcome.CREATED

    def test_after_failure_refuses_the_id_of_a_completed_run(self, world: World) -> None:
        run = world.closed("order-1", WorkflowStatus.COMPLETED)
        again = world.store.create(world.new("order-1", id_reuse=IdReuse.AFTER_FAILURE))
        assert (again.outcome, again.run) == (CreateOutcome.REUSE_REFUSED, run)

    @pytest.mark.parametrize("status", FAILURES)
    def test_after_failure_takes_the_id_of_a_run_that_did_not_complete(
        self, world: World, status: WorkflowStatus
    ) -> None:
        world.closed("order-1", status)
        again = world.store.create(world.new("order-1", id_reuse=IdReuse.AFTER_FAILURE))
        assert again.outcome is CreateOutcome.CREATED

    def test_after_failure_looks_at_the_latest_run_only(self, world: World) -> None:
        for earlier, latest, outcome in (
            (WorkflowStatus.COMPLETED, WorkflowStatus.FAILED, CreateOutcome.CREATED),
            (WorkflowStatus.FAILED, WorkflowStatus.COMPLETED, CreateOutcome.REUSE_REFUSED),
        ):
            first = world.closed(status=earlier)
            world.wait(1)
            world.closed(first.workflow_id, latest)
            again = world.store.create(world.new(first.workflow_id, id_reuse=IdReuse.AFTER_FAILURE))
            assert again.outcome is outcome

    def test_a_refused_start_writes_nothing_and_may_be_made_again(self, world: World) -> None:
        world.closed("order-1")
        new = world.new("order-1", id_reuse=IdReuse.NEVER)
        world.store.create(new)
        assert world.store.find_run(world.namespace, run_id=new.run_id) is None
        assert world.store.create(replace(new, id_reuse=IdReuse.ALLOW)).outcome is CreateOutcome.CREATED
