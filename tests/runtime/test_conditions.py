"""Conditions over a workflow's own variables: asked when everything has come to rest, in the order of the waits."""

from __future__ import annotations

import asyncio

import pytest

from celeriac import WorkflowContext, WorkflowFailedError
from tests.workflows import Env


def test_they_are_asked_in_the_order_of_the_waits(env: Env) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> list[str]:
        woken: list[str] = []
        go = False

        async def waiter(name: str) -> None:
            await ctx.wait(lambda: go)
            woken.append(name)

        tasks = [asyncio.create_task(waiter(name)) for name in "cab"]
        await ctx.sleep(1)
        go = True
        await asyncio.gather(*tasks)
        return woken

    handle = env.start(flow)
    assert handle.result() == ["c", "a", "b"]
    assert env.story(handle) == [
        "workflow_started flow()",
        "timer_started #1 1s",
        "timer_fired #1",
        "workflow_completed -> ['c', 'a', 'b']",
    ]


def test_each_is_asked_again_after_the_one_before_has_gone_on(env: Env) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> list[str]:
        permits, took = 0, list[str]()

        async def worker(name: str) -> None:
            nonlocal permits
            await ctx.wait(lambda: permits > 0)
            assert permits > 0  # nobody takes it in between
            permits -= 1
            took.append(name)

        tasks = [asyncio.create_task(worker(name)) for name in "abc"]
        for _ in range(2):
            await ctx.wait_signal("permit")
            permits += 1
        await ctx.sleep(1)
        waiting = [not task.done() for task in tasks]
        for task in tasks:
            task.cancel()
        return [*took, str(waiting)]

    handle = env.start(flow)
    env.settle()
    handle.signal("permit")
    handle.signal("permit")
    assert handle.result() == ["a", "b", "[False, False, True]"]


def test_one_that_holds_already_does_not_wait(env: Env) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        await ctx.wait(lambda: True)
        await ctx.wait(lambda: True, timeout=0)
        return "at once"

    handle = env.start(flow)
    assert handle.result() == "at once"
    assert env.story(handle) == ["workflow_started flow()", "workflow_completed -> 'at once'"]


def test_one_that_comes_true_in_time_leaves_no_timer(env: Env) -> None:
    @env.workflow
    def flow(ctx: WorkflowContext) -> str:
        got: list[str] = []
        ctx.on_signal("item", got.append)
        ctx.wait(lambda: bool(got), timeout=60).result()
        return got[0]

    handle = env.start(flow)
    env.settle()
    handle.signal("item", "tea")
    assert handle.result() == "tea"
    assert env.story(handle) == [
        "workflow_started flow()",
        "timer_started #1 60s",
        "signal_received item('tea')",
        "timer_canceled #1",
        "workflow_completed -> 'tea'",
    ]


@pytest.mark.parametrize("error", [ValueError, SystemExit, GeneratorExit, StopIteration, asyncio.CancelledError])
def test_what_a_condition_raises_belongs_to_the_one_who_waits(env: Env, error: type[BaseException]) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        armed = False

        def condition() -> bool:
            if armed:
                raise error("broken")
            return False

        waiting = asyncio.ensure_future(ctx.wait(condition))
        await ctx.sleep(1)
        armed = True
        try:
            await waiting
        except BaseException as found:  # noqa: BLE001
            return type(found).__name__
        return ""

    assert env.run(flow) == ("RuntimeError" if error is StopIteration else error.__name__)


def test_a_condition_that_raises_and_is_not_caught_fails_the_run(env: Env) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> None:
        await ctx.wait(lambda: {}["missing"])

    with pytest.raises(WorkflowFailedError, match="KeyError: 'missing'"):
        env.run(flow)


def test_many_that_nobody_waits_for_any_more_are_no_burden(env: Env) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> int:
        for _ in range(3000):
            task = ctx.wait(lambda: False)
            await asyncio.sleep(0)
            task.cancel()
        await ctx.sleep(1)
        return 1

    assert env.run(flow) == 1
