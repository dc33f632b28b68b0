"""The local executor: one process, a clock that jumps, and nothing that goes round in circles."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from celeriac import ActivityError, RetryPolicy, WorkflowContext
from celeriac.errors import ResultTimeout, WorkflowNotFound
from celeriac.executors.local import JumpingClock, QueueDispatcher
from celeriac.orchestrator.model import SECOND, RunRef
from celeriac.orchestrator.ports import ActivityReady, TurnReady
from celeriac.orchestrator.status import WorkflowStatus
from celeriac.testing.environment import WorkflowEnvironment
from tests.workflows import Env


def test_the_clock_jumps_no_further_than_it_has_to(env: Env) -> None:
    @env.activity(retry=RetryPolicy(max_attempts=4, initial_interval=0.1, jitter=0))
    def charge() -> None:
        raise ConnectionError("no answer")

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        try:
            await ctx.execute_activity(charge)
        except ActivityError:
            return

    begun = env.now
    env.run(fulfil)
    assert round((env.now - begun).total_seconds(), 2) == 0.7  # 0.1 + 0.2 + 0.4


def test_advancing_lets_things_happen_at_their_time(env: Env) -> None:
    seen: list[float] = []

    @env.workflow
    async def tick(ctx: WorkflowContext) -> None:
        while True:
            await ctx.sleep(60)
            seen.append(round((ctx.now() - begun).total_seconds()))

    begun = env.now
    handle = env.start(tick)
    env.advance(59)
    assert (seen, round((env.now - begun).total_seconds())) == ([], 59)
    env.advance(121)
    assert seen[-1] == 180
    assert len(env.history(handle)) == 1 + 1 + 3 * 2
    assert round((env.now - begun).total_seconds()) == 180


def test_a_workflow_that_never_ends_is_waited_for_no_longer_than_asked(env: Env) -> None:
    @env.workflow
    async def tick(ctx: WorkflowContext) -> None:
        while True:
            await ctx.sleep(60)

    handle = env.start(tick)
    with pytest.raises(
        ResultTimeout, match=r"has no result after 0.1 s: it waits for timer until .*, since .* It goes on"
    ):
        handle.result(timeout=0.1)


def test_a_run_that_waits_is_not_confused_by_one_that_is_blocked(env: Env) -> None:
    @env.workflow
    async def held(ctx: WorkflowContext) -> None:
        open("/dev/null").close()  # noqa: ASYNC230, PTH123

    @env.workflow
    async def patient(ctx: WorkflowContext) -> str:
        return await ctx.wait_signal("never")

    stuck = env.start(held)
    handle = env.start(patient)
    with pytest.raises(ResultTimeout, match="it waits for signal 'never'"):
        handle.result()
    assert stuck.status() == WorkflowStatus.BLOCKED


def test_results_may_be_awaited(env: Env) -> None:
    @env.activity
    async def fetch() -> str:
        await asyncio.sleep(0)
        return "fetched"

    @env.workflow
    async def crawl(ctx: WorkflowContext) -> str:
        await ctx.sleep(3600)
        return await ctx.execute_activity(fetch)

    @env.workflow
    def crawl_plainly(ctx: WorkflowContext) -> str:
        ctx.sleep(3600)
        return str(ctx.execute_activity(fetch).result())

    async def main() -> list[str]:
        handles = [env.start(crawl), env.start(crawl_plainly)]
        env.settle()  # live runs are kept for this thread, and the results are waited for in others
        return list(await asyncio.gather(*handles))

    assert asyncio.run(main()) == ["fetched", "fetched"]


def test_activities_run_where_no_loop_runs(env: Env) -> None:
    @env.activity
    def work() -> int:
        return asyncio.run(asyncio.sleep(0, 7))

    @env.activity
    def interrupted() -> None:
        raise KeyboardInterrupt

    @env.workflow
    async def flow(ctx: WorkflowContext) -> int:
        return await ctx.execute_activity(work)

    @env.workflow
    async def other(ctx: WorkflowContext) -> None:
        await ctx.execute_activity(interrupted)

    async def main() -> int:
        with pytest.raises(KeyboardInterrupt):
            env.run(other)
        return int(env.run(flow))

    assert asyncio.run(main()) == 7


def test_many_threads_may_use_it(env: Env) -> None:
    @env.activity
    def double(n: int) -> int:
        return 2 * n

    @env.workflow
    def flow(ctx: WorkflowContext, n: int) -> int:
        return ctx.execute_activity(double, n).result() + ctx.execute_activity(double, n).result()

    results: dict[int, int] = {}

    def run(n: int) -> None:
        results[n] = env.run(flow, n)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert results == {n: 4 * n for n in range(8)}


def test_an_activity_may_run_a_workflow_of_its_own(env: Env) -> None:
    @env.workflow
    async def inner(ctx: WorkflowContext) -> str:
        await ctx.sleep(1)
        return "inner"

    @env.activity
    def work() -> str:
        return str(env.run(inner))

    @env.workflow
    async def outer(ctx: WorkflowContext) -> str:
        return await ctx.execute_activity(work)

    assert env.run(outer) == "inner"


def test_the_seed_makes_everything_the_same() -> None:
    def play() -> list[Any]:
        env = WorkflowEnvironment(seed=7)

        @env.workflow
        async def flow(ctx: WorkflowContext) -> str:
            await ctx.wait_signal("go")
            return str(ctx.uuid4())

        handle = env.start(flow)
        env.settle()
        handle.signal("go")
        handle.result()
        return [handle.id, handle.run_id, *env.history(handle)]

    assert play() == play()
    assert WorkflowEnvironment(seed=8).executor.fresh_id() != WorkflowEnvironment(seed=7).executor.fresh_id()
    assert WorkflowEnvironment(seed=None).executor.fresh_id() != WorkflowEnvironment(seed=None).executor.fresh_id()


def test_a_run_that_is_not_there_is_not_found(env: Env) -> None:
    ask: list[Callable[[], Any]] = [
        lambda: env.handle("nobody"),
        lambda: env.history("nobody"),
        lambda: env.executor.terminate("nobody"),
        lambda: env.executor.query("nobody", "status"),
        lambda: env.executor.result("nobody"),
    ]
    for each in ask:
        with pytest.raises(WorkflowNotFound, match="no workflow with id 'nobody' was found"):
            each()


def test_hints_come_in_their_order_and_at_their_time() -> None:
    clock = JumpingClock(0)
    dispatcher = QueueDispatcher(clock)
    run = RunRef("r", "w", "n", "flow", None, WorkflowStatus.RUNNING)
    first, second = TurnReady(run), ActivityReady(run, 1, 1)
    later, sooner = ActivityReady(run, 2, 1, delay=2.0), TurnReady(run, delay=1.0)
    dispatcher.publish([later, first, sooner, second])
    assert [dispatcher.take() for _ in range(3)] == [first, second, None]
    assert dispatcher.next_due() == SECOND
    clock.advance_to(SECOND)
    assert (dispatcher.take(), dispatcher.take()) == (sooner, None)
    clock.advance(1)
    assert (dispatcher.take(), dispatcher.next_due()) == (later, None)
    assert dispatcher.backlog("any") == 0


def test_the_clock_never_goes_back() -> None:
    clock = JumpingClock(10)
    clock.advance_to(5)
    assert (clock.now, clock(), clock()) == (10, 11, 12)
    assert JumpingClock().now > 1_700_000_000 * SECOND
