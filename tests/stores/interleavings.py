"""What must hold whichever of two waiting calls gets the lock first: for every database that locks rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from celeriac.orchestrator.events import SignalReceived
from celeriac.orchestrator.model import (
    CommitOutcome,
    Created,
    CreateOutcome,
    Delivery,
    DeliveryOutcome,
    Run,
)
from celeriac.orchestrator.status import TaskKind, TaskState, WorkflowStatus
from celeriac.stores.sql import SqlStore
from celeriac.testing.contract.world import MINUTE, World, wait_until_passed
from tests.stores.stage import Stage

# What a relay does to a row that it takes.
_TAKE_ROW = (
    "UPDATE celeriac_tasks SET due_at = due_at + 60000000 WHERE run_id = :run_id AND kind = 'activity' AND seq = 1"
)
# A lock without a change: behind a changed row PostgreSQL lets those who wait for it race.
_LOCK_RUN = "SELECT run_id FROM celeriac_runs WHERE run_id = :run_id FOR UPDATE"


class Interleavings:
    """To override: the fixtures ``store`` (with room for a few threads) and ``engine``, the test's own."""

    @pytest.fixture
    def store(self) -> SqlStore:
        raise NotImplementedError

    @pytest.fixture
    def engine(self) -> Engine:
        raise NotImplementedError

    @pytest.fixture
    def world(self, store: SqlStore) -> World:
        return World(store, store, wait_until_passed)

    @pytest.fixture
    def in_order(self, engine: Engine) -> Callable[..., list[Any]]:
        """``in_order(run, first, second)``: both wait for the run's lock, and get it in this order."""

        def play(run: Run, *calls: Callable[[], Any]) -> list[Any]:
            with Stage(engine, _LOCK_RUN, run_id=run.run_id) as stage:
                for call in calls:
                    stage.send(call)
                return stage.lift()

        return play

    # -- a commit and a delivery -------------------------------------------------------------------

    def test_a_delivery_behind_a_commit_finds_the_turn_idle_and_wakes_it(
        self, world: World, in_order: Callable[..., list[Any]]
    ) -> None:
        run = world.start()
        view = world.begin(run)
        commit = world.a_commit(view.run, SignalReceived("x"), turn_token="turn")
        committed, delivery = in_order(run, lambda: world.store.commit(commit), lambda: world.signal(run))
        assert committed is CommitOutcome.COMMITTED
        assert (delivery.outcome, delivery.wake) == (DeliveryOutcome.DELIVERED, True)
        assert (world.turn(run).state, world.inbox(run)) == (TaskState.QUEUED, [(1, "key")])

    def test_a_delivery_behind_an_empty_commit_finds_the_turn_idle_and_wakes_it(
        self, world: World, in_order: Callable[..., list[Any]]
    ) -> None:
        run = world.start()
        view = world.begin(run)
        commit = world.a_commit(view.run, turn_token="turn")
        committed, delivery = in_order(run, lambda: world.store.commit(commit), lambda: world.signal(run))
        assert (committed, delivery.wake) == (CommitOutcome.COMMITTED, True)
        assert world.turn(run).state is TaskState.QUEUED

    def test_a_commit_behind_a_delivery_is_refused(self, world: World, in_order: Callable[..., list[Any]]) -> None:
        run = world.start()
        view = world.begin(run)
        commit = world.a_commit(view.run, SignalReceived("x"), turn_token="turn")
        delivery, refused = in_order(run, lambda: world.signal(run), lambda: world.store.commit(commit))
        assert (delivery.outcome, delivery.wake) == (DeliveryOutcome.DELIVERED, False)
        assert refused is CommitOutcome.INBOX_MOVED
        assert (world.read(run).version, world.turn(run).token) == (1, "turn")
        assert world.inbox(run) == [(1, "key")]

    def test_a_commit_behind_a_delivery_may_leave_the_turn_due(
        self, world: World, in_order: Callable[..., list[Any]]
    ) -> None:
        run = world.start()
        view = world.begin(run)
        commit = world.a_commit(view.run, SignalReceived("x"), turn_token="turn", leave_due=True)
        delivery, committed = in_order(run, lambda: world.signal(run), lambda: world.store.commit(commit))
        assert (delivery.wake, committed) == (False, CommitOutcome.COMMITTED)
        assert (world.turn(run).state, world.inbox(run)) == (TaskState.QUEUED, [(1, "key")])
        assert world.due() == [(run.run_id, TaskKind.TURN, 0)]

    def test_a_commit_behind_a_delivery_does_not_close_the_run(
        self, world: World, in_order: Callable[..., list[Any]]
    ) -> None:
        run = world.start()
        view = world.begin(run)
        commit = world.a_commit(view.run, status=WorkflowStatus.COMPLETED, turn_token="turn")
        delivery, refused = in_order(run, lambda: world.signal(run), lambda: world.store.commit(commit))
        assert (delivery.outcome, refused) == (DeliveryOutcome.DELIVERED, CommitOutcome.INBOX_MOVED)
        assert world.read(run).status is WorkflowStatus.RUNNING

    @pytest.mark.parametrize("by", ["run_id", "workflow_id"])
    def test_a_delivery_behind_a_close_is_told_so(
        self, world: World, in_order: Callable[..., list[Any]], by: str
    ) -> None:
        run = world.start()
        commit = world.a_commit(run, status=WorkflowStatus.COMPLETED)
        wanted = {by: getattr(run, by)}
        closed, delivery = in_order(
            run,
            lambda: world.store.commit(commit),
            lambda: world.store.deliver(world.message(), namespace=run.namespace, **wanted),
        )
        assert (closed, delivery.outcome) == (CommitOutcome.COMMITTED, DeliveryOutcome.CLOSED)
        assert world.read(run).inbox_seq == 0

    def test_a_repeated_signal_behind_the_commit_that_consumes_it_is_a_duplicate(
        self, world: World, in_order: Callable[..., list[Any]]
    ) -> None:
        run = world.start()
        world.signal(run, "paid")
        view = world.begin(run)
        commit = world.a_commit(view.run, (SignalReceived("paid"), "paid"), consumed=[1], turn_token="turn")
        committed, delivery = in_order(run, lambda: world.store.commit(commit), lambda: world.signal(run, "paid"))
        assert (committed, delivery.outcome) == (CommitOutcome.COMMITTED, DeliveryOutcome.DUPLICATE)
        assert (world.inbox(run), world.turn(run).state) == ([], TaskState.IDLE)

    # -- two deliveries ----------------------------------------------------------------------------

    def test_of_two_deliveries_the_first_wakes(self, world: World, in_order: Callable[..., list[Any]]) -> None:
        run = world.idle()
        first, second = in_order(run, lambda: world.signal(run, "a"), lambda: world.signal(run, "b"))
        assert (first.wake, second.wake) == (True, False)
        assert world.inbox(run) == [(1, "a"), (2, "b")]

    def test_the_same_message_twice_is_delivered_once(self, world: World, in_order: Callable[..., list[Any]]) -> None:
        run = world.idle()
        first, second = in_order(run, lambda: world.signal(run), lambda: world.signal(run))
        assert (first.outcome, second.outcome) == (DeliveryOutcome.DELIVERED, DeliveryOutcome.DUPLICATE)
        assert (world.inbox(run), world.read(run).inbox_seq) == ([(1, "key")], 1)

    def test_a_delivery_behind_a_pause_wakes_nobody(self, world: World, in_order: Callable[..., list[Any]]) -> None:
        run = world.idle()
        _, delivery = in_order(
            run,
            lambda: world.store.set_status(run.run_id, WorkflowStatus.PAUSED),
            lambda: world.signal(run),
        )
        assert (delivery.outcome, delivery.wake) == (DeliveryOutcome.DELIVERED, False)
        assert (world.turn(run).state, world.turn(run).due_at) == (TaskState.QUEUED, None)

    def test_a_delivery_behind_a_block_has_the_turn_tried_again_at_once(
        self, world: World, in_order: Callable[..., list[Any]]
    ) -> None:
        run = world.start()
        world.begin(run)
        released, delivery = in_order(
            run,
            lambda: world.store.release_turn(run.run_id, token="turn", delay=5 * MINUTE, blocked={"reason": "no code"}),
            lambda: world.signal(run),
        )
        assert (released, delivery.wake) == (True, True)
        assert (world.turn(run).due_at or 0) < world.store.now() + MINUTE

    # -- two commits -------------------------------------------------------------------------------

    def test_of_two_commits_the_second_conflicts(self, world: World, in_order: Callable[..., list[Any]]) -> None:
        run = world.start()
        commits = [world.a_commit(run, SignalReceived(name)) for name in ("a", "b")]
        assert in_order(run, *(lambda each=each: world.store.commit(each) for each in commits)) == [
            CommitOutcome.COMMITTED,
            CommitOutcome.CONFLICT,
        ]
        assert [event.data for event in world.store.history(run.run_id, after=1)] == [{"name": "a"}]

    def test_of_two_commits_that_only_drop_the_same_message_the_second_conflicts(
        self, world: World, in_order: Callable[..., list[Any]]
    ) -> None:
        run = world.start()
        world.signal(run)
        commit = world.a_commit(world.read(run), consumed=[1])
        twice = [lambda: world.store.commit(commit)] * 2
        assert in_order(run, *twice) == [CommitOutcome.COMMITTED, CommitOutcome.CONFLICT]
        assert (world.read(run).turns, world.inbox(run)) == (1, [])

    # -- an outcome that comes two ways ------------------------------------------------------------

    def test_a_commit_behind_the_settlement_of_its_activity_is_fenced(
        self, world: World, in_order: Callable[..., list[Any]]
    ) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        commit = world.a_commit(run, SignalReceived("done"), settles=fence)
        settled, refused = in_order(
            run,
            lambda: world.store.settle(fence, world.message("outcome")),
            lambda: world.store.commit(commit),
        )
        assert (settled.outcome, refused) == (DeliveryOutcome.DELIVERED, CommitOutcome.FENCED)
        assert world.read(run).version == run.version

    def test_a_settlement_behind_the_commit_that_has_its_outcome_is_refused(
        self, world: World, in_order: Callable[..., list[Any]]
    ) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        commit = world.a_commit(run, SignalReceived("done"), settles=fence)
        committed, settled = in_order(
            run,
            lambda: world.store.commit(commit),
            lambda: world.store.settle(fence, world.message("outcome")),
        )
        assert (committed, settled.outcome) == (CommitOutcome.COMMITTED, DeliveryOutcome.REFUSED)
        assert (world.inbox(run), world.keys(run)) == ([], [])

    def test_a_claim_that_goes_while_its_commit_waits_undoes_the_commit(self, world: World, engine: Engine) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        commit = world.a_commit(run, SignalReceived("done"), settles=fence)
        before = world.read(run)
        with self._requeued_by_another(engine, run) as stage:
            stage.send(lambda: world.store.commit(commit))
            assert stage.lift() == [CommitOutcome.FENCED]
        assert (world.read(run), len(world.store.history(run.run_id))) == (before, run.version)

    def test_a_claim_that_goes_while_its_settlement_waits_undoes_the_settlement(
        self, world: World, engine: Engine
    ) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        with self._requeued_by_another(engine, run) as stage:
            stage.send(lambda: world.store.settle(fence, world.message("outcome")))
            (settled,) = stage.lift()
        assert settled == Delivery(DeliveryOutcome.REFUSED, settled.run)
        assert (world.read(run).inbox_seq, world.inbox(run), world.row(run).token) == (0, [], None)

    def _requeued_by_another(self, engine: Engine, run: Run) -> Stage:
        take = "UPDATE celeriac_tasks SET token = NULL, state = 'queued' WHERE run_id = :run_id AND kind = 'activity'"
        return Stage(engine, take, run_id=run.run_id)

    def test_an_attempt_is_not_claimed_behind_the_close_of_its_run(self, world: World, engine: Engine) -> None:
        run = world.scheduled()
        close = "DELETE FROM celeriac_tasks WHERE run_id = :run_id"
        with Stage(engine, close, run_id=run.run_id) as stage:
            stage.send(
                lambda: world.store.claim_activity(
                    run.run_id, 1, attempt=1, inner=0, token="late", lease=MINUTE, worker="w"
                )
            )
            assert stage.lift() == [None]

    # -- two starts --------------------------------------------------------------------------------

    def test_a_start_behind_another_with_the_same_id_finds_it_open(self, world: World, engine: Engine) -> None:
        first = world.start()
        second = world.new("taken")
        # A start that is not committed yet, made of the row of one that is.
        take = (
            "UPDATE celeriac_runs SET workflow_id = 'taken', workflow_index = 'taken', open_id = 'taken' "
            "WHERE run_id = :run_id"
        )
        with Stage(engine, take, run_id=first.run_id) as stage:
            stage.send(lambda: world.store.create(second))
            (created,) = stage.lift()
        assert created == Created(CreateOutcome.OPEN_EXISTS, world.read(first))
        assert world.store.find_run(world.namespace, run_id=second.run_id) is None

    # -- relays, and a purge -----------------------------------------------------------------------

    def passes(self, stage: Stage, call: Callable[[], Any]) -> Any:
        """Make a call that passes over what others hold: on this thread, since one that waited would wait for ever."""
        told = call()
        stage.lift()
        return told

    def test_of_two_relays_each_row_comes_to_one(self, world: World, engine: Engine) -> None:
        run = self._with_two_due(world)
        with Stage(engine, _TAKE_ROW, run_id=run.run_id) as stage:
            assert self.passes(stage, world.due) == [(run.run_id, TaskKind.ACTIVITY, 2)]
        assert world.due() == []

    def test_an_attempt_that_a_relay_is_taking_is_claimed_behind_it(self, world: World, engine: Engine) -> None:
        run = self._with_two_due(world)
        with Stage(engine, _TAKE_ROW, run_id=run.run_id) as stage:
            stage.send(lambda: world.claim(run))
            (claim,) = stage.lift()
        row = world.row(run)
        assert (row, row.due_at) == (claim.task, row.lease_until)

    def test_a_relay_does_not_put_off_what_was_claimed_meanwhile(self, world: World, engine: Engine) -> None:
        run = self._with_two_due(world)
        (first, *_) = world.store.take_due(world.namespace, limit=1, hold=0)
        claim = "UPDATE celeriac_tasks SET state = 'running', token = 'other' WHERE run_id = :run_id AND seq = :seq"
        with Stage(engine, claim, run_id=run.run_id, seq=first.task.seq) as stage:
            stage.send(lambda: world.store.postpone(first.task, delay=5 * MINUTE, published=3))
            stage.lift()
        row = world.row(run, seq=first.task.seq)
        assert (row.token, row.published, row.due_at) == ("other", first.task.published, first.now)

    def _with_two_due(self, world: World) -> Run:
        run, past = world.start(), world.store.now() - 1
        return world.commit(run, tasks=[world.activity(run, seq, due_at=past) for seq in (1, 2)])

    def test_a_purge_passes_over_a_run_that_another_is_deleting(self, world: World, engine: Engine) -> None:
        first, second = world.closed(), world.closed()

        def purge() -> int:
            return world.store.purge(world.namespace, closed_before=world.store.now() + 1, limit=1)

        delete = "UPDATE celeriac_runs SET closed_at = NULL WHERE run_id = :run_id"
        with Stage(engine, delete, run_id=first.run_id) as stage:
            assert self.passes(stage, purge) == 1
        assert world.store.find_run(world.namespace, run_id=second.run_id) is None
        assert world.store.find_run(world.namespace, run_id=first.run_id) is not None

    def test_a_purge_does_not_wait_for_the_turns_of_open_runs(self, world: World, engine: Engine) -> None:
        run, closed = world.start(), world.closed()

        def purge() -> int:
            return world.store.purge(world.namespace, closed_before=world.store.now() + 1, limit=5)

        with Stage(engine, _LOCK_RUN, run_id=run.run_id) as stage:
            assert self.passes(stage, purge) == 1
        assert world.store.find_run(world.namespace, run_id=closed.run_id) is None
        assert world.read(run) == run

    # -- the order of locks: a run, then its rows --------------------------------------------------

    def test_who_waits_for_a_row_with_its_run_s_lock_does_not_stand_in_the_way_of_the_holder(
        self, world: World, engine: Engine
    ) -> None:
        run = world.scheduled()
        fence = world.claim(run).fence
        renew = "UPDATE celeriac_tasks SET lease_until = lease_until + 1 WHERE run_id = :run_id AND kind = 'activity'"
        with Stage(engine, renew, run_id=run.run_id) as stage:
            stage.send(lambda: world.store.settle(fence, world.message("outcome")))
            stage.send(lambda: world.signal(run))
            settled, delivered = stage.lift()
        assert [settled.outcome, delivered.outcome] == [DeliveryOutcome.DELIVERED] * 2
        assert [settled.wake, delivered.wake].count(True) == 1
        assert {key for _, key in world.inbox(run)} == {"outcome", "key"}
