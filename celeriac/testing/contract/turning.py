"""The contract of ``begin_turn``, ``read_turn`` and ``release_turn``."""
# ruff: noqa: D102, S101, S105, S106, S107, PLR2004 - these are tests: their names say what they show

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from celeriac.orchestrator.events import SignalReceived
from celeriac.orchestrator.model import Fence
from celeriac.orchestrator.status import CLOSED, TaskKind, TaskState, WorkflowStatus
from celeriac.testing.contract.base import ContractBase
from celeriac.testing.contract.world import MINUTE, MOMENT

if TYPE_CHECKING:
    from celeriac.orchestrator.model import Run, TurnView
    from celeriac.testing.contract.world import World


def _begin(world: World, run: Run, token: str = "turn", *, lease: int = MINUTE) -> TurnView | None:
    return world.second.begin_turn(run.run_id, token=token, lease=lease, known=None)


class Turning(ContractBase):
    """One process at a time has a run's turn, and reads what it needs from one snapshot."""

    # -- claiming ----------------------------------------------------------------------------------

    def test_the_first_turn_can_be_begun_at_once(self, world: World) -> None:
        run = world.start(turn_due=MINUTE)
        with world.span() as span:
            view = world.begin(run)
        assert view.run == run
        assert list(view.events) == list(world.store.history(run.run_id))
        assert (list(view.inbox), view.complete, view.claims) == ([], True, 1)
        assert span.covers(view.now)

    def test_a_claimed_turn_is_running_until_the_lease_ends(self, world: World) -> None:
        run = world.start()
        with world.span() as span:
            world.begin(run, "token-1", lease=MINUTE)
        row = world.turn(run)
        assert (row.state, row.token, row.attempt, row.published) == (TaskState.RUNNING, "token-1", 1, 0)
        assert row.due_at == row.lease_until
        assert span.covers(row.due_at, plus=MINUTE)

    def test_a_turn_that_somebody_has_can_not_be_begun(self, world: World) -> None:
        run = world.start()
        world.begin(run)
        row = world.turn(run)
        assert _begin(world, run, "another") is None
        assert _begin(world, run, "turn") is None
        assert world.turn(run) == row

    def test_an_idle_turn_can_not_be_begun(self, world: World) -> None:
        run = world.idle()
        row = world.turn(run)
        assert _begin(world, run) is None
        assert world.turn(run) == row

    def test_a_turn_that_was_woken_can_be_begun(self, world: World) -> None:
        run = world.idle()
        world.signal(run, "a")
        view = world.begin(run)
        assert [item.message.key for item in view.inbox] == ["a"]

    def test_a_turn_whose_lease_ran_out_can_be_begun_by_another(self, world: World) -> None:
        run = world.start()
        world.begin(run, "dead", lease=MOMENT)
        world.wait(MOMENT)
        world.begin(run, "another")
        assert world.turn(run).token == "another"

    def test_a_turn_whose_lease_ran_out_can_be_begun_after_the_relay_has_taken_it(self, world: World) -> None:
        run = world.start()
        world.begin(run, "dead", lease=MOMENT)
        world.wait(MOMENT)
        assert world.due(hold=MINUTE) == [(run.run_id, TaskKind.TURN, 0)]
        world.begin(run, "another")

    def test_a_queued_turn_can_be_begun_after_the_relay_has_taken_it(self, world: World) -> None:
        run = world.start(turn_due=0)
        assert world.due(hold=MINUTE) == [(run.run_id, TaskKind.TURN, 0)]
        world.begin(run)

    def test_a_renewed_turn_is_still_somebody_s(self, world: World) -> None:
        run = world.start()
        world.begin(run, lease=MOMENT)
        world.store.renew([Fence(run.run_id, TaskKind.TURN, 0, "turn")], lease=MINUTE)
        world.wait(MOMENT)
        assert _begin(world, run, "another") is None

    def test_claims_are_counted_until_a_commit(self, world: World) -> None:
        run = world.start()
        for claims in (1, 2, 3):
            assert world.begin(run, lease=0).claims == claims
        world.commit(run, turn_token="turn")
        world.signal(run)
        assert world.begin(run).claims == 1

    def test_a_claim_forgets_how_often_the_turn_was_published(self, world: World) -> None:
        run = world.start(turn_due=0)
        world.store.postpone(world.turn(run), delay=0, published=4)
        assert world.turn(run).published == 4
        world.begin(run)
        assert world.turn(run).published == 0

    def test_a_blocked_run_s_turn_can_be_begun(self, world: World) -> None:
        run = world.blocked()
        view = world.begin(run)
        assert (view.run.status, view.run.blocked) == (WorkflowStatus.BLOCKED, {"reason": "no code"})
        assert view.claims == 1

    def test_a_paused_run_has_no_turns(self, world: World) -> None:
        run = world.paused()
        world.signal(run)
        row = world.turn(run)
        assert _begin(world, run) is None
        assert world.turn(run) == row

    @pytest.mark.parametrize("status", sorted(CLOSED))
    def test_a_closed_run_has_no_turns(self, world: World, status: WorkflowStatus) -> None:
        assert _begin(world, world.closed(status=status)) is None

    def test_a_run_that_is_not_there_has_no_turns(self, world: World) -> None:
        assert world.store.begin_turn("0" * 32, token="turn", lease=MINUTE, known=None) is None

    # -- reading -----------------------------------------------------------------------------------

    def test_a_turn_reads_the_events_after_the_version_it_knows(self, world: World) -> None:
        run = world.commit(world.start(), SignalReceived("a"), SignalReceived("b"), SignalReceived("c"))
        world.signal(run)
        view = world.store.begin_turn(run.run_id, token="turn", lease=MINUTE, known=(run.epoch, 2))
        assert view is not None
        assert [event.number for event in view.events] == [3, 4]
        assert view.complete is False

    @pytest.mark.parametrize(
        ("version", "numbers", "complete"),
        [(0, [1, 2], True), (1, [2], False), (2, [], False), (3, [1, 2], True)],
    )
    def test_what_a_reader_gets_depends_on_what_it_knows(
        self, world: World, version: int, numbers: list[int], *, complete: bool
    ) -> None:
        run = world.commit(world.start(), SignalReceived("a"))
        view = world.store.read_turn(run.run_id, known=(run.epoch, version))
        assert view is not None
        assert ([event.number for event in view.events], view.complete) == (numbers, complete)

    def test_a_reader_of_another_epoch_gets_all_events(self, world: World) -> None:
        run = world.commit(world.start(), SignalReceived("a"))
        view = world.store.read_turn(run.run_id, known=("another epoch", 2))
        assert view is not None
        assert ([event.number for event in view.events], view.complete) == ([1, 2], True)

    def test_reading_does_not_claim(self, world: World) -> None:
        run = world.start()
        world.signal(run)
        before = world.everything(run)
        with world.span() as span:
            view = world.store.read_turn(run.run_id, known=None)
        assert view is not None
        assert span.covers(view.now)
        assert (view.run, view.claims) == (world.read(run), 0)
        assert world.everything(run) == before
        world.begin(run)

    def test_a_closed_run_can_be_read(self, world: World) -> None:
        run = world.closed()
        view = world.store.read_turn(run.run_id, known=None)
        assert view is not None
        assert (view.run, list(view.events)) == (run, list(world.store.history(run.run_id)))

    def test_a_run_that_is_not_there_reads_as_none(self, world: World) -> None:
        assert world.store.read_turn("0" * 32, known=None) is None

    # -- giving back -------------------------------------------------------------------------------

    def test_a_turn_given_back_is_due_after_the_delay(self, world: World) -> None:
        run = world.start()
        world.begin(run)
        with world.span() as span:
            assert world.store.release_turn(run.run_id, token="turn", delay=2 * MINUTE) is True
        row = world.turn(run)
        assert (row.state, row.token, row.attempt) == (TaskState.QUEUED, None, 1)
        assert span.covers(row.due_at, plus=2 * MINUTE)
        assert world.read(run) == run

    def test_a_turn_given_back_counts_as_a_claim(self, world: World) -> None:
        run = world.start()
        world.begin(run)
        world.store.release_turn(run.run_id, token="turn", delay=0)
        assert world.begin(run).claims == 2

    def test_a_declined_turn_does_not_count_as_a_claim(self, world: World) -> None:
        run = world.start()
        world.begin(run)
        assert world.store.release_turn(run.run_id, token="turn", delay=0, declined=True) is True
        assert world.turn(run).attempt == 0
        assert world.begin(run).claims == 1

    def test_a_declined_turn_leaves_the_status_as_it_is(self, world: World) -> None:
        run = world.blocked()
        world.begin(run)
        world.store.release_turn(run.run_id, token="turn", delay=0, declined=True)
        assert world.read(run) == run

    def test_why_a_turn_was_declined_is_noted_and_the_run_goes_on_running(self, world: World) -> None:
        run = world.start()
        world.begin(run)
        world.wait(1000)
        reason = {"reason": "no code here"}
        world.store.release_turn(run.run_id, token="turn", delay=0, blocked=reason, declined=True)
        assert world.read(run) == replace(run, blocked=reason)
        assert world.turn(run).attempt == 0

    def test_a_blocked_run_s_claims_are_counted_anew(self, world: World) -> None:
        run = world.start()
        for _ in range(3):
            world.begin(run, lease=0)
        world.store.release_turn(run.run_id, token="turn", delay=0, blocked={"reason": "x"})
        assert world.turn(run).attempt == 0
        assert world.begin(run).claims == 1

    def test_a_run_that_could_not_be_carried_on_says_why(self, world: World) -> None:
        run = world.start()
        world.begin(run)
        world.store.release_turn(run.run_id, token="turn", delay=MINUTE, blocked={"reason": "x", "event": 3})
        blocked = world.read(run)
        assert (blocked.status, blocked.blocked) == (WorkflowStatus.BLOCKED, {"reason": "x", "event": 3})
        assert (blocked.version, blocked.epoch, blocked.turns) == (run.version, run.epoch, run.turns)
        assert world.turn(run).state is TaskState.QUEUED

    def test_the_next_commit_takes_the_block_away(self, world: World) -> None:
        run = world.blocked()
        world.begin(run)
        run = world.commit(run, turn_token="turn")
        assert (run.status, run.blocked) == (WorkflowStatus.RUNNING, None)

    def test_a_run_that_was_paused_meanwhile_stays_paused(self, world: World) -> None:
        run = world.start()
        world.begin(run)
        world.store.set_status(run.run_id, WorkflowStatus.PAUSED)
        assert world.store.release_turn(run.run_id, token="turn", delay=0, blocked={"reason": "x"}) is True
        assert world.read(run).status is WorkflowStatus.PAUSED
        assert _begin(world, run) is None

    def test_blocked_runs_are_woken_together(self, world: World) -> None:
        runs = [world.blocked(), world.blocked()]
        others = [world.in_status(status) for status in WorkflowStatus if status is not WorkflowStatus.BLOCKED]
        others.append(world.start(turn_due=MINUTE))
        before = [world.everything(run) for run in others]
        assert world.due() == []
        with world.span() as span:
            assert world.store.wake_blocked(world.namespace) == 2
        for run in runs:
            assert world.read(run) == run
            assert world.turn(run).state is TaskState.QUEUED
            assert span.covers(world.turn(run).due_at)
        assert {run_id for run_id, _, _ in world.due()} == {run.run_id for run in runs}
        assert [world.everything(run) for run in others] == before

    def test_a_run_that_kills_its_workers_is_not_woken_with_the_others(self, world: World) -> None:
        run = world.start()
        world.begin(run)
        reason = {"reason": "Held", "message": "kills", "killed": 5}
        assert world.store.release_turn(run.run_id, token="turn", delay=MINUTE, blocked=reason) is True
        row = world.turn(run)
        assert world.read(run).status is WorkflowStatus.BLOCKED
        assert world.store.wake_blocked(world.namespace) == 0
        assert world.turn(run) == row

    def test_a_blocked_run_s_turn_that_somebody_has_is_not_woken(self, world: World) -> None:
        run = world.blocked()
        world.begin(run)
        row = world.turn(run)
        assert world.store.wake_blocked(world.namespace) == 0
        assert world.turn(run) == row

    def test_blocked_runs_of_another_namespace_are_not_woken(self, world: World) -> None:
        run = world.blocked()
        row = world.turn(run)
        assert world.store.wake_blocked(f"{world.namespace}-other") == 0
        assert world.turn(run) == row

    def test_only_the_one_who_has_the_turn_gives_it_back(self, world: World) -> None:
        run = world.start()
        world.begin(run)
        before = world.everything(run)
        blocked = {"reason": "x"}
        assert world.store.release_turn(run.run_id, token="other", delay=0, blocked=blocked) is False
        assert world.everything(run) == before

    def test_a_turn_that_another_has_taken_over_can_not_be_given_back(self, world: World) -> None:
        run = world.start()
        world.begin(run, "dead", lease=0)
        world.begin(run, "another")
        assert world.store.release_turn(run.run_id, token="dead", delay=0) is False
        assert world.turn(run).token == "another"

    def test_a_turn_that_has_committed_can_not_be_given_back(self, world: World) -> None:
        run = world.start()
        world.begin(run)
        world.commit(run, turn_token="turn")
        before = world.everything(run)
        assert world.store.release_turn(run.run_id, token="turn", delay=0) is False
        assert world.everything(run) == before

    @pytest.mark.parametrize("status", sorted(CLOSED))
    def test_the_turn_of_a_closed_run_can_not_be_given_back(self, world: World, status: WorkflowStatus) -> None:
        run = world.start()
        world.begin(run)
        run = world.commit(run, turn_token="turn", status=status)
        assert world.store.release_turn(run.run_id, token="turn", delay=0, blocked={"reason": "x"}) is False
        assert world.read(run) == run

    def test_the_turn_of_a_run_that_is_not_there_can_not_be_given_back(self, world: World) -> None:
        assert world.store.release_turn("0" * 32, token="turn", delay=0) is False
