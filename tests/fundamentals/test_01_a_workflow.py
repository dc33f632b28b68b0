"""A workflow is a function that asks for things and waits for them. What it asked for, and what came back, is its history."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from celeriac import WorkflowContext
from tests.workflows import Env


def test_a_workflow_returns(env: Env) -> None:
    @env.workflow
    async def greet(ctx: WorkflowContext, name: str) -> str:
        return f"hello, {name}"

    handle = env.start(greet, "world")

    assert handle.result() == "hello, world"
    assert handle.status() == "completed"
    assert env.story(handle) == [
        "workflow_started greet('world')",
        "workflow_completed -> 'hello, world'",
    ]


def test_it_has_activities_done(env: Env) -> None:
    @env.activity
    def charge(order: str, cents: int) -> str:
        return f"{order}: {cents} cents"

    @env.workflow
    async def fulfil(ctx: WorkflowContext, order: str) -> str:
        return await ctx.execute_activity(charge, order, 4200)

    handle = env.start(fulfil, "A-17")

    assert handle.result() == "A-17: 4200 cents"
    assert env.story(handle) == [
        "workflow_started fulfil('A-17')",
        "activity_scheduled charge#1('A-17', 4200)",
        "activity_started charge#1",
        "activity_completed charge#1 -> 'A-17: 4200 cents'",
        "workflow_completed -> 'A-17: 4200 cents'",
    ]


def test_one_after_the_other(env: Env) -> None:
    @env.activity
    def double(n: int) -> int:
        return 2 * n

    @env.workflow
    async def grow(ctx: WorkflowContext) -> int:
        n = 1
        for _ in range(3):
            n = await ctx.execute_activity(double, n)
        return n

    handle = env.start(grow)

    assert handle.result() == 8
    assert env.story(handle) == [
        "workflow_started grow()",
        "activity_scheduled double#1(1)",
        "activity_started double#1",
        "activity_completed double#1 -> 2",
        "activity_scheduled double#2(2)",
        "activity_started double#2",
        "activity_completed double#2 -> 4",
        "activity_scheduled double#3(4)",
        "activity_started double#3",
        "activity_completed double#3 -> 8",
        "workflow_completed -> 8",
    ]


def test_side_by_side(env: Env) -> None:
    @env.activity
    def double(n: int) -> int:
        return 2 * n

    @env.workflow
    async def spread(ctx: WorkflowContext) -> list[int]:
        return await asyncio.gather(*(ctx.execute_activity(double, n) for n in (1, 2, 3)))

    handle = env.start(spread)

    assert handle.result() == [2, 4, 6]
    assert env.story(handle) == [
        "workflow_started spread()",
        "activity_scheduled double#1(1)",
        "activity_scheduled double#2(2)",
        "activity_scheduled double#3(3)",
        "activity_started double#1",
        "activity_completed double#1 -> 2",
        "activity_started double#2",
        "activity_completed double#2 -> 4",
        "activity_started double#3",
        "activity_completed double#3 -> 6",
        "workflow_completed -> [2, 4, 6]",
    ]


def test_it_sleeps_for_a_year_without_anybody_staying_awake(env: Env) -> None:
    @env.workflow
    async def hibernate(ctx: WorkflowContext) -> str:
        before = ctx.now()
        await ctx.sleep(timedelta(days=365))
        return str(ctx.now() - before > timedelta(days=365))

    handle = env.start(hibernate)
    env.settle()
    assert handle.describe().waits == ("timer until 2031-01-01T00:00:00.000+00:00",)

    assert handle.result() == "True"
    assert env.story(handle) == [
        "workflow_started hibernate()",
        "timer_started #1 31536000s",
        "timer_fired #1",
        "workflow_completed -> 'True'",
    ]


def test_plain_functions_are_workflows_too(env: Env) -> None:
    @env.activity
    def double(n: int) -> int:
        return 2 * n

    @env.workflow
    def nightly(ctx: WorkflowContext, numbers: list[int]) -> list[int]:
        started = [ctx.execute_activity(double, n) for n in numbers]  # side by side
        ctx.sleep(timedelta(hours=1))  # waits right here
        return [each.result() for each in started]

    handle = env.start(nightly, [1, 2])

    assert handle.result() == [2, 4]
    assert env.story(handle) == [
        "workflow_started nightly([1, 2])",
        "activity_scheduled double#1(1)",
        "activity_scheduled double#2(2)",
        "timer_started #3 3600s",
        "activity_started double#1",
        "activity_completed double#1 -> 2",
        "activity_started double#2",
        "activity_completed double#2 -> 4",
        "timer_fired #3",
        "workflow_completed -> [2, 4]",
    ]
