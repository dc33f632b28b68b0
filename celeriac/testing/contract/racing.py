"""The contract under concurrency: of calls that race exactly one wins, and nothing gets lost between."""
# ruff: noqa: D102, S101, S106 - these are tests: their names say what they show

from __future__ import annotations

import time
import uuid
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from celeriac.orchestrator.events import SignalReceived
from celeriac.orchestrator.model import CommitOutcome, CreateOutcome, DeliveryOutcome, Fence
from celeriac.orchestrator.status import MessageKind, TaskKind, TaskState, WorkflowStatus
from celeriac.testing.contract.base import ContractBase
from celeriac.testing.contract.world import MINUTE, race

if TYPE_CHECKING:
    from celeriac.orchestrator.model import CreateOutcome as Outcome
    from celeriac.orchestrator.ports import Store
    from celeriac.testing.contract.world import World

CROWD = 6


def _crowd(world: World) -> list[Store]:
    """Return the stores that a crowd's threads use, either connection by turns."""
    return [world.store, world.second] * (CROWD // 2)


class Racing(ContractBase):
    """Each test repeats ``rounds`` times what two or more threads do at once."""

    # -- one of many ---------------------------------------------------------------------------------

    def test_one_of_many_same_starts_creates(self, world: World) -> None:
        for _ in range(self.rounds):
            key = uuid.uuid4().hex
            news = [world.new(start_key=key) for _ in range(CROWD)]
            created = race(*(partial(each.create, new) for each, new in zip(_crowd(world), news, strict=True)))
            outcomes: Counter[Outcome] = Counter(each.outcome for each in created)
            assert outcomes == {CreateOutcome.CREATED: 1, CreateOutcome.SAME_START: CROWD - 1}
            assert len({each.run.run_id for each in created}) == 1

    def test_one_of_many_starts_gets_the_id(self, world: World) -> None:
        for number in range(self.rounds):
            news = [world.new(f"order-{number}") for _ in range(CROWD)]
            created = race(*(partial(each.create, new) for each, new in zip(_crowd(world), news, strict=True)))
            outcomes: Counter[Outcome] = Counter(each.outcome for each in created)
            assert outcomes == {CreateOutcome.CREATED: 1, CreateOutcome.OPEN_EXISTS: CROWD - 1}
            assert len({each.run.run_id for each in created}) == 1

    def test_one_of_many_deliverers_is_told_to_wake(self, world: World) -> None:
        for _ in range(self.rounds):
            run = world.idle()
            delivered = race(
                *(
                    partial(store.deliver, world.message(f"k{n}"), namespace=run.namespace, run_id=run.run_id)
                    for n, store in enumerate(_crowd(world))
                )
            )
            assert {each.outcome for each in delivered} == {DeliveryOutcome.DELIVERED}
            assert sum(each.wake for each in delivered) == 1
            inbox = world.inbox(run)
            assert [number for number, _ in inbox] == list(range(1, CROWD + 1))
            assert sorted(key for _, key in inbox) == [f"k{n}" for n in range(CROWD)]
            assert world.read(run).inbox_seq == CROWD

    def test_one_of_many_same_messages_is_delivered(self, world: World) -> None:
        for _ in range(self.rounds):
            run = world.idle("order")
            send: dict[str, Any] = {"namespace": run.namespace, "workflow_id": run.workflow_id}
            delivered = race(*(partial(store.deliver, world.message("k"), **send) for store in _crowd(world)))
            assert Counter(each.outcome for each in delivered) == {
                DeliveryOutcome.DELIVERED: 1,
                DeliveryOutcome.DUPLICATE: CROWD - 1,
            }
            assert sum(each.wake for each in delivered) == 1
            assert world.inbox(run) == [(1, "k")]
            world.commit(run, consumed=[1], status=WorkflowStatus.COMPLETED)

    def test_one_of_many_gets_the_turn(self, world: World) -> None:
        for _ in range(self.rounds):
            run = world.start()
            views = race(
                *(
                    partial(store.begin_turn, run.run_id, token=f"t{n}", lease=MINUTE, known=None)
                    for n, store in enumerate(_crowd(world))
                )
            )
            assert sum(view is not None for view in views) == 1
            winner = next(n for n, view in enumerate(views) if view is not None)
            assert (world.turn(run).token, world.turn(run).attempt) == (f"t{winner}", 1)

    def test_one_of_many_commits_on_a_version_stands(self, world: World) -> None:
        for _ in range(self.rounds):
            run = world.start()
            commits = [
                world.a_commit(run, SignalReceived(f"s{n}"), SignalReceived(f"s{n}"), tasks=[world.timer(run, n)])
                for n in range(CROWD)
            ]
            outcomes = race(*(partial(s.commit, c) for s, c in zip(_crowd(world), commits, strict=True)))
            assert Counter(outcomes) == {CommitOutcome.COMMITTED: 1, CommitOutcome.CONFLICT: CROWD - 1}
            winner = outcomes.index(CommitOutcome.COMMITTED)
            assert list(world.store.history(run.run_id))[1:] == list(commits[winner].events)
            assert world.keys(run) == [(TaskKind.TIMER, winner)]
            assert world.read(run).turns == 1

    def test_one_of_many_gets_the_attempt(self, world: World) -> None:
        for _ in range(self.rounds):
            run = world.scheduled()
            how: dict[str, Any] = {"attempt": 1, "inner": 0, "lease": MINUTE, "worker": "w"}
            claims = race(
                *(
                    partial(store.claim_activity, run.run_id, 1, token=f"t{n}", **how)
                    for n, store in enumerate(_crowd(world))
                )
            )
            (claim,) = [each for each in claims if each is not None]
            assert world.row(run) == claim.task

    def test_one_of_many_outcomes_of_a_claim_is_delivered(self, world: World) -> None:
        for _ in range(self.rounds):
            run = world.scheduled()
            fence = world.claim(run).fence
            delivered = race(
                *(
                    partial(store.settle, fence, world.message(f"o{n}", MessageKind.OUTCOME, result=n))
                    for n, store in enumerate(_crowd(world))
                )
            )
            assert Counter(each.outcome for each in delivered) == {
                DeliveryOutcome.DELIVERED: 1,
                DeliveryOutcome.REFUSED: CROWD - 1,
            }
            assert sum(each.wake for each in delivered) == 1
            assert len(world.inbox(run)) == 1

    def test_every_due_row_is_handed_to_one_of_many_relays(self, world: World) -> None:
        rows = 12
        for _ in range(self.rounds):
            run = world.start()
            now = world.store.now()
            run = world.commit(run, tasks=[world.activity(run, number, due_at=now - 1) for number in range(rows)])
            taken = race(*(partial(store.take_due, world.namespace, limit=4, hold=MINUTE) for store in _crowd(world)))
            first = [each.task.seq for batch in taken for each in batch]
            assert len(first) == len(set(first))
            assert sorted(first + [seq for _, _, seq in world.due()]) == list(range(rows))
            world.commit(run, status=WorkflowStatus.COMPLETED)

    def test_one_of_many_gets_a_named_lease(self, world: World) -> None:
        for _ in range(self.rounds):
            name = uuid.uuid4().hex
            got = race(
                *(partial(store.hold_lease, name, f"holder-{n}", lease=MINUTE) for n, store in enumerate(_crowd(world)))
            )
            assert sum(got) == 1
            assert world.store.hold_lease(name, f"holder-{got.index(True)}", lease=MINUTE) is True

    # -- a message and a commit ------------------------------------------------------------------------

    def test_a_message_that_races_a_commit_is_seen_by_it_or_wakes_the_next_turn(self, world: World) -> None:
        for _ in range(self.rounds * 2):
            run = world.start()
            world.begin(run)
            commit = world.a_commit(run, SignalReceived("x"), turn_token="turn")
            send = partial(world.second.deliver, world.message(), namespace=run.namespace, run_id=run.run_id)
            outcome, delivery = race(partial(world.store.commit, commit), send)
            assert delivery.outcome is DeliveryOutcome.DELIVERED
            assert world.inbox(run) == [(1, "key")]
            row = world.turn(run)
            if outcome is CommitOutcome.COMMITTED:
                assert (delivery.wake, row.state, row.due_at is not None) == (True, TaskState.QUEUED, True)
            else:
                assert (outcome, delivery.wake) == (CommitOutcome.INBOX_MOVED, False)
                assert (row.state, row.token) == (TaskState.RUNNING, "turn")

    def test_a_message_that_races_an_unclaimed_commit_finds_a_turn_that_is_due(self, world: World) -> None:
        for _ in range(self.rounds):
            run = world.start()
            send = partial(world.second.deliver, world.message(), namespace=run.namespace, run_id=run.run_id)
            outcome, delivery = race(partial(world.store.commit, world.a_commit(run)), send)
            assert delivery.wake is (outcome is CommitOutcome.COMMITTED)
            assert (world.turn(run).state, world.turn(run).due_at is None) == (TaskState.QUEUED, False)

    def test_a_message_that_races_a_commit_that_leaves_the_turn_due_is_kept(self, world: World) -> None:
        for _ in range(self.rounds):
            run = world.start()
            world.begin(run)
            commit = world.a_commit(run, turn_token="turn", leave_due=True)
            send = partial(world.second.deliver, world.message(), namespace=run.namespace, run_id=run.run_id)
            outcome, delivery = race(partial(world.store.commit, commit), send)
            assert (outcome, delivery.outcome) == (CommitOutcome.COMMITTED, DeliveryOutcome.DELIVERED)
            assert delivery.wake is False
            assert world.inbox(run) == [(1, "key")]
            assert (world.turn(run).state, world.turn(run).due_at is None) == (TaskState.QUEUED, False)

    def test_a_message_that_races_a_close_is_refused_or_keeps_the_run_open(self, world: World) -> None:
        for _ in range(self.rounds):
            run = world.start("order")
            close = world.a_commit(run, status=WorkflowStatus.COMPLETED)
            send = partial(world.second.deliver, world.message(), namespace=run.namespace, workflow_id="order")
            outcome, delivery = race(partial(world.store.commit, close), send)
            if outcome is CommitOutcome.COMMITTED:
                assert delivery.outcome is DeliveryOutcome.CLOSED
            else:
                assert (outcome, delivery.outcome) == (CommitOutcome.INBOX_MOVED, DeliveryOutcome.DELIVERED)
                assert world.inbox(run) == [(1, "key")]
                world.commit(run, consumed=[1], status=WorkflowStatus.COMPLETED)

    def test_messages_and_turns_at_once_lose_and_repeat_nothing(self, world: World) -> None:
        run = world.idle()
        keys = [f"{sender}-{number}" for sender in range(3) for number in range(self.rounds)]

        def send(sender: int) -> None:
            for number in range(self.rounds):
                message = world.message(f"{sender}-{number}")
                world.second.deliver(message, namespace=run.namespace, run_id=run.run_id)

        def take_turns() -> None:
            give_up = time.monotonic() + 60
            while world.read(run).version < len(keys) + 1:
                if not _take_turn(world, run.run_id):
                    time.sleep(0.001)
                assert time.monotonic() < give_up, "the turns have not come to an end within 60 s"

        race(partial(send, 0), partial(send, 1), partial(send, 2), take_turns, take_turns)
        recorded = [event.key for event in world.store.history(run.run_id)][1:]
        assert sorted(recorded, key=str) == sorted(keys)
        for sender in "012":
            mine = [key for key in recorded if key is not None and key.startswith(f"{sender}-")]
            assert mine == [f"{sender}-{number}" for number in range(self.rounds)]
        assert (world.inbox(run), world.turn(run).state) == ([], TaskState.IDLE)

    # -- a claim and something else ----------------------------------------------------------------------

    def test_an_outcome_that_races_the_commit_that_drops_it_loses_or_is_seen(self, world: World) -> None:
        for _ in range(self.rounds):
            run = world.scheduled()
            fence = world.claim(run).fence
            drop = world.a_commit(run, dropped=[(TaskKind.ACTIVITY, 1)])
            settle = partial(world.second.settle, fence, world.message("o", MessageKind.OUTCOME))
            outcome, delivery = race(partial(world.store.commit, drop), settle)
            assert (outcome, delivery.outcome) in {
                (CommitOutcome.COMMITTED, DeliveryOutcome.REFUSED),
                (CommitOutcome.INBOX_MOVED, DeliveryOutcome.DELIVERED),
            }
            assert world.keys(run) == []

    def test_an_outcome_that_races_the_inline_turn_with_it_comes_once(self, world: World) -> None:
        for _ in range(self.rounds):
            run = world.scheduled()
            fence = world.claim(run).fence
            inline = world.a_commit(run, SignalReceived("inline"), settles=fence)
            settle = partial(world.second.settle, fence, world.message("o", MessageKind.OUTCOME))
            outcome, delivery = race(partial(world.store.commit, inline), settle)
            if outcome is CommitOutcome.COMMITTED:
                assert (delivery.outcome, world.inbox(run)) == (DeliveryOutcome.REFUSED, [])
            else:
                assert outcome in {CommitOutcome.FENCED, CommitOutcome.INBOX_MOVED}
                assert (delivery.outcome, world.inbox(run)) == (DeliveryOutcome.DELIVERED, [(1, "o")])
            assert world.keys(run) == []

    def test_an_attempt_given_back_while_it_ends_does_one_of_both(self, world: World) -> None:
        for _ in range(self.rounds):
            run = world.scheduled()
            fence = world.claim(run).fence
            settle = partial(world.store.settle, fence, world.message("o", MessageKind.OUTCOME))
            give_back = partial(world.second.requeue, fence, delay=0, grace=0, next_attempt=True)
            delivery, given_back = race(settle, give_back)
            assert given_back is (delivery.outcome is DeliveryOutcome.REFUSED)
            assert world.keys(run) == ([(TaskKind.ACTIVITY, 1)] if given_back else [])

    @pytest.mark.parametrize("kind", [TaskKind.TURN, TaskKind.ACTIVITY])
    def test_a_row_is_claimed_while_a_relay_takes_it(self, world: World, kind: TaskKind) -> None:
        for _ in range(self.rounds):
            run = world.start(turn_due=0)
            if kind is TaskKind.ACTIVITY:
                run = world.commit(run, tasks=[world.activity(run, due_at=world.store.now())])
            claim = partial(world.claim, run) if kind is TaskKind.ACTIVITY else partial(world.begin, run)
            race(claim, partial(world.second.take_due, world.namespace, limit=10, hold=0))
            row = world.turn(run) if kind is TaskKind.TURN else world.row(run)
            assert row.state is TaskState.RUNNING
            assert row.token in {"turn", "attempt"}
            world.commit(run, status=WorkflowStatus.COMPLETED)

    def test_a_pause_that_races_a_commit_holds(self, world: World) -> None:
        for _ in range(self.rounds):
            run = world.start()
            pause = partial(world.second.set_status, run.run_id, WorkflowStatus.PAUSED)
            commit = partial(world.store.commit, world.a_commit(run, SignalReceived("x")))
            outcome, _ = race(commit, pause)
            after = world.read(run)
            assert after.status is WorkflowStatus.PAUSED
            assert after.version == (2 if outcome is CommitOutcome.COMMITTED else 1)

    def test_purges_race_turns_and_each_other_and_touch_no_open_run(self, world: World) -> None:
        for _ in range(self.rounds):
            working, old = [world.start() for _ in range(2)], [world.closed() for _ in range(4)]
            purge: dict[str, Any] = {"closed_before": world.store.now() + MINUTE, "limit": 3}
            *purged, _, _, outcome = race(
                partial(world.store.purge, world.namespace, **purge),
                partial(world.second.purge, world.namespace, **purge),
                *(partial(world.signal, run) for run in working),
                partial(world.second.commit, world.a_commit(working[0], SignalReceived("x"), leave_due=True)),
            )
            assert sum(purged) + world.store.purge(world.namespace, **purge) == len(old)
            assert outcome is CommitOutcome.COMMITTED
            assert [world.inbox(run) for run in working] == [[(1, "key")]] * 2
            assert [list(world.store.history(run.run_id)) for run in old] == [[]] * 4

    def test_renewals_race_outcomes_without_bringing_rows_back(self, world: World) -> None:
        for _ in range(self.rounds):
            run = world.start()
            numbers = range(1, 5)
            run = world.commit(run, tasks=[world.activity(run, number) for number in numbers])
            fences = [world.claim(run, number, token=f"t{number}").fence for number in numbers]
            race(
                partial(world.store.renew, fences, lease=MINUTE),
                partial(world.second.renew, fences[::-1], lease=MINUTE),
                *(partial(_settle, world, fence) for fence in fences),
            )
            assert world.keys(run) == []


def _settle(world: World, fence: Fence) -> None:
    world.second.settle(fence, world.message(f"o{fence.seq}", MessageKind.OUTCOME))


def _take_turn(world: World, run_id: str) -> bool:
    """Take a turn as the engine does: record what came, and what came meanwhile. False when none was due."""
    token = uuid.uuid4().hex
    view = world.store.begin_turn(run_id, token=token, lease=MINUTE, known=None)
    due = view is not None
    while view is not None:
        heard = [(SignalReceived("s"), item.message.key) for item in view.inbox]
        numbers = [item.number for item in view.inbox]
        commit = world.a_commit(view.run, *heard, consumed=numbers, turn_token=token)
        moved = world.store.commit(commit) is CommitOutcome.INBOX_MOVED
        view = world.store.read_turn(run_id, known=None) if moved else None
    return due
