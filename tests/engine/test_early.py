"""Hints that go out while their commit is on its way: they may be too early, too late for that, or about what never came to be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from celeriac import RetryPolicy, WorkflowContext
from celeriac.executors.local import JumpingClock
from celeriac.orchestrator.attempts import Attempts
from celeriac.orchestrator.early import MOST, PATIENCE, mark_of
from celeriac.orchestrator.model import Claim, Commit, CommitOutcome
from celeriac.orchestrator.ports import ActivityReady, Early, Hint
from celeriac.stores.memory import InMemoryStore
from celeriac.testing.environment import WorkflowEnvironment
from tests.workflows import make


class Interrupt(Exception):
    """Raised into a thread from outside, as a soft time limit is."""


class Overlapping(InMemoryStore):
    """A store that calls back before a commit is written: whoever is told meanwhile finds nothing yet."""

    def __init__(self, clock: JumpingClock) -> None:
        super().__init__(clock)
        self.before_commit: list[Callable[[Commit], None]] = []
        self.outcomes: list[CommitOutcome] = []

    def commit_meanwhile(self, commit: Commit, meanwhile: Callable[[], None]) -> CommitOutcome:
        meanwhile()
        meanwhile()  # as where the statement has to be sent again
        if self.before_commit:
            self.before_commit.pop(0)(commit)
        self.outcomes.append(self.commit(commit))
        return self.outcomes[-1]


class World:
    """An environment whose hints are kept here, and handed over by the test."""

    def __init__(self, mode: str = "inline") -> None:
        self.clock = JumpingClock(1_900_000_000_000_000)
        self.env: WorkflowEnvironment = make(mode, clock=self.clock, store=Overlapping(self.clock))
        self.executor = self.env.executor
        self.early: list[ActivityReady] = []
        self.late: list[Hint] = []
        self.publishing: Callable[[], None] = lambda: None
        dispatcher: Any = self.executor.dispatcher
        dispatcher.publish_early, self._publish = self._publish_early, dispatcher.publish
        dispatcher.publish = self._publish_late
        self.pauses: list[float] = []
        self.asleep: Callable[[], None] = lambda: None
        self.attempts = Attempts(self.executor.engine, sleep=self._sleep)

    @property
    def store(self) -> Overlapping:
        store = self.executor.store
        assert isinstance(store, Overlapping)
        return store

    def _publish_early(self, hints: Sequence[ActivityReady]) -> bool:
        self.publishing()
        self.early += hints
        self._publish(hints)
        return True

    def _publish_late(self, hints: Sequence[Hint]) -> None:
        self.late += hints
        self._publish(hints)

    def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.asleep()

    def claim(self, hint: ActivityReady) -> Claim | None:
        return self.attempts.claim(hint.run.run_id, hint.seq, attempt=hint.attempt, early=hint.early)


@pytest.fixture
def world() -> World:
    return World()


async def two_steps(ctx: WorkflowContext) -> str:
    return await ctx.execute_activity("step", 1) + await ctx.execute_activity("step", 2)


def _declare(world: World, fn: Any = two_steps) -> Any:
    @world.env.activity(name="step")
    def step(number: int) -> str:
        return str(number)

    return world.env.workflow(fn, name="steps")


def test_each_hint_goes_out_once_and_early(world: World) -> None:
    handle = world.env.start(_declare(world))
    assert handle.result() == "12"
    assert [(each.seq, each.early) for each in world.early] == [
        (seq, Early(version, mark_of(each.data, each.queue)))
        for (seq, version), each in zip([(1, 2), (2, 5)], world.early, strict=True)
    ]
    assert world.early[0].early != world.early[1].early
    assert not any(isinstance(each, ActivityReady) for each in world.late)


def test_a_fan_out_waits_for_its_commit(world: World) -> None:
    async def many(ctx: WorkflowContext) -> int:
        return len(await asyncio.gather(*(ctx.execute_activity("step", number) for number in range(MOST + 1))))

    assert world.env.start(_declare(world, many)).result() == MOST + 1
    assert world.early == []
    assert sum(isinstance(each, ActivityReady) for each in world.late) == MOST + 1


def test_an_activity_with_one_attempt_waits_for_its_commit(world: World) -> None:
    @world.env.activity(name="step", retry=RetryPolicy(max_attempts=1))
    def step(number: int) -> str:
        return str(number)

    @world.env.workflow(name="steps")
    async def once(ctx: WorkflowContext) -> str:
        return await ctx.execute_activity(step, 1)

    assert world.env.start(once).result() == "1"
    assert world.early == []
    assert [each.seq for each in world.late if isinstance(each, ActivityReady)] == [1]


def test_a_claim_that_comes_too_early_is_tried_until_the_commit_is_there(world: World) -> None:
    claims: list[Claim | None] = []
    handle = world.env.start(_declare(world))
    commits: list[Commit] = []

    def meanwhile(commit: Commit) -> None:
        world.asleep = lambda: commits or (commits.append(commit), world.store.commit(commit))  # type: ignore[func-returns-value]
        claims.append(world.claim(world.early[-1]))

    world.store.before_commit.append(meanwhile)
    world.executor.step()
    (claim,) = claims
    assert claim is not None
    assert (claim.task.seq, claim.task.data["args"]) == (1, [1])
    assert world.pauses == [0.001]
    assert world.store.outcomes == [CommitOutcome.CONFLICT]  # the test's own commit was faster than the turn's
    assert handle.status() == "running"


def test_it_is_given_up_when_the_commit_takes_too_long(world: World) -> None:
    world.env.start(_declare(world))
    world.store.before_commit.append(lambda _: world.claim(world.early[-1]))  # type: ignore[arg-type, return-value]
    world.executor.step()
    assert world.pauses == pytest.approx([0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.123])
    assert sum(world.pauses) == pytest.approx(PATIENCE)


def test_and_is_not_tried_again_once_the_run_has_moved_on_or_is_gone(world: World) -> None:
    handle = world.env.start(_declare(world))
    assert handle.result() == "12"
    assert [world.claim(each) for each in world.early] == [None, None]  # as when a broker delivers twice
    assert world.store.delete(world.executor.namespace, handle.id) == 1
    assert [world.claim(each) for each in world.early] == [None, None]
    assert world.pauses == []


def test_hints_of_a_commit_that_took_long_go_out_again(world: World) -> None:
    handle = world.env.start(_declare(world))
    world.store.before_commit.append(lambda _: world.clock.advance(PATIENCE))
    world.executor.step()
    (again,) = [each for each in world.late if isinstance(each, ActivityReady)]
    assert again == replace(world.early[0], early=None)
    assert handle.result() == "12"


@pytest.mark.parametrize("error", [ConnectionError("away"), ValueError("no route")])
def test_hints_that_can_not_go_out_early_go_out_late(world: World, error: Exception) -> None:
    def fails() -> None:
        raise error

    world.publishing = fails
    assert world.env.start(_declare(world)).result() == "12"
    assert world.early == []
    assert [each.seq for each in world.late if isinstance(each, ActivityReady)] == [1, 2]


def test_an_interrupt_while_publishing_is_for_whoever_runs_here(world: World) -> None:
    def struck() -> None:
        raise Interrupt

    world.executor.engine._interrupts = (Interrupt,)
    world.publishing = struck
    handle = world.env.start(_declare(world))
    with pytest.raises(Interrupt):
        world.executor.step()
    world.publishing = lambda: None
    assert handle.result() == "12"


@pytest.mark.parametrize("mode", ["cached", "cold"])
def test_a_hint_about_what_never_came_to_be_claims_nothing_else(mode: str) -> None:
    """Two turns at once want different things under one number; the hint of the one that lost finds what the other wants."""
    world, did = World(mode), []

    @world.env.activity(name="step")
    def step(number: int) -> int:
        did.append(number)
        return number

    @world.env.workflow(name="steps")
    async def steps(ctx: WorkflowContext) -> Any:
        return await ctx.execute_activity("step", 1)

    handle = world.env.start(steps)

    def another(commit: Commit) -> None:
        (task,) = commit.tasks
        assert (
            world.store.commit(replace(commit, tasks=[replace(task, data={**task.data, "args": [7]})])) == "committed"
        )

    world.store.before_commit.append(another)
    world.executor.step()
    assert world.store.outcomes == [CommitOutcome.CONFLICT]
    (early,) = world.early

    assert world.claim(early) is None
    own = world.late[-1]
    assert isinstance(own, ActivityReady)
    assert (own.seq, own.attempt, own.data["args"], own.early) == (1, 1, [7], None)
    assert [(each.state, each.attempt) for each in world.store.tasks(early.run.run_id) if each.seq == 1] == [
        ("queued", 1)
    ]
    claim = world.claim(own)
    assert claim is not None
    assert claim.task.data["args"] == [7]
    assert (did, handle.status()) == ([], "running")
