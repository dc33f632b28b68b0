"""The contract of ``create_many``: what it makes of each start is what ``create`` makes of it, called in order."""
# ruff: noqa: D102, S101 - these are tests: their names say what they show

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from celeriac.errors import StoreError
from celeriac.orchestrator.events import HistoryEvent, WorkflowStarted
from celeriac.orchestrator.model import SECOND, Created, CreateOutcome, IdReuse, NewRun, Run, RunFilter
from celeriac.orchestrator.status import TaskKind, TaskState, WorkflowStatus
from celeriac.testing.contract.base import ContractBase
from celeriac.testing.contract.world import MINUTE, race

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac.testing.contract.world import World

CROWD = 4
MANY = 40


def _told(created: Sequence[Created]) -> list[tuple[CreateOutcome, str]]:
    return [(each.outcome, each.run.run_id) for each in created]


class StartingMany(ContractBase):
    """Many starts at once are as many starts; one that is refused leaves the others as they are."""

    def test_many_runs_are_written_whole_and_told_of_in_order(self, world: World) -> None:
        news = [
            world.new(f"order-{MANY - number}", started=WorkflowStarted("shop.fulfil", args=[number], seed=str(number)))
            for number in range(MANY)
        ]
        with world.span() as span:
            created = world.store.create_many(news)
        assert _told(created) == [(CreateOutcome.CREATED, new.run_id) for new in news]
        for number, (new, each) in enumerate(zip(news, created, strict=True)):
            run = each.run
            assert run == world.read(run)
            assert (run.workflow_id, run.start_key, run.epoch) == (new.workflow_id, new.start_key, new.epoch)
            assert span.covers(run.created_at)
            data = {"workflow": "shop.fulfil", "args": [number], "seed": str(number)}
            assert list(world.store.history(run.run_id)) == [HistoryEvent(1, "workflow_started", run.created_at, data)]
            turn = world.turn(run)
            assert (turn.state, turn.token, turn.attempt, turn.published) == (TaskState.QUEUED, None, 0, 1)
            assert world.keys(run) == []

    def test_each_has_its_own_values_and_its_own_rows(self, world: World) -> None:
        full = world.new(
            definition_version="2",
            queue="workflows",
            memo={"for": "Ann"},
            attributes={"customer": 7},
            origin={"task_id": "t"},
            parent_run_id="p" * 32,
            timeout=90 * SECOND,
            turn_due=3 * SECOND,
        )
        with world.span() as span:
            first, second = (each.run for each in world.store.create_many([full, world.new(input=None)]))
        assert first == world.read(first)
        assert second == world.read(second)
        assert (first.definition_version, first.queue, first.memo) == ("2", "workflows", {"for": "Ann"})
        assert (first.attributes, first.origin, first.parent_run_id) == ({"customer": 7}, {"task_id": "t"}, "p" * 32)
        assert (second.queue, second.memo, second.origin, second.input) == (None, None, None, None)
        assert span.covers(world.turn(first).due_at, plus=3 * SECOND)
        assert span.covers(world.row(first, TaskKind.TIMEOUT, 0).due_at, plus=90 * SECOND)
        assert world.turn(first).queue == "workflows"
        assert world.keys(second) == []

    def test_no_starts_are_no_runs(self, world: World) -> None:
        assert list(world.store.create_many([])) == []
        assert list(world.store.list(world.namespace, RunFilter())) == []

    def test_their_turns_can_be_taken(self, world: World) -> None:
        for each in world.store.create_many([world.new(), world.new()]):
            view = world.store.begin_turn(each.run.run_id, token="t", lease=MINUTE, known=None)  # noqa: S106
            assert view is not None
            assert (view.run, len(view.events)) == (each.run, 1)

    # -- refused -------------------------------------------------------------------------------------

    def test_a_refused_one_leaves_the_others_as_they_are(self, world: World) -> None:
        open_run = world.start("open")
        done = world.closed("done")
        same = world.start(start_key="task-1")
        news = [
            world.new("first"),
            world.new("open"),
            world.new("done", id_reuse=IdReuse.AFTER_FAILURE),
            world.new(start_key="task-1"),
            world.new("done", id_reuse=IdReuse.NEVER),
            world.new("last", id_reuse=IdReuse.NEVER),
        ]
        created = world.store.create_many(news)
        assert _told(created) == [
            (CreateOutcome.CREATED, news[0].run_id),
            (CreateOutcome.OPEN_EXISTS, open_run.run_id),
            (CreateOutcome.REUSE_REFUSED, done.run_id),
            (CreateOutcome.SAME_START, same.run_id),
            (CreateOutcome.REUSE_REFUSED, done.run_id),
            (CreateOutcome.CREATED, news[5].run_id),
        ]
        assert [each.run for each in created] == [world.read(each.run) for each in created]
        for new in news[1:5]:
            assert world.store.find_run(world.namespace, run_id=new.run_id) is None
            assert list(world.store.history(new.run_id)) == []
            assert list(world.store.tasks(new.run_id)) == []

    @pytest.mark.parametrize("status", [WorkflowStatus.COMPLETED, WorkflowStatus.FAILED])
    @pytest.mark.parametrize("reuse", sorted(IdReuse))
    def test_the_id_of_a_closed_run_is_free_or_not_as_for_one(
        self, world: World, reuse: IdReuse, status: WorkflowStatus
    ) -> None:
        world.closed("a", status)
        world.closed("b", status)
        one = world.store.create(world.new("a", id_reuse=reuse))
        (many,) = world.store.create_many([world.new("b", id_reuse=reuse)])
        assert many.outcome is one.outcome

    def test_of_two_with_one_id_the_first_counts(self, world: World) -> None:
        first, second = world.new("order-1"), world.new("order-1")
        assert _told(world.store.create_many([first, world.new(), second]))[::2] == [
            (CreateOutcome.CREATED, first.run_id),
            (CreateOutcome.OPEN_EXISTS, first.run_id),
        ]
        assert {run.run_id for run in world.store.list(world.namespace, RunFilter())} >= {first.run_id}
        assert world.store.find_run(world.namespace, run_id=second.run_id) is None

    def test_of_two_with_one_start_key_the_first_counts(self, world: World) -> None:
        first, second = world.new(start_key="task-1"), world.new(start_key="task-1")
        assert _told(world.store.create_many([first, second, first])) == [
            (CreateOutcome.CREATED, first.run_id),
            (CreateOutcome.SAME_START, first.run_id),
            (CreateOutcome.SAME_START, first.run_id),
        ]

    def test_the_third_of_one_id_is_no_start_where_the_second_was_none(self, world: World) -> None:
        """The second shares its id with the first and its key with the third: only the first is in the third's way."""
        first, second = world.new("order-1"), world.new("order-1", start_key="task-1")
        third = world.new("order-2", start_key="task-1")
        assert _told(world.store.create_many([first, second, third])) == [
            (CreateOutcome.CREATED, first.run_id),
            (CreateOutcome.OPEN_EXISTS, first.run_id),
            (CreateOutcome.CREATED, third.run_id),
        ]

    def test_the_same_ids_in_two_namespaces_are_two_workflows(self, world: World) -> None:
        other = f"{world.namespace}-other"
        news = [world.new("order-1", start_key="k"), world.new("order-1", start_key="k", namespace=other)]
        created = world.store.create_many(news)
        assert _told(created) == [(CreateOutcome.CREATED, new.run_id) for new in news]
        turns = [world.store.tasks(new.run_id) for new in news]
        assert [row.namespace for rows in turns for row in rows] == [world.namespace, other]

    # -- once more -----------------------------------------------------------------------------------

    def test_starts_repeated_after_a_lost_answer_are_the_same_starts(self, world: World) -> None:
        news = [world.new() for _ in range(5)]
        runs: list[Run] = [each.run for each in world.store.create_many(news[:3])]
        again = world.second.create_many(news)
        assert [each.outcome for each in again] == [CreateOutcome.SAME_START] * 3 + [CreateOutcome.CREATED] * 2
        assert [each.run for each in again[:3]] == runs

    def test_a_run_id_is_never_used_twice(self, world: World) -> None:
        first = world.new()
        with pytest.raises(StoreError, match="a run id is never used twice"):
            world.store.create_many([first, world.new(run_id=first.run_id), world.new()])

    def test_after_one_that_json_can_not_hold_the_others_can_be_started(self, world: World) -> None:
        news = [world.new(), world.new(input={"args": [object()], "kwargs": {}}), world.new()]
        with pytest.raises(TypeError):
            world.store.create_many(news)
        assert world.store.find_run(world.namespace, run_id=news[1].run_id) is None
        news[1] = replace(news[1], input=None)
        again = world.store.create_many(news)
        assert [each.run.run_id for each in again] == [new.run_id for new in news]

    # -- at once -------------------------------------------------------------------------------------

    def test_of_crowds_that_start_the_same_ids_each_id_has_one_winner(self, world: World) -> None:
        for turn in range(max(self.rounds // 5, 1)):
            ids = [f"order-{turn}-{number}" for number in range(8)]
            # Each in another order: waiting for one another in a circle would be a deadlock.
            crowd: list[list[NewRun]] = [
                [world.new(each) for each in (*ids[start:], *ids[:start])] for start in range(CROWD)
            ]
            stores = [world.store, world.second] * (CROWD // 2)
            created = race(*(partial(store.create_many, news) for store, news in zip(stores, crowd, strict=True)))
            outcomes = Counter(each.outcome for told in created for each in told)
            assert outcomes == {
                CreateOutcome.CREATED: len(ids),
                CreateOutcome.OPEN_EXISTS: len(ids) * (CROWD - 1),
            }
            assert len({each.run.run_id for told in created for each in told}) == len(ids)

    def test_one_of_many_same_starts_creates_alone_and_among_others(self, world: World) -> None:
        for _ in range(max(self.rounds // 5, 1)):
            key = uuid.uuid4().hex
            alone = [world.new(start_key=key) for _ in range(2)]
            among = [[world.new(), world.new(start_key=key), world.new()] for _ in range(2)]
            calls = [partial(store.create, new) for store, new in zip((world.store, world.second), alone, strict=True)]
            crowds = [
                partial(store.create_many, news) for store, news in zip((world.store, world.second), among, strict=True)
            ]
            *ones, first, second = race(*calls, *crowds)
            outcomes = Counter(each.outcome for each in (*ones, first[1], second[1]))
            assert outcomes == {CreateOutcome.CREATED: 1, CreateOutcome.SAME_START: 3}
            assert {each.outcome for told in (first, second) for each in told[::2]} == {CreateOutcome.CREATED}
