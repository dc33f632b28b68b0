"""The contract of ``commit``: what it writes, and the gates it stands behind."""
# ruff: noqa: D102, S101, S106, PLR2004 - these are tests: their names say what they show

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from celeriac.orchestrator.events import HistoryEvent, SignalReceived, TimerStarted
from celeriac.orchestrator.model import CommitOutcome, DeliveryOutcome, Fence
from celeriac.orchestrator.status import CLOSED, OPEN, TRANSITIONS, TaskKind, TaskState, WorkflowStatus
from celeriac.testing.contract.base import ContractBase
from celeriac.testing.contract.world import MINUTE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.orchestrator.model import Commit, Run
    from celeriac.testing.contract.world import World

CLOSING = [
    (before, after) for before in sorted(OPEN) for after in sorted(CLOSED) if before is not WorkflowStatus.PAUSED
]


def _refused(world: World, run: Run, commit: Commit, outcome: CommitOutcome) -> None:
    """Commit, and see that it is refused and nothing written."""
    before = world.everything(run)
    assert world.store.commit(commit) is outcome
    assert world.everything(run) == before


class Committing(ContractBase):
    """A turn's decisions are written together, on top of what the turn has seen, or not at all."""

    # -- what is written ---------------------------------------------------------------------------

    def test_events_are_added_and_the_version_is_the_last_one_s_number(self, world: World) -> None:
        run = world.start()
        commit = world.a_commit(run, SignalReceived("a", payload=[1]), TimerStarted(1, fire_at=7))
        assert world.store.commit(commit) is CommitOutcome.COMMITTED
        assert world.read(run).version == 3
        assert list(world.store.history(run.run_id))[1:] == list(commit.events)

    def test_a_commit_writes_what_the_turn_left_of_the_run(self, world: World) -> None:
        run = world.start(origin={"task_id": "old"})
        world.wait(1000)
        with world.span() as span:
            after = world.commit(run, waits=["signal 'a'", "timer 2"], origin={"task_id": "new"})
        assert span.covers(after.updated_at)
        assert after == replace(
            run,
            turns=1,
            waits=after.waits,
            origin={"task_id": "new"},
            updated_at=after.updated_at,
        )
        assert list(after.waits) == ["signal 'a'", "timer 2"]

    def test_a_commit_without_an_origin_leaves_the_one_there_is(self, world: World) -> None:
        run = world.commit(world.start(origin={"task_id": "t"}))
        assert run.origin == {"task_id": "t"}

    def test_what_is_waited_for_is_what_the_last_commit_says(self, world: World) -> None:
        run = world.commit(world.start(), waits=["a", "b"])
        assert list(world.commit(run).waits) == []

    def test_turns_are_counted_by_commit(self, world: World) -> None:
        run = world.start()
        assert [world.commit(run).turns for _ in range(3)] == [1, 2, 3]

    def test_a_commit_without_events_leaves_the_version(self, world: World) -> None:
        run = world.start()
        assert world.commit(run).version == 1
        assert len(world.store.history(run.run_id)) == 1

    def test_exactly_the_consumed_messages_go(self, world: World) -> None:
        run = world.start()
        for key in "abcd":
            world.signal(run, key)
        run = world.commit(run, consumed=[1, 3], leave_due=True)
        assert world.inbox(run) == [(2, "b"), (4, "d")]
        assert run.inbox_seq == 4

    def test_new_rows_are_written_as_they_are(self, world: World) -> None:
        run = world.start()
        row = world.activity(
            run,
            7,
            queue="mail",
            data={"name": "mail.send", "args": [1]},
            schedule_to_start_by=world.store.now() + MINUTE,
            schedule_to_close_by=world.store.now() + 2 * MINUTE,
            start_to_close=MINUTE,
            heartbeat=MINUTE // 2,
        )
        timer = world.timer(run, 8)
        world.commit(run, tasks=[row, timer])
        assert world.row(run, seq=7) == row
        assert world.row(run, TaskKind.TIMER, 8) == timer

    def test_a_row_without_a_namespace_is_of_its_run_s(self, world: World) -> None:
        run = world.start()
        world.commit(run, tasks=[replace(world.activity(run, due_at=world.store.now()), namespace="")])
        assert world.row(run).namespace == world.namespace
        assert world.due() == [(run.run_id, TaskKind.ACTIVITY, 1)]

    def test_dropped_rows_go_whoever_has_claimed_them(self, world: World) -> None:
        run = world.start()
        run = world.commit(run, tasks=[world.activity(run, 1), world.activity(run, 2), world.timer(run, 2)])
        world.claim(run)
        world.commit(run, dropped=[(TaskKind.ACTIVITY, 1), (TaskKind.TIMER, 2), (TaskKind.TIMER, 99)])
        assert world.keys(run) == [(TaskKind.ACTIVITY, 2)]

    def test_a_number_may_be_dropped_and_taken_again_in_one_commit(self, world: World) -> None:
        run = world.scheduled()
        world.commit(run, dropped=[(TaskKind.ACTIVITY, 1)], tasks=[world.activity(run, 1, attempt=2)])
        assert world.row(run).attempt == 2

    def test_an_activity_that_is_asked_to_stop_knows_and_is_due_unless_it_runs(self, world: World) -> None:
        run = world.start()
        run = world.commit(run, tasks=[world.activity(run, number) for number in (1, 2, 3)])
        claimed = world.claim(run, 2).task
        with world.span() as span:
            world.commit(run, canceling=[1, 2, 99])
        queued = world.row(run, seq=1)
        assert (queued.state, queued.cancel_requested) == (TaskState.QUEUED, True)
        assert span.covers(queued.due_at)
        assert world.row(run, seq=2) == replace(claimed, cancel_requested=True)
        assert world.row(run, seq=3).cancel_requested is False

    # -- gates ---------------------------------------------------------------------------------------

    def test_a_commit_on_another_version_is_a_conflict(self, world: World) -> None:
        run = world.start()
        late = world.a_commit(run, SignalReceived("late"), tasks=[world.timer(run)])
        world.commit(run, SignalReceived("first"))
        _refused(world, run, late, CommitOutcome.CONFLICT)

    def test_a_commit_ahead_of_the_history_is_a_conflict(self, world: World) -> None:
        run = world.start()
        ahead = world.a_commit(replace(run, version=5), SignalReceived("a"))
        _refused(world, run, ahead, CommitOutcome.CONFLICT)

    def test_a_commit_made_again_after_a_lost_answer_is_a_conflict_and_written_once(self, world: World) -> None:
        run = world.start()
        commit = world.a_commit(run, SignalReceived("a"), tasks=[world.timer(run)])
        world.store.commit(commit)
        _refused(world, run, commit, CommitOutcome.CONFLICT)

    def test_a_commit_on_another_epoch_is_a_conflict(self, world: World) -> None:
        run = world.start()
        other = world.a_commit(replace(run, epoch="another"), SignalReceived("a"))
        _refused(world, run, other, CommitOutcome.CONFLICT)

    def test_a_commit_for_a_run_that_is_not_there_is_a_conflict(self, world: World) -> None:
        run = world.start()
        commit = replace(world.a_commit(run), run_id="0" * 32)
        assert world.store.commit(commit) is CommitOutcome.CONFLICT

    def test_a_message_the_turn_has_not_seen_stops_the_commit(self, world: World) -> None:
        run = world.start()
        commit = world.a_commit(run, SignalReceived("a"), tasks=[world.timer(run)])
        world.signal(run)
        _refused(world, run, commit, CommitOutcome.INBOX_MOVED)

    def test_a_turn_that_reads_on_commits_what_has_arrived(self, world: World) -> None:
        run = world.start()
        world.begin(run)
        world.signal(run, "k")
        refused = world.a_commit(run, turn_token="turn")
        assert world.store.commit(refused) is CommitOutcome.INBOX_MOVED
        view = world.store.read_turn(run.run_id, known=(run.epoch, run.version))
        assert view is not None
        event = (SignalReceived("approved"), "k")
        commit = world.a_commit(view.run, event, consumed=[1], turn_token="turn")
        assert world.store.commit(commit) is CommitOutcome.COMMITTED
        assert world.turn(run).state is TaskState.IDLE

    def test_a_message_that_is_not_in_the_inbox_can_not_be_consumed(self, world: World) -> None:
        run = world.start()
        world.signal(run, "a")
        commit = world.a_commit(world.read(run), SignalReceived("a"), consumed=[1, 2], tasks=[world.timer(run)])
        _refused(world, run, commit, CommitOutcome.CONFLICT)

    def test_a_message_can_not_be_consumed_twice(self, world: World) -> None:
        run = world.start()
        world.signal(run, "a")
        run = world.commit(run, consumed=[1])
        _refused(world, run, world.a_commit(run, consumed=[1]), CommitOutcome.CONFLICT)

    @pytest.mark.parametrize("numbers", [(1,), (3,), (2, 2), (2, 4), (3, 2)])
    def test_events_must_go_on_from_the_version(self, world: World, numbers: Sequence[int]) -> None:
        run = world.start()
        before = world.everything(run)
        events = [HistoryEvent(number, "signal_received", 1, {"name": "a"}) for number in numbers]
        with pytest.raises(ValueError, match="number"):
            world.store.commit(replace(world.a_commit(run), events=events))
        assert world.everything(run) == before

    def test_a_result_json_can_not_hold_writes_nothing(self, world: World) -> None:
        run = world.start()
        world.signal(run)
        before = world.everything(run)
        commit = world.a_commit(world.read(run), SignalReceived("a"), consumed=[1], tasks=[world.timer(run)])
        with pytest.raises(TypeError):
            world.store.commit(replace(commit, result=object()))
        assert world.everything(run) == before

    # -- the outcome that an inline turn takes along -------------------------------------------------

    def test_a_commit_settles_the_row_whose_outcome_it_records(self, world: World) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        world.commit(run, settles=fence)
        assert world.keys(run) == []

    def test_one_that_settles_may_leave_the_turn_due(self, world: World) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        world.commit(run, settles=fence, leave_due=True)
        assert world.due() == [(run.run_id, TaskKind.TURN, 0)]
        world.begin(run)

    def test_a_commit_is_fenced_when_the_claim_it_settles_is_gone(self, world: World) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        world.store.requeue(fence, delay=0, grace=0, next_attempt=True)
        commit = world.a_commit(run, SignalReceived("a"), settles=fence)
        _refused(world, run, commit, CommitOutcome.FENCED)
        world.claim(run, attempt=2, token="attempt-2")
        _refused(world, run, commit, CommitOutcome.FENCED)
        _refused(world, run, replace(commit, leave_due=True), CommitOutcome.FENCED)

    def test_a_commit_is_fenced_when_the_row_it_settles_is_gone(self, world: World) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        world.store.remove_task(run.run_id, TaskKind.ACTIVITY, 1)
        _refused(world, run, world.a_commit(run, settles=fence), CommitOutcome.FENCED)

    def test_the_version_is_looked_at_before_the_fence_and_the_fence_before_the_inbox(self, world: World) -> None:
        run = world.scheduled()
        gone = Fence(run.run_id, TaskKind.ACTIVITY, 1, "gone")
        commit = world.a_commit(run, settles=gone)
        world.signal(run)
        _refused(world, run, commit, CommitOutcome.FENCED)
        _refused(world, run, replace(commit, version=9), CommitOutcome.CONFLICT)

    # -- the turn row ----------------------------------------------------------------------------------

    def test_a_committed_turn_is_idle(self, world: World) -> None:
        run = world.start()
        world.begin(run)
        world.commit(run, turn_token="turn")
        row = world.turn(run)
        assert (row.state, row.due_at, row.token, row.attempt) == (TaskState.IDLE, None, None, 0)

    def test_a_turn_taken_without_a_claim_leaves_a_queued_row_idle(self, world: World) -> None:
        run = world.start()
        world.commit(run)
        row = world.turn(run)
        assert (row.state, row.due_at, row.token, row.attempt) == (TaskState.IDLE, None, None, 0)

    def test_a_turn_taken_without_a_claim_leaves_an_idle_row_idle(self, world: World) -> None:
        run = world.commit(world.idle())
        assert (world.turn(run).state, world.turn(run).due_at) == (TaskState.IDLE, None)

    @pytest.mark.parametrize("leave_due", [False, True])
    def test_a_commit_leaves_another_one_s_claim_alone(self, world: World, *, leave_due: bool) -> None:
        run = world.start()
        world.begin(run, "another")
        row = world.turn(run)
        world.commit(run, turn_token="mine", leave_due=leave_due)
        assert world.turn(run) == row
        world.commit(run, leave_due=leave_due)
        assert world.turn(run) == row

    def test_the_one_who_had_the_turn_finds_that_the_run_has_moved_on(self, world: World) -> None:
        run = world.start()
        world.begin(run)
        late = world.a_commit(run, SignalReceived("late"), turn_token="turn")
        world.commit(run, SignalReceived("inline"))
        _refused(world, run, late, CommitOutcome.CONFLICT)

    @pytest.mark.parametrize("token", [None, "turn"])
    def test_a_turn_left_due_is_queued_and_due_now(self, world: World, token: str | None) -> None:
        run = world.start()
        if token:
            world.begin(run, token)
        commit = world.a_commit(run, SignalReceived("a"), leave_due=True, turn_token=token)
        world.signal(run)
        with world.span() as span:
            assert world.store.commit(commit) is CommitOutcome.COMMITTED
        row = world.turn(run)
        assert (row.state, row.token, row.attempt) == (TaskState.QUEUED, None, 0)
        assert span.covers(row.due_at)
        assert world.inbox(run) == [(1, "key")]
        world.begin(run, "next")

    def test_a_turn_is_left_due_whether_or_not_more_has_come(self, world: World) -> None:
        run = world.commit(world.start(), leave_due=True)
        assert world.turn(run).state is TaskState.QUEUED
        assert world.due() == [(run.run_id, TaskKind.TURN, 0)]

    def test_a_commit_of_a_turn_whose_lease_ran_out_stands(self, world: World) -> None:
        run = world.start()
        world.begin(run, lease=0)
        world.commit(run, SignalReceived("a"), turn_token="turn")
        assert world.turn(run).state is TaskState.IDLE

    # -- closing ---------------------------------------------------------------------------------------

    @pytest.mark.parametrize(("before", "after"), CLOSING)
    def test_an_open_run_may_close_in_any_way(
        self, world: World, before: WorkflowStatus, after: WorkflowStatus
    ) -> None:
        run = world.in_status(before)
        with world.span() as span:
            closed = world.commit(run, status=after, result={"r": 1}, failure={"type": "X"})
        assert (closed.status, closed.result, closed.failure) == (after, {"r": 1}, {"type": "X"})
        assert span.covers(closed.closed_at)
        assert closed.blocked is None

    @pytest.mark.parametrize("status", sorted(CLOSED | {WorkflowStatus.RUNNING}))
    def test_a_paused_run_only_ends_from_outside(self, world: World, status: WorkflowStatus) -> None:
        run = world.paused()
        commit = world.a_commit(run, SignalReceived("a"), status=status)
        if status is not WorkflowStatus.RUNNING and status in TRANSITIONS[WorkflowStatus.PAUSED]:
            assert world.store.commit(commit) is CommitOutcome.COMMITTED
            assert world.read(run).status is status
        else:
            _refused(world, run, commit, CommitOutcome.CONFLICT)

    @pytest.mark.parametrize("status", sorted(CLOSED))
    def test_nothing_is_committed_to_a_closed_run(self, world: World, status: WorkflowStatus) -> None:
        run = world.closed(status=status)
        for wanted in (WorkflowStatus.RUNNING, WorkflowStatus.COMPLETED):
            commit = world.a_commit(run, SignalReceived("a"), status=wanted, tasks=[world.timer(run)])
            _refused(world, run, commit, CommitOutcome.CONFLICT)

    def test_an_open_run_has_no_closing_time(self, world: World) -> None:
        assert world.idle().closed_at is None

    def test_a_run_that_closes_keeps_its_history_and_loses_inbox_and_rows(self, world: World) -> None:
        run = world.start(timeout=MINUTE)
        run = world.commit(run, tasks=[world.activity(run, 1), world.activity(run, 2), world.timer(run, 3)])
        world.claim(run)
        for key in "ab":
            world.signal(run, key)
        run = world.commit(run, (SignalReceived("a"), "a"), consumed=[1], status=WorkflowStatus.FAILED)
        assert list(world.store.tasks(run.run_id)) == []
        assert world.inbox(run) == []
        assert [event.number for event in world.store.history(run.run_id)] == [1, 2]

    def test_a_run_that_closes_keeps_the_rows_of_the_closing_commit(self, world: World) -> None:
        run = world.scheduled()
        row = world.finish(run)
        world.commit(run, status=WorkflowStatus.COMPLETED, tasks=[row])
        assert list(world.store.tasks(run.run_id)) == [row]

    def test_a_run_can_not_close_over_a_message_it_has_not_seen(self, world: World) -> None:
        run = world.start()
        commit = world.a_commit(run, status=WorkflowStatus.COMPLETED)
        world.signal(run)
        _refused(world, run, commit, CommitOutcome.INBOX_MOVED)

    def test_a_run_that_closes_can_not_leave_its_turn_due(self, world: World) -> None:
        run = world.start()
        before = world.everything(run)
        with pytest.raises(ValueError, match="due"):
            world.store.commit(world.a_commit(run, status=WorkflowStatus.FAILED, leave_due=True))
        assert world.everything(run) == before

    def test_a_closing_commit_can_be_fenced(self, world: World) -> None:
        run = world.scheduled()
        gone = Fence(run.run_id, TaskKind.ACTIVITY, 1, "gone")
        commit = world.a_commit(run, status=WorkflowStatus.COMPLETED, settles=gone)
        _refused(world, run, commit, CommitOutcome.FENCED)

    def test_a_closing_commit_settles_the_claim_it_names(self, world: World) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        run = world.commit(run, status=WorkflowStatus.COMPLETED, settles=fence)
        assert run.status is WorkflowStatus.COMPLETED

    def test_after_closing_no_message_is_taken(self, world: World) -> None:
        run = world.start()
        world.commit(run, status=WorkflowStatus.COMPLETED)
        assert world.signal(run).outcome is DeliveryOutcome.CLOSED
