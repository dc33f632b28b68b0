"""The contract of activities' attempts: ``claim_activity``, ``requeue``, ``renew`` and ``heartbeat``."""
# ruff: noqa: D102, S101, S106, PLR2004 - these are tests: their names say what they show

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.orchestrator.model import SECOND, Fence, Pulse, RunRef, Task
from celeriac.orchestrator.status import TaskKind, TaskState, WorkflowStatus
from celeriac.testing.contract.base import ContractBase
from celeriac.testing.contract.world import MINUTE, MOMENT

if TYPE_CHECKING:
    from celeriac.orchestrator.model import Claim, Run
    from celeriac.testing.contract.world import World


def _claim(world: World, run: Run, **fields: Any) -> Claim | None:
    given = {"attempt": 1, "inner": 0, "token": "another", "lease": MINUTE, "worker": "w2@host"}
    seq = fields.pop("seq", 1)
    return world.second.claim_activity(run.run_id, seq, **{**given, **fields})


class Attempting(ContractBase):
    """An attempt is claimed by one worker at a time, and all that it says is fenced by its token."""

    # -- claiming ----------------------------------------------------------------------------------

    def test_a_claimed_attempt_says_who_has_it_and_since_when(self, world: World) -> None:
        run = world.scheduled(data={"name": "mail.send"}, queue="mail")
        queued = world.row(run)
        with world.span() as span:
            claim = world.claim(run, token="token-1", worker="w1@host", lease=MINUTE)
        row = claim.task
        assert span.covers(claim.now)
        assert span.covers(row.started_at)
        assert span.covers(row.lease_until, plus=MINUTE)
        assert row == replace(
            queued,
            state=TaskState.RUNNING,
            token="token-1",
            worker="w1@host",
            started_at=row.started_at,
            lease_until=row.lease_until,
            due_at=row.lease_until,
        )
        assert world.row(run) == row

    def test_a_claim_names_its_run_and_its_fence(self, world: World) -> None:
        run = world.scheduled()
        claim = world.claim(run, token="token-1")
        assert claim.run == RunRef(
            run.run_id, run.workflow_id, run.namespace, run.name, run.queue, WorkflowStatus.RUNNING
        )
        assert claim.fence == Fence(run.run_id, TaskKind.ACTIVITY, 1, "token-1")

    def test_a_claim_sets_the_deadlines_that_start_with_it(self, world: World) -> None:
        run = world.scheduled(start_to_close=40 * SECOND, heartbeat=20 * SECOND)
        with world.span() as span:
            row = world.claim(run, lease=MINUTE).task
        assert span.covers(row.lease_until, plus=MINUTE)
        assert span.covers(row.start_to_close_by, plus=40 * SECOND)
        assert span.covers(row.heartbeat_by, plus=20 * SECOND)

    @pytest.mark.parametrize("nearest", ["lease", "start_to_close", "heartbeat", "schedule_to_close_by"])
    def test_a_claimed_row_is_due_at_the_nearest_of_its_deadlines(self, world: World, nearest: str) -> None:
        lengths = dict.fromkeys(("lease", "start_to_close", "heartbeat", "schedule_to_close_by"), 2 * MINUTE)
        lengths[nearest] = MINUTE
        lease = lengths.pop("lease")
        lengths["schedule_to_close_by"] += world.store.now()
        row = world.claim(world.scheduled(**lengths), lease=lease).task
        deadlines = {
            "lease": row.lease_until,
            "start_to_close": row.start_to_close_by,
            "heartbeat": row.heartbeat_by,
            "schedule_to_close_by": row.schedule_to_close_by,
        }
        assert row.due_at == deadlines[nearest]

    def test_a_claim_ends_the_wait_for_a_worker(self, world: World) -> None:
        run = world.scheduled(schedule_to_start_by=world.store.now() + SECOND)
        row = world.claim(run).task
        assert row.schedule_to_start_by is None
        assert row.due_at == row.lease_until

    def test_a_claim_forgets_how_often_the_attempt_was_published(self, world: World) -> None:
        run = world.scheduled(published=3)
        assert world.claim(run).task.published == 0

    def test_an_attempt_that_is_not_due_yet_can_be_claimed(self, world: World) -> None:
        run = world.scheduled(due_at=world.store.now() + 60 * MINUTE)
        assert world.claim(run).task.state is TaskState.RUNNING

    def test_an_attempt_that_the_relay_has_taken_can_be_claimed(self, world: World) -> None:
        run = world.scheduled(due_at=world.store.now())
        assert world.due() == [(run.run_id, TaskKind.ACTIVITY, 1)]
        assert world.claim(run).task.state is TaskState.RUNNING

    def test_an_attempt_that_somebody_has_can_not_be_claimed(self, world: World) -> None:
        run = world.scheduled()
        row = world.claim(run).task
        assert _claim(world, run) is None
        assert _claim(world, run, token="attempt") is None
        assert world.row(run) == row

    def test_an_attempt_whose_lease_ran_out_is_the_relay_s_to_give_back(self, world: World) -> None:
        run = world.scheduled()
        row = world.claim(run, lease=MOMENT).task
        world.wait(MOMENT)
        assert _claim(world, run) is None
        assert world.row(run) == row

    @pytest.mark.parametrize("attempt", [1, 3])
    def test_another_attempt_can_not_be_claimed(self, world: World, attempt: int) -> None:
        run = world.scheduled(attempt=2)
        row = world.row(run)
        assert _claim(world, run, attempt=attempt) is None
        assert world.row(run) == row

    def test_an_activity_that_is_asked_to_stop_is_not_begun(self, world: World) -> None:
        run = world.scheduled()
        world.commit(run, canceling=[1])
        assert _claim(world, run) is None

    def test_celery_s_own_retry_may_overtake_the_release(self, world: World) -> None:
        run = world.scheduled()
        world.claim(run)
        claim = _claim(world, run, inner=1)
        assert claim is not None
        assert (claim.task.token, claim.task.inner, claim.task.attempt) == ("another", 1, 1)

    def test_celery_s_own_retry_does_not_overtake_itself(self, world: World) -> None:
        run = world.scheduled()
        world.claim(run, inner=2)
        assert _claim(world, run, inner=2) is None
        assert _claim(world, run, inner=1) is None

    def test_only_activities_that_are_there_can_be_claimed(self, world: World) -> None:
        run = world.start()
        run = world.commit(run, tasks=[world.timer(run, 1)])
        assert _claim(world, run, seq=1) is None
        assert world.store.claim_activity("0" * 32, 1, attempt=1, inner=0, token="t", lease=MINUTE, worker="w") is None

    def test_an_activity_of_a_closed_run_can_not_be_claimed(self, world: World) -> None:
        run = world.scheduled()
        world.commit(run, status=WorkflowStatus.COMPLETED)
        assert _claim(world, run) is None

    @pytest.mark.parametrize("status", [WorkflowStatus.BLOCKED, WorkflowStatus.PAUSED])
    def test_an_activity_of_a_blocked_or_paused_run_can_be_claimed(self, world: World, status: WorkflowStatus) -> None:
        run = world.scheduled()
        if status is WorkflowStatus.PAUSED:
            world.store.set_status(run.run_id, status)
        else:
            world.signal(run)
            world.begin(run)
            world.store.release_turn(run.run_id, token="turn", delay=0, blocked={"reason": "x"})
        assert world.claim(run).run.status is status

    def test_what_is_newer_than_what_is_known_may_come_along(self, world: World) -> None:
        run = world.scheduled()
        begun = list(world.store.history(run.run_id))
        claim = world.claim(run, known=(run.epoch, 0))
        assert list(claim.events) in ([], begun)
        assert claim.head is None or claim.head.version == run.version

    @pytest.mark.parametrize("epoch", ["another", None])
    def test_nothing_comes_along_with_what_is_known_already_or_of_another_branch(
        self, world: World, epoch: str | None
    ) -> None:
        run = world.scheduled()
        known = (run.epoch, run.version) if epoch is None else (epoch, 0)
        assert list(world.claim(run, known=known).events) == []

    # -- giving back -------------------------------------------------------------------------------

    def test_a_given_back_attempt_is_queued_and_due_after_delay_and_grace(self, world: World) -> None:
        run = world.scheduled(start_to_close=MINUTE, heartbeat=MINUTE)
        claim = world.claim(run, inner=2)
        failure = {"type": "OSError", "message": "no route"}
        with world.span() as span:
            done = world.store.requeue(
                claim.fence, delay=7 * SECOND, grace=5 * SECOND, next_attempt=True, failure=failure
            )
        row = world.row(run)
        assert done is True
        assert (row.state, row.token, row.attempt, row.inner) == (TaskState.QUEUED, None, 2, 0)
        assert (row.lease_until, row.heartbeat_by, row.start_to_close_by) == (None, None, None)
        assert (row.failure, row.published, row.schedule_to_start_by) == (failure, 1, None)
        assert (row.worker, row.started_at) == ("", None)
        assert span.covers(row.due_at, plus=12 * SECOND)

    def test_an_attempt_given_back_without_grace_is_the_relay_s_to_publish(self, world: World) -> None:
        run = world.scheduled()
        with world.span() as span:
            world.store.requeue(world.claim(run).fence, delay=7 * SECOND, grace=0, next_attempt=True)
        assert world.row(run).published == 0
        assert span.covers(world.row(run).due_at, plus=7 * SECOND)

    def test_the_next_attempt_is_the_one_to_claim(self, world: World) -> None:
        run = world.scheduled()
        world.store.requeue(world.claim(run, inner=3).fence, delay=MINUTE, grace=0, next_attempt=True)
        assert _claim(world, run, attempt=1) is None
        assert world.claim(run, attempt=2, inner=0).task.attempt == 2

    def test_an_attempt_given_back_within_itself_keeps_its_number(self, world: World) -> None:
        run = world.scheduled(attempt=2)
        fence = world.claim(run, attempt=2).fence
        world.store.requeue(fence, delay=MINUTE, grace=0, next_attempt=False)
        assert (world.row(run).state, world.row(run).attempt) == (TaskState.QUEUED, 2)
        assert world.claim(run, attempt=2, inner=1).task.inner == 1

    def test_what_all_attempts_may_take_together_ends_when_it_ends(self, world: World) -> None:
        by = world.store.now() + 10 * SECOND
        run = world.scheduled(schedule_to_close_by=by)
        world.store.requeue(world.claim(run).fence, delay=MINUTE, grace=MINUTE, next_attempt=True)
        assert (world.row(run).due_at, world.row(run).schedule_to_close_by) == (by, by)

    def test_the_last_heartbeat_s_details_and_failure_stay_for_the_next_attempt(self, world: World) -> None:
        run = world.scheduled(heartbeat=MINUTE)
        fence = world.claim(run).fence
        world.store.heartbeat(fence, {"row": 500})
        world.store.requeue(fence, delay=0, grace=0, next_attempt=True, failure={"type": "A"})
        claim = world.claim(run, attempt=2, token="attempt-2")
        assert (claim.task.details, claim.task.failure) == ({"row": 500}, {"type": "A"})
        world.store.requeue(claim.fence, delay=0, grace=0, next_attempt=True)
        assert (world.row(run).details, world.row(run).failure) == ({"row": 500}, {"type": "A"})

    def test_what_the_row_is_for_stays_the_same(self, world: World) -> None:
        run = world.scheduled(data={"name": "a"}, queue="q", start_to_close=5, heartbeat=7)
        world.store.requeue(world.claim(run).fence, delay=0, grace=0, next_attempt=True)
        row = world.row(run)
        assert (row.data, row.queue, row.start_to_close, row.heartbeat) == ({"name": "a"}, "q", 5, 7)

    def test_only_the_one_who_has_the_attempt_gives_it_back(self, world: World) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        row = world.row(run)
        for other in (replace(fence, token="x"), replace(fence, seq=2), replace(fence, run_id="0" * 32)):
            assert world.store.requeue(other, delay=0, grace=0, next_attempt=True) is False
        assert world.row(run) == row

    def test_an_attempt_is_given_back_once(self, world: World) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        assert world.store.requeue(fence, delay=0, grace=0, next_attempt=True) is True
        assert world.second.requeue(fence, delay=0, grace=0, next_attempt=True) is False
        assert world.row(run).attempt == 2

    # -- renewing ------------------------------------------------------------------------------------

    def test_renewing_moves_the_lease_on_and_nothing_else(self, world: World) -> None:
        run = world.scheduled(start_to_close=5 * MINUTE, heartbeat=5 * MINUTE)
        claim = world.claim(run, lease=MOMENT)
        with world.span() as span:
            assert dict(world.store.renew([claim.fence], lease=MINUTE)) == {claim.fence: Pulse.ALIVE}
        row = world.row(run)
        assert span.covers(row.lease_until, plus=MINUTE)
        assert row == replace(claim.task, lease_until=row.lease_until, due_at=row.lease_until)

    def test_a_renewed_row_is_still_due_at_its_nearest_deadline(self, world: World) -> None:
        run = world.scheduled(heartbeat=10 * SECOND)
        claim = world.claim(run, lease=SECOND)
        world.store.renew([claim.fence], lease=MINUTE)
        assert world.row(run).due_at == claim.task.heartbeat_by

    def test_many_leases_are_renewed_at_once(self, world: World) -> None:
        expected: dict[Fence, Pulse] = {}
        for place in range(4):
            run = world.start()
            run = world.commit(run, tasks=[world.activity(run, number) for number in range(1, 5)])
            fences = [world.claim(run, number, token=f"t-{place}-{number}").fence for number in range(1, 5)]
            world.commit(run, canceling=[2], dropped=[(TaskKind.ACTIVITY, 3)])
            world.store.requeue(fences[3], delay=0, grace=0, next_attempt=True)
            expected |= dict(zip(fences, (Pulse.ALIVE, Pulse.CANCEL, Pulse.GONE, Pulse.GONE), strict=True))
        assert dict(world.store.renew(list(expected), lease=MINUTE)) == expected

    def test_a_hundred_leases_are_renewed_at_once(self, world: World) -> None:
        run = world.start()
        numbers = range(1, 101)
        run = world.commit(run, tasks=[world.activity(run, number) for number in numbers])
        fences = [world.claim(run, number, token=f"t-{number}", lease=MOMENT).fence for number in numbers]
        pulses = world.store.renew(fences, lease=MINUTE)
        assert set(pulses.values()) == {Pulse.ALIVE}
        assert set(pulses) == set(fences)
        world.wait(MOMENT)
        assert world.due() == []

    def test_renewing_nothing_answers_nothing(self, world: World) -> None:
        assert dict(world.store.renew([], lease=MINUTE)) == {}

    def test_a_row_nobody_has_claimed_can_not_be_renewed(self, world: World) -> None:
        run = world.scheduled()
        row = world.row(run)
        fences = [Fence(run.run_id, TaskKind.ACTIVITY, 1, token) for token in ("", "attempt")]
        assert dict(world.store.renew(fences, lease=MINUTE)) == dict.fromkeys(fences, Pulse.GONE)
        assert world.row(run) == row

    def test_another_one_s_claim_can_not_be_renewed(self, world: World) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        row = world.row(run)
        other = replace(fence, token="another")
        assert dict(world.store.renew([other], lease=5 * MINUTE)) == {other: Pulse.GONE}
        assert world.row(run) == row

    def test_a_token_renews_only_the_row_it_was_given_for(self, world: World) -> None:
        run = world.start()
        run = world.commit(run, tasks=[world.activity(run, 1), world.activity(run, 2)])
        one, two = world.claim(run, 1, token="one").fence, world.claim(run, 2, token="two").fence
        crossed = [replace(one, token="two"), replace(two, token="one")]
        rows = [world.row(run, seq=1), world.row(run, seq=2)]
        assert dict(world.store.renew(crossed, lease=5 * MINUTE)) == dict.fromkeys(crossed, Pulse.GONE)
        assert [world.row(run, seq=1), world.row(run, seq=2)] == rows

    def test_a_lease_that_ran_out_can_be_renewed_while_nobody_took_the_row(self, world: World) -> None:
        run = world.scheduled()
        fence = world.claim(run, lease=MOMENT).fence
        world.wait(MOMENT)
        assert dict(world.store.renew([fence], lease=MINUTE)) == {fence: Pulse.ALIVE}
        assert world.due() == []

    def test_the_attempts_of_a_closed_run_are_gone(self, world: World) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        world.commit(run, status=WorkflowStatus.TERMINATED)
        assert dict(world.store.renew([fence], lease=MINUTE)) == {fence: Pulse.GONE}
        assert world.store.heartbeat(fence, None) is Pulse.GONE

    # -- heartbeats ------------------------------------------------------------------------------------

    def test_a_heartbeat_keeps_details_and_moves_its_deadline_on(self, world: World) -> None:
        run = world.scheduled(heartbeat=10 * SECOND)
        claim = world.claim(run)
        world.wait(1000)
        with world.span() as span:
            assert world.store.heartbeat(claim.fence, {"row": 1}) is Pulse.ALIVE
        row = world.row(run)
        assert span.covers(row.heartbeat_by, plus=10 * SECOND)
        assert row == replace(claim.task, details={"row": 1}, heartbeat_by=row.heartbeat_by, due_at=row.heartbeat_by)

    def test_a_heartbeat_of_an_activity_without_such_a_deadline_keeps_details(self, world: World) -> None:
        run = world.scheduled()
        claim = world.claim(run)
        assert world.store.heartbeat(claim.fence, [1, 2]) is Pulse.ALIVE
        assert world.row(run) == replace(claim.task, details=[1, 2])

    def test_a_heartbeat_does_not_move_the_other_deadlines(self, world: World) -> None:
        run = world.scheduled(heartbeat=10 * MINUTE, start_to_close=2 * MINUTE)
        claim = world.claim(run, lease=MINUTE)
        world.store.heartbeat(claim.fence, None)
        row = world.row(run)
        assert (row.lease_until, row.start_to_close_by, row.due_at) == (
            claim.task.lease_until,
            claim.task.start_to_close_by,
            claim.task.lease_until,
        )

    def test_a_heartbeat_learns_that_the_activity_is_asked_to_stop(self, world: World) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        world.commit(run, canceling=[1])
        assert world.store.heartbeat(fence, "last words") is Pulse.CANCEL
        assert world.row(run).details == "last words"

    def test_a_heartbeat_of_an_attempt_that_is_gone_writes_nothing(self, world: World) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        world.store.requeue(fence, delay=0, grace=0, next_attempt=True)
        row = world.row(run)
        assert world.store.heartbeat(fence, {"row": 1}) is Pulse.GONE
        assert world.store.heartbeat(replace(fence, token=""), {"row": 1}) is Pulse.GONE
        assert world.row(run) == row

    def test_a_heartbeat_of_a_row_that_is_gone_is_gone(self, world: World) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        world.commit(run, dropped=[(TaskKind.ACTIVITY, 1)])
        assert world.store.heartbeat(fence, {"row": 1}) is Pulse.GONE

    def test_a_missed_heartbeat_is_due(self, world: World) -> None:
        run = world.scheduled(heartbeat=MOMENT)
        world.claim(run, lease=MINUTE)
        world.wait(MOMENT)
        found = world.store.take_due(world.namespace, limit=10, hold=MINUTE)
        assert [(each.task.state, each.task.token) for each in found] == [(TaskState.RUNNING, "attempt")]

    def test_rows_are_values(self, world: World) -> None:
        run = world.scheduled(data={"args": [[1]]})
        row: Task = world.row(run)
        row.data["args"][0].append(2)
        assert world.row(run).data == {"args": [[1]]}
