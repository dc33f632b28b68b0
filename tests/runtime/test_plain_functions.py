"""Plain ``def`` workflows: the same context, and the very history that the ``async def`` twin has."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from celeriac import ActivityError, RetryPolicy, WorkflowContext
from tests.workflows import Env


class Twins:
    """Pairs of workflows, each pair the same program written both ways."""

    async def sequence(self, ctx: WorkflowContext) -> Any:
        first = await ctx.execute_activity("work", 1)
        return first + await ctx.execute_activity("work", 2)

    def sequence_plainly(self, ctx: WorkflowContext) -> Any:
        first = ctx.execute_activity("work", 1).result()
        return first + ctx.execute_activity("work", 2).result()

    async def side_by_side(self, ctx: WorkflowContext) -> Any:
        futures = [ctx.execute_activity("work", n) for n in range(3)]
        return [await each for each in futures]

    def side_by_side_plainly(self, ctx: WorkflowContext) -> Any:
        futures = [ctx.execute_activity("work", n) for n in range(3)]
        return [each.result() for each in futures]

    async def sleep_in_a_loop(self, ctx: WorkflowContext) -> Any:
        for n in range(3):
            await ctx.sleep(timedelta(seconds=n))
        return (ctx.now() - ctx.now()).total_seconds()

    def sleep_in_a_loop_plainly(self, ctx: WorkflowContext) -> Any:
        for n in range(3):
            ctx.sleep(timedelta(seconds=n))
        return (ctx.now() - ctx.now()).total_seconds()

    async def a_failure(self, ctx: WorkflowContext) -> Any:
        try:
            await ctx.execute_activity("fail")
        except ActivityError as error:
            return str(error)

    def a_failure_plainly(self, ctx: WorkflowContext) -> Any:
        try:
            ctx.execute_activity("fail").result()
        except ActivityError as error:
            return str(error)
        return None

    async def first_of_many(self, ctx: WorkflowContext) -> Any:
        return await ctx.first(ctx.execute_activity("work", 1), ctx.wait_signal("go", timeout=60))

    def first_of_many_plainly(self, ctx: WorkflowContext) -> Any:
        return ctx.first(ctx.execute_activity("work", 1), ctx.wait_signal("go", timeout=60)).result()

    async def a_limited_wait(self, ctx: WorkflowContext) -> Any:
        try:
            await ctx.wait_signal("never", timeout=60)
        except TimeoutError:
            return await ctx.wait_signal("go")

    def a_limited_wait_plainly(self, ctx: WorkflowContext) -> Any:
        try:
            ctx.wait_signal("never", timeout=60).result()
        except TimeoutError:
            return ctx.wait_signal("go").result()
        return None

    async def the_reproducible(self, ctx: WorkflowContext) -> Any:
        rolled = ctx.side_effect(lambda: 4)
        await ctx.sleep(1)
        return [rolled, str(ctx.uuid4()), ctx.random().random(), ctx.patched("p")]

    def the_reproducible_plainly(self, ctx: WorkflowContext) -> Any:
        rolled = ctx.side_effect(lambda: 4)
        ctx.sleep(1)
        return [rolled, str(ctx.uuid4()), ctx.random().random(), ctx.patched("p")]

    async def helpers(self, ctx: WorkflowContext) -> Any:
        async def one(n: int) -> Any:
            return await ctx.execute_activity("work", n)

        return sorted([await one(n) for n in (2, 1)], key=lambda n: -n)

    def helpers_plainly(self, ctx: WorkflowContext) -> Any:
        return sorted(
            map(lambda n: ctx.execute_activity("work", n).result(), (2, 1)),  # noqa: C417 - waits inside C
            key=lambda n: -n,
        )


PAIRS = [name for name in vars(Twins) if not name.startswith("_") and not name.endswith("_plainly")]


@pytest.mark.parametrize("name", PAIRS)
def test_the_twin_has_the_same_history(env: Env, name: str) -> None:
    @env.activity
    def work(n: int) -> int:
        return n * 10

    @env.activity(retry=RetryPolicy.never())
    def fail() -> None:
        raise ValueError("no")

    def told(code: Any) -> tuple[Any, list[str]]:
        env.executor._dice.seed(1)  # type: ignore[union-attr]
        handle = env.start(env.workflow(name="flow")(code), id=f"{code.__name__}")
        env.settle()
        env.advance(90)
        if handle.status().open:
            handle.signal("go", "gone")
        result, story = handle.result(), env.story(handle)
        env.check_replay()
        env.executor.store.delete(env.executor.namespace, handle.id)
        return result, story

    twins = Twins()
    one, other = told(getattr(twins, name)), told(getattr(twins, f"{name}_plainly"))
    assert one == other
    assert len(one[1]) > 1


def test_waiting_is_for_the_workflow_s_own_code(env: Env) -> None:
    @env.activity
    def work() -> None: ...

    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        try:
            ctx.execute_activity(work).result()
        except asyncio.InvalidStateError as error:
            return str(error)
        return ""

    assert env.run(flow) == (
        "the activity 'work' has no result yet: write 'await' in an 'async def' workflow and in what it calls"
    )


def test_two_plain_functions_side_by_side(env: Env) -> None:
    """Tasks of an ``async def`` workflow may wait in plain helpers only by awaiting; plain workflows start first, wait then."""

    @env.activity
    def work(n: int) -> int:
        return n

    @env.workflow
    def flow(ctx: WorkflowContext) -> list[int]:
        started = [ctx.execute_activity(work, n) for n in range(2)]
        timer = ctx.wait(lambda: False, timeout=5)
        got = [each.result() for each in started]
        try:
            timer.result()
        except TimeoutError:
            got.append(-1)
        return got

    handle = env.start(flow)
    assert handle.result() == [0, 1, -1]
    assert env.story(handle) == [
        "workflow_started flow()",
        "activity_scheduled work#1(0)",
        "activity_scheduled work#2(1)",
        "timer_started #3 5s",
        "activity_started work#1",
        "activity_completed work#1 -> 0",
        "activity_started work#2",
        "activity_completed work#2 -> 1",
        "timer_fired #3",
        "workflow_completed -> [0, 1, -1]",
    ]


def test_finally_blocks_run_once_and_for_real(env: Env) -> None:
    closed: list[str] = []

    @env.activity
    def close() -> None:
        closed.append("closed")

    @env.workflow
    def flow(ctx: WorkflowContext) -> str:
        try:
            ctx.wait_signal("go").result()
        finally:
            ctx.execute_activity(close).result()
        return "done"

    handle = env.start(flow)
    for _ in range(3):
        env.settle()
        env.executor.engine.cache.clear()
    assert closed == []
    handle.signal("go")
    assert handle.result() == "done"
    assert closed == ["closed"]
