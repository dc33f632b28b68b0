"""The contract of ``settle``: a task row becomes an outcome in the inbox, once."""
# ruff: noqa: D102, S101, S105, S106 - these are tests: their names say what they show

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from celeriac.orchestrator.model import DeliveryOutcome, Fence
from celeriac.orchestrator.status import MessageKind, TaskKind, TaskState, WorkflowStatus
from celeriac.testing.contract.base import ContractBase
from celeriac.testing.contract.world import MINUTE, MOMENT

if TYPE_CHECKING:
    from celeriac.orchestrator.model import Delivery, Message, Run, Task
    from celeriac.testing.contract.world import World


def _outcome(world: World, key: str = "outcome-1") -> Message:
    return world.message(key, MessageKind.OUTCOME, result=42)


def _settle(world: World, run: Run, token: str, kind: TaskKind = TaskKind.ACTIVITY, seq: int = 1) -> Delivery:
    return world.store.settle(Fence(run.run_id, kind, seq, token), _outcome(world))


class Settling(ContractBase):
    """An outcome is written and its row deleted in one step, while the claim holds."""

    def test_an_outcome_is_delivered_and_its_row_deleted(self, world: World) -> None:
        run = world.scheduled()
        claim = world.claim(run)
        delivery = world.store.settle(claim.fence, _outcome(world))
        assert (delivery.outcome, delivery.run) == (DeliveryOutcome.DELIVERED, claim.run)
        assert world.keys(run) == []
        view = world.store.read_turn(run.run_id, known=None)
        assert view is not None
        assert [(item.number, item.message) for item in view.inbox] == [(1, _outcome(world))]

    def test_an_outcome_wakes_an_idle_turn(self, world: World) -> None:
        run = world.scheduled()
        assert world.store.settle(world.claim(run).fence, _outcome(world)).wake is True
        assert world.turn(run).state is TaskState.QUEUED

    def test_an_outcome_does_not_wake_a_turn_that_is_running(self, world: World) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        world.signal(run)
        world.begin(run)
        assert world.store.settle(fence, _outcome(world)).wake is False
        assert world.turn(run).token == "turn"

    def test_an_outcome_has_a_blocked_run_tried_again(self, world: World) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        world.signal(run)
        world.begin(run)
        world.store.release_turn(run.run_id, token="turn", delay=5 * MINUTE, blocked={"reason": "no code"})
        assert world.store.settle(fence, _outcome(world)).wake is True

    def test_a_paused_run_takes_outcomes_but_is_not_woken(self, world: World) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        world.store.set_status(run.run_id, WorkflowStatus.PAUSED)
        delivery = world.store.settle(fence, _outcome(world))
        assert (delivery.outcome, delivery.wake) == (DeliveryOutcome.DELIVERED, False)
        assert world.keys(run) == []

    def test_an_outcome_settled_twice_is_refused_the_second_time(self, world: World) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        first = world.store.settle(fence, _outcome(world))
        second = world.second.settle(fence, _outcome(world))
        assert (first.outcome, second.outcome) == (DeliveryOutcome.DELIVERED, DeliveryOutcome.REFUSED)
        assert second.wake is False
        assert world.inbox(run) == [(1, "outcome-1")]

    def test_only_the_token_of_the_claim_settles(self, world: World) -> None:
        run = world.scheduled()
        world.claim(run)
        before = world.everything(run)
        for token in ("another", "", "ATTEMPT", "attempt "):
            assert _settle(world, run, token).outcome is DeliveryOutcome.REFUSED
        assert world.everything(run) == before

    def test_an_empty_token_settles_a_row_nobody_has_claimed(self, world: World) -> None:
        run = world.idle()
        run = world.commit(run, tasks=[world.timer(run, 3)])
        delivery = _settle(world, run, "", TaskKind.TIMER, 3)
        assert (delivery.outcome, delivery.wake) == (DeliveryOutcome.DELIVERED, True)
        assert world.keys(run) == []

    def test_a_token_does_not_settle_a_row_nobody_has_claimed(self, world: World) -> None:
        run = world.scheduled()
        assert _settle(world, run, "attempt").outcome is DeliveryOutcome.REFUSED
        assert world.keys(run) == [(TaskKind.ACTIVITY, 1)]

    def test_a_row_of_another_kind_or_number_is_not_settled(self, world: World) -> None:
        run = world.scheduled()
        world.claim(run)
        assert _settle(world, run, "attempt", TaskKind.TIMER).outcome is DeliveryOutcome.REFUSED
        assert _settle(world, run, "attempt", seq=2).outcome is DeliveryOutcome.REFUSED
        assert world.keys(run) == [(TaskKind.ACTIVITY, 1)]

    def test_only_the_settled_row_is_deleted(self, world: World) -> None:
        run = world.start()
        rows: list[Task] = [world.activity(run, 1), world.activity(run, 2), world.timer(run, 1)]
        run = world.commit(run, tasks=rows)
        world.store.settle(world.claim(run).fence, _outcome(world))
        assert world.keys(run) == [(TaskKind.ACTIVITY, 2), (TaskKind.TIMER, 1)]

    def test_the_outcome_of_a_run_that_is_not_there_is_refused(self, world: World) -> None:
        fence = Fence("0" * 32, TaskKind.ACTIVITY, 1, "attempt")
        assert world.store.settle(fence, _outcome(world)).outcome is DeliveryOutcome.REFUSED

    def test_an_attempt_that_was_given_back_does_not_settle(self, world: World) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        world.store.requeue(fence, delay=0, grace=0, next_attempt=True)
        assert world.store.settle(fence, _outcome(world)).outcome is DeliveryOutcome.REFUSED
        world.claim(run, attempt=2, token="attempt-2")
        assert world.store.settle(fence, _outcome(world)).outcome is DeliveryOutcome.REFUSED
        assert world.inbox(run) == []

    def test_an_attempt_whose_lease_ran_out_settles_as_long_as_nobody_took_it(self, world: World) -> None:
        run = world.scheduled()
        fence = world.claim(run, lease=MOMENT).fence
        world.wait(MOMENT)
        assert world.due() == [(run.run_id, TaskKind.ACTIVITY, 1)]
        assert world.store.settle(fence, _outcome(world)).outcome is DeliveryOutcome.DELIVERED

    def test_an_activity_that_was_asked_to_stop_still_settles(self, world: World) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        world.commit(run, canceling=[1])
        assert world.store.settle(fence, _outcome(world)).outcome is DeliveryOutcome.DELIVERED

    @pytest.mark.parametrize("token", ["", "attempt"])
    def test_nothing_is_settled_for_a_closed_run(self, world: World, token: str) -> None:
        run = world.scheduled()
        world.claim(run)
        run = world.commit(run, status=WorkflowStatus.COMPLETED, tasks=[world.finish(run)])
        before = world.everything(run)
        assert _settle(world, run, token).outcome is DeliveryOutcome.REFUSED
        assert _settle(world, run, token, TaskKind.FINISH, 0).outcome is DeliveryOutcome.REFUSED
        assert world.everything(run) == before

    def test_a_row_whose_outcome_came_another_way_goes_without_a_second_one(self, world: World) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        world.store.deliver(_outcome(world), namespace=world.namespace, run_id=run.run_id)
        assert world.store.settle(fence, _outcome(world)).outcome is DeliveryOutcome.DUPLICATE
        assert world.inbox(run) == [(1, "outcome-1")]
        assert world.keys(run) == []
