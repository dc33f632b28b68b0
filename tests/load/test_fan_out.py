"""What one activity of many costs, counted in calls: as much among a thousand as among a hundred."""

from __future__ import annotations

import asyncio
import cProfile
import pstats
from collections.abc import Callable
from typing import Any, Final

import pytest

from celeriac.activities.definition import ActivityDefinition
from celeriac.executors.local import JumpingClock, LocalExecutor
from celeriac.orchestrator.context import WorkflowContext
from celeriac.orchestrator.definition import Registry, WorkflowDefinition
from celeriac.orchestrator.engine import TurnOutcome
from celeriac.orchestrator.executor import WorkflowHandle, WorkflowOptions
from celeriac.orchestrator.loading import MOST_OUTSTANDING
from celeriac.orchestrator.model import TurnView
from celeriac.stores.memory import InMemoryStore

FEW: Final = 100
MANY: Final = 1_000
OUTCOMES: Final = 40
Fan = Callable[[WorkflowContext, int], Any]


def step(number: int) -> int:
    return number


STEP: Final = ActivityDefinition("step", step)


async def one(ctx: WorkflowContext, number: int) -> int:
    return int(await ctx.execute_activity(STEP, number))


async def futures(ctx: WorkflowContext, count: int) -> int:
    return sum(await asyncio.gather(*(ctx.execute_activity(STEP, each) for each in range(count))))


async def coroutines(ctx: WorkflowContext, count: int) -> int:
    return sum(await asyncio.gather(*(one(ctx, each) for each in range(count))))


async def group(ctx: WorkflowContext, count: int) -> int:
    async with asyncio.TaskGroup() as tasks:
        found = [tasks.create_task(one(ctx, each)) for each in range(count)]
    return sum(each.result() for each in found)


async def as_they_come(ctx: WorkflowContext, count: int) -> int:
    return sum([await each for each in asyncio.as_completed([one(ctx, each) for each in range(count)])])


async def a_few_at_once(ctx: WorkflowContext, count: int) -> int:
    free = asyncio.Semaphore(20)

    async def when_free(number: int) -> int:
        async with free:
            return await one(ctx, number)

    return sum(await asyncio.gather(*(when_free(each) for each in range(count))))


async def local(ctx: WorkflowContext, count: int) -> int:
    return sum(await asyncio.gather(*(ctx.execute_local_activity(step, each) for each in range(count))))


def plain(ctx: WorkflowContext, count: int) -> int:
    return sum(each.result() for each in [ctx.execute_activity(STEP, each) for each in range(count)])


async def timers(ctx: WorkflowContext, count: int) -> int:
    await asyncio.gather(*(ctx.sleep(each + 1) for each in range(count)))
    return sum(range(count))


FANS: Final[list[Fan]] = [futures, coroutines, group, as_they_come, a_few_at_once, local, plain, timers]


def started(fan: Fan, count: int) -> tuple[LocalExecutor, WorkflowHandle[Any]]:
    clock, registry = JumpingClock(), Registry()
    registry.add_workflow(WorkflowDefinition("fan", fan))
    registry.activities["step"] = STEP
    executor = LocalExecutor(registry, InMemoryStore(clock), clock=clock)
    return executor, executor.execute("fan", WorkflowOptions(args=(count,)))


def calls(act: Callable[[], Any]) -> int:
    """Return how many calls of functions, Python's own included, it takes to do something."""
    profile = cProfile.Profile()
    profile.runcall(act)
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]  # typeshed lacks it


@pytest.mark.parametrize("fan", FANS, ids=lambda fan: fan.__name__)
def test_an_activity_among_a_thousand_costs_what_one_among_a_hundred_does(fan: Fan) -> None:
    def each(count: int) -> float:
        executor, handle = started(fan, count)
        taken = calls(executor.drive)
        assert handle.result() == sum(range(count))
        return taken / count

    each(10)  # what is made once has been made
    assert each(MANY) <= 1.1 * each(FEW)


def outcomes(fan: Fan, count: int) -> int:
    """Return what turns cost that take one outcome each, of a run that waits for many."""
    executor, handle = started(fan, count)
    executor.engine.turn(handle.run_id)

    def some() -> None:
        for seq in range(1, OUTCOMES + 1):
            claim = executor.attempts.claim(handle.run_id, seq, attempt=1)
            assert claim is not None
            assert executor.attempts.completed(claim, seq)
            executor.engine.turn(handle.run_id)

    taken = calls(some)
    completed = [each for each in executor.history(handle.id) if each.type == "activity_completed"]
    assert len(completed) == OUTCOMES
    return taken


@pytest.mark.parametrize("fan", [futures, coroutines, group, as_they_come, plain], ids=lambda fan: fan.__name__)
def test_the_turn_of_one_outcome_does_not_look_at_the_others(fan: Fan) -> None:
    outcomes(fan, OUTCOMES)
    assert outcomes(fan, MANY) <= 1.1 * outcomes(fan, FEW)


@pytest.mark.parametrize("width", [MOST_OUTSTANDING, MOST_OUTSTANDING + 1])
def test_a_claim_among_many_brings_nothing_along_that_no_inline_turn_will_use(width: int) -> None:
    executor, handle = started(futures, width)
    executor.engine.turn(handle.run_id)
    known = executor.engine.cache.known(handle.run_id)
    assert known is not None
    assert executor.engine.loader.known_to_claim(handle.run_id) == (known if width == MOST_OUTSTANDING else None)


class CountingStore(InMemoryStore):
    """Counts how often somebody reads a run without claiming its turn."""

    reads = 0

    def read_turn(self, run_id: str, *, known: tuple[str, int] | None) -> TurnView | None:
        self.reads += 1
        return super().read_turn(run_id, known=known)


def test_a_process_that_has_not_seen_the_run_looks_at_it_once_while_outcomes_wait_in_its_inbox() -> None:
    """Each look would read the whole history and all that waits: a thousand times a thousand."""
    clock, registry = JumpingClock(), Registry()
    registry.add_workflow(WorkflowDefinition("fan", futures))
    registry.activities["step"] = STEP
    store = CountingStore(clock)
    first, second = (LocalExecutor(registry, store, clock=clock) for _ in range(2))
    handle = first.execute("fan", WorkflowOptions(args=(FEW,)))
    first.engine.turn(handle.run_id)

    def complete(executor: LocalExecutor, *seqs: int) -> int:
        before = store.reads
        for seq in seqs:
            claim = executor.attempts.claim(handle.run_id, seq, attempt=1)
            assert claim is not None
            assert executor.attempts.completed(claim, seq, inline=True)  # what it returns is its number here
        return store.reads - before

    assert complete(first, *range(1, 10)) == 0
    assert complete(second, *range(10, 50)) == 1

    assert (
        second.engine.turn(handle.run_id) is TurnOutcome.COMMITTED
    )  # now it has the run in memory, and knows without a look
    assert complete(second, *range(50, FEW - 2)) == 0
    first.engine.turn(handle.run_id)
    assert complete(first, FEW - 2, FEW - 1, FEW) == 0
    assert handle.result() == sum(range(FEW + 1))


def test_a_process_that_has_not_seen_a_young_run_has_it_from_the_claim() -> None:
    async def row(ctx: WorkflowContext, count: int) -> int:
        return sum([await ctx.execute_activity(STEP, number) for number in range(count)])

    clock, registry = JumpingClock(), Registry()
    registry.add_workflow(WorkflowDefinition("row", row))
    registry.activities["step"] = STEP
    store = CountingStore(clock)
    starter, *others = (LocalExecutor(registry, store, clock=clock) for _ in range(4))
    handle = starter.execute("row", WorkflowOptions(args=(6,)))
    starter.engine.turn(handle.run_id)

    for seq, executor in enumerate([*others, *others], 1):
        claim = executor.attempts.claim(handle.run_id, seq, attempt=1)
        assert claim is not None
        assert executor.attempts.completed(claim, seq, inline=True)

    assert handle.result() == 21
    assert store.reads == 0
