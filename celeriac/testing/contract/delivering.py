"""The contract of ``deliver`` and ``set_status``: how messages come into an inbox and wake a turn."""
# ruff: noqa: D102, S101, PLR2004 - these are tests: their names say what they show

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from celeriac.orchestrator.events import SignalReceived
from celeriac.orchestrator.model import Delivery, DeliveryOutcome, InboxItem, RunRef
from celeriac.orchestrator.status import CLOSED, MessageKind, TaskState, WorkflowStatus
from celeriac.testing.contract.base import ContractBase
from celeriac.testing.contract.world import MINUTE

if TYPE_CHECKING:
    from celeriac.orchestrator.model import Run
    from celeriac.testing.contract.world import World


def _ref(run: Run, status: WorkflowStatus | None = None) -> RunRef:
    return RunRef(run.run_id, run.workflow_id, run.namespace, run.name, run.queue, status or run.status)


class Delivering(ContractBase):
    """A message is in the inbox once, in the order of arrival, and one deliverer is told to wake the turn."""

    def test_a_message_is_in_the_inbox_with_its_number_and_time(self, world: World) -> None:
        run = world.idle()
        message = world.message("key-1", name="approved", payload={"by": ["Ann"]})
        with world.span() as span:
            world.store.deliver(message, namespace=world.namespace, run_id=run.run_id)
        view = world.store.read_turn(run.run_id, known=None)
        assert view is not None
        assert list(view.inbox) == [InboxItem(1, message, view.inbox[0].at)]
        assert span.covers(view.inbox[0].at)
        assert view.run.inbox_seq == 1

    @pytest.mark.parametrize("kind", sorted(MessageKind))
    def test_every_kind_of_message_is_taken(self, world: World, kind: MessageKind) -> None:
        run = world.idle()
        message = world.message("key", kind)
        assert world.store.deliver(message, namespace=world.namespace, run_id=run.run_id) == Delivery(
            DeliveryOutcome.DELIVERED, _ref(run), wake=True
        )
        view = world.store.read_turn(run.run_id, known=None)
        assert view is not None
        assert [item.message for item in view.inbox] == [message]

    def test_messages_are_numbered_in_the_order_of_arrival(self, world: World) -> None:
        run = world.idle()
        for key in ("c", "a", "b"):
            world.signal(run, key)
        assert world.inbox(run) == [(1, "c"), (2, "a"), (3, "b")]

    def test_numbers_go_on_after_messages_have_been_consumed(self, world: World) -> None:
        run = world.idle()
        world.signal(run, "a")
        world.commit(run, consumed=[1])
        world.signal(run, "b")
        assert world.inbox(run) == [(2, "b")]
        assert world.read(run).inbox_seq == 2

    def test_more_than_ten_messages_keep_their_order(self, world: World) -> None:
        run = world.idle()
        for number in range(1, 13):
            world.signal(run, f"key-{number}")
        assert world.inbox(run) == [(number, f"key-{number}") for number in range(1, 13)]

    def test_a_message_json_can_not_hold_is_refused_and_nothing_written(self, world: World) -> None:
        run = world.idle()
        before = world.everything(run)
        with pytest.raises(TypeError):
            world.signal(run, payload=object())
        assert world.everything(run) == before

    # -- which run -----------------------------------------------------------------------------------

    def test_a_workflow_id_means_its_open_run(self, world: World) -> None:
        world.closed("order-1")
        run = world.idle("order-1")
        delivery = world.store.deliver(world.message(), namespace=world.namespace, workflow_id="order-1")
        assert delivery == Delivery(DeliveryOutcome.DELIVERED, _ref(run), wake=True)
        assert world.inbox(run) == [(1, "key")]

    def test_a_run_id_means_that_run_although_another_is_open(self, world: World) -> None:
        closed = world.closed("order-1")
        run = world.idle("order-1")
        assert world.signal(closed) == Delivery(DeliveryOutcome.CLOSED, _ref(closed))
        assert world.inbox(run) == []

    def test_a_workflow_nobody_started_is_not_found(self, world: World) -> None:
        nobody = Delivery(DeliveryOutcome.NOT_FOUND)
        message = world.message()
        assert world.store.deliver(message, namespace=world.namespace, workflow_id="nobody") == nobody
        assert world.store.deliver(message, namespace=world.namespace, run_id="0" * 32) == nobody

    def test_a_run_of_another_namespace_is_not_found(self, world: World) -> None:
        run = world.idle("order-1")
        other = f"{world.namespace}-other"
        nobody = Delivery(DeliveryOutcome.NOT_FOUND)
        assert world.store.deliver(world.message(), namespace=other, workflow_id="order-1") == nobody
        assert world.store.deliver(world.message(), namespace=other, run_id=run.run_id) == nobody
        assert world.inbox(run) == []

    @pytest.mark.parametrize("status", sorted(CLOSED))
    def test_a_closed_run_takes_nothing(self, world: World, status: WorkflowStatus) -> None:
        run = world.closed("order-1", status)
        before = world.everything(run)
        closed = Delivery(DeliveryOutcome.CLOSED, _ref(run))
        assert world.signal(run) == closed
        assert world.store.deliver(world.message(), namespace=world.namespace, workflow_id="order-1") == closed
        assert world.everything(run) == before

    def test_without_an_open_run_a_workflow_id_means_the_latest(self, world: World) -> None:
        world.closed("order-1")
        world.wait(1)
        latest = world.closed("order-1", WorkflowStatus.FAILED)
        delivery = world.store.deliver(world.message(), namespace=world.namespace, workflow_id="order-1")
        assert delivery == Delivery(DeliveryOutcome.CLOSED, _ref(latest))

    # -- the same message ------------------------------------------------------------------------------

    def test_a_message_sent_again_while_it_waits_is_the_same_message(self, world: World) -> None:
        run = world.idle()
        world.signal(run, "k", value=1)
        before = world.everything(run)
        assert world.signal(run, "k", value=2) == Delivery(DeliveryOutcome.DUPLICATE, _ref(run))
        assert world.everything(run) == before
        view = world.store.read_turn(run.run_id, known=None)
        assert view is not None
        assert view.inbox[0].message.data == {"value": 1}

    def test_a_message_sent_again_after_it_was_recorded_is_the_same_message(self, world: World) -> None:
        run = world.idle()
        world.signal(run, "k")
        run = world.commit(run, (SignalReceived("approved"), "k"), consumed=[1])
        before = world.everything(run)
        assert world.signal(run, "k") == Delivery(DeliveryOutcome.DUPLICATE, _ref(run))
        assert world.everything(run) == before

    def test_a_message_sent_again_after_the_run_has_closed_is_the_same_message(self, world: World) -> None:
        run = world.idle("order-1")
        world.signal(run, "k")
        status = WorkflowStatus.COMPLETED
        run = world.commit(run, (SignalReceived("approved"), "k"), consumed=[1], status=status)
        same = Delivery(DeliveryOutcome.DUPLICATE, _ref(run))
        assert world.signal(run, "k") == same
        again = world.store.deliver(world.message("k"), namespace=world.namespace, workflow_id="order-1")
        assert again == same

    def test_a_key_is_of_its_run(self, world: World) -> None:
        one, other = world.idle(), world.idle()
        assert world.signal(one, "k").outcome is DeliveryOutcome.DELIVERED
        assert world.signal(other, "k").outcome is DeliveryOutcome.DELIVERED

    def test_events_without_a_key_are_no_duplicates_of_anything(self, world: World) -> None:
        run = world.commit(world.idle(), SignalReceived("a"), SignalReceived("b"))
        assert world.signal(run, "None").outcome is DeliveryOutcome.DELIVERED

    # -- waking ------------------------------------------------------------------------------------------

    def test_a_message_for_an_idle_turn_wakes_it(self, world: World) -> None:
        run = world.idle()
        assert (world.turn(run).state, world.turn(run).due_at) == (TaskState.IDLE, None)
        with world.span() as span:
            assert world.signal(run).wake is True
        row = world.turn(run)
        assert (row.state, row.token, row.attempt, row.published) == (TaskState.QUEUED, None, 0, 1)
        assert span.covers(row.due_at, plus=world.redeliver_after)

    def test_only_the_first_of_several_messages_wakes(self, world: World) -> None:
        run = world.idle()
        assert [world.signal(run, key).wake for key in "abc"] == [True, False, False]

    def test_a_duplicate_does_not_wake(self, world: World) -> None:
        run = world.idle()
        world.signal(run, "k")
        run = world.commit(run, (SignalReceived("a"), "k"), consumed=[1])
        assert world.signal(run, "k").wake is False
        assert world.turn(run).state is TaskState.IDLE

    def test_a_message_for_a_turn_that_is_queued_leaves_it_alone(self, world: World) -> None:
        run = world.start()
        row = world.turn(run)
        assert world.signal(run).wake is False
        assert world.turn(run) == row

    def test_a_message_for_a_turn_that_is_running_leaves_it_alone(self, world: World) -> None:
        run = world.start()
        world.begin(run)
        row = world.turn(run)
        assert world.signal(run).wake is False
        assert world.turn(run) == row

    def test_a_message_for_a_blocked_run_has_it_tried_again_at_once(self, world: World) -> None:
        run = world.blocked(delay=5 * MINUTE)
        world.store.postpone(world.turn(run), delay=5 * MINUTE, published=3)
        with world.span() as span:
            assert world.signal(run) == Delivery(DeliveryOutcome.DELIVERED, _ref(run), wake=True)
        assert (world.turn(run).state, world.turn(run).published) == (TaskState.QUEUED, 1)
        assert span.covers(world.turn(run).due_at, plus=world.redeliver_after)
        assert world.read(run).status is WorkflowStatus.BLOCKED

    # -- paused runs ---------------------------------------------------------------------------------------

    def test_a_paused_run_takes_messages_but_is_not_woken(self, world: World) -> None:
        run = world.paused()
        assert world.signal(run) == Delivery(DeliveryOutcome.DELIVERED, _ref(run), wake=False)
        assert world.inbox(run) == [(1, "key")]
        assert (world.turn(run).state, world.turn(run).due_at) == (TaskState.QUEUED, None)

    def test_pausing_answers_with_the_run_as_it_is_then(self, world: World) -> None:
        run = world.idle()
        paused = world.store.set_status(run.run_id, WorkflowStatus.PAUSED)
        assert paused == Delivery(DeliveryOutcome.DELIVERED, _ref(run, WorkflowStatus.PAUSED), wake=False)
        assert world.read(run).status is WorkflowStatus.PAUSED
        assert world.turn(run).state is TaskState.IDLE

    def test_a_run_taken_up_again_has_its_turn_due(self, world: World) -> None:
        run = world.paused()
        with world.span() as span:
            resumed = world.store.set_status(run.run_id, WorkflowStatus.RUNNING)
        assert resumed == Delivery(DeliveryOutcome.DELIVERED, _ref(run, WorkflowStatus.RUNNING), wake=True)
        assert world.turn(run).state is TaskState.QUEUED
        assert span.covers(world.turn(run).due_at, plus=world.redeliver_after)

    def test_what_came_while_it_was_paused_is_there_when_it_is_taken_up_again(self, world: World) -> None:
        run = world.paused()
        world.signal(run)
        assert world.store.set_status(run.run_id, WorkflowStatus.RUNNING).wake is True
        view = world.begin(run)
        assert [item.message.key for item in view.inbox] == ["key"]

    def test_a_run_paused_while_its_turn_ran_is_due_when_it_is_taken_up_again(self, world: World) -> None:
        run = world.start()
        world.begin(run)
        world.store.set_status(run.run_id, WorkflowStatus.PAUSED)
        assert world.store.set_status(run.run_id, WorkflowStatus.RUNNING).wake is True
        assert world.begin(run, "another").run.status is WorkflowStatus.RUNNING

    def test_a_blocked_run_can_be_taken_up_again(self, world: World) -> None:
        run = world.blocked(delay=5 * MINUTE)
        with world.span() as span:
            assert world.store.set_status(run.run_id, WorkflowStatus.RUNNING).wake is True
        assert (world.read(run).status, world.read(run).blocked) == (WorkflowStatus.RUNNING, None)
        assert span.covers(world.turn(run).due_at, plus=world.redeliver_after)

    def test_taking_up_a_run_that_runs_changes_nothing_about_its_turn(self, world: World) -> None:
        run = world.start()
        world.begin(run)
        row = world.turn(run)
        assert world.store.set_status(run.run_id, WorkflowStatus.RUNNING).wake is False
        assert world.turn(run) == row

    @pytest.mark.parametrize("status", sorted(CLOSED))
    def test_a_closed_run_can_be_neither_paused_nor_taken_up(self, world: World, status: WorkflowStatus) -> None:
        run = world.closed(status=status)
        closed = Delivery(DeliveryOutcome.CLOSED, _ref(run))
        for wanted in (WorkflowStatus.PAUSED, WorkflowStatus.RUNNING):
            assert world.store.set_status(run.run_id, wanted) == closed
        assert world.read(run) == run

    def test_a_run_that_is_not_there_can_not_be_paused(self, world: World) -> None:
        assert world.store.set_status("0" * 32, WorkflowStatus.PAUSED) == Delivery(DeliveryOutcome.NOT_FOUND)

    @pytest.mark.parametrize("status", sorted(set(WorkflowStatus) - {WorkflowStatus.PAUSED, WorkflowStatus.RUNNING}))
    def test_set_status_only_pauses_and_takes_up(self, world: World, status: WorkflowStatus) -> None:
        run = world.idle()
        with pytest.raises(ValueError, match=status):
            world.store.set_status(run.run_id, status)
        assert world.read(run) == run
