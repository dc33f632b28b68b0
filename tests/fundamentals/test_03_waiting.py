"""Waiting for the first of many, or for so long and no longer: what lost the race is given up and leaves nothing behind."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from celeriac import WorkflowContext
from tests.workflows import Env


def test_the_first_of_many_wins_and_the_others_are_canceled(env: Env) -> None:
    @env.activity
    def quote(carrier: str) -> str:
        return f"{carrier} is cheap"

    @env.workflow
    async def ship(ctx: WorkflowContext) -> object:
        return await ctx.first(
            ctx.execute_activity(quote, "post"), ctx.wait_signal("stop"), ctx.sleep(timedelta(minutes=5))
        )

    handle = env.start(ship)

    assert handle.result() == [0, "post is cheap"]
    assert env.story(handle) == [
        "workflow_started ship()",
        "activity_scheduled quote#1('post')",
        "timer_started #2 300s",
        "activity_started quote#1",
        "activity_completed quote#1 -> 'post is cheap'",
        "timer_canceled #2",
        "workflow_completed -> [0, 'post is cheap']",
    ]


def test_a_signal_overtakes_an_activity(env: Env) -> None:
    @env.activity
    def quote(carrier: str) -> str:
        return f"{carrier} is cheap"

    @env.workflow
    async def ship(ctx: WorkflowContext) -> object:
        return await ctx.first(ctx.execute_activity(quote, "post"), ctx.wait_signal("stop"))

    handle = env.start(ship)
    handle.signal("stop", "now")

    assert handle.result() == [1, "now"]
    assert env.story(handle) == [  # nobody was ever asked for a quote
        "workflow_started ship()",
        "signal_received stop('now') early",
        "workflow_completed -> [1, 'now']",
    ]


def test_asyncio_wait_says_what_is_done(env: Env) -> None:
    @env.activity
    def quote(carrier: str) -> str:
        return f"{carrier} is cheap"

    @env.workflow
    async def ship(ctx: WorkflowContext) -> object:
        asked = [ctx.execute_activity(quote, carrier) for carrier in ("post", "drone")]
        done, pending = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        for each in pending:
            each.cancel()
        return [[each.result() for each in done], len(pending)]

    handle = env.start(ship)

    assert handle.result() == [["post is cheap"], 1]
    assert env.story(handle) == [
        "workflow_started ship()",
        "activity_scheduled quote#1('post')",
        "activity_scheduled quote#2('drone')",
        "activity_started quote#1",
        "activity_completed quote#1 -> 'post is cheap'",
        "activity_cancel_requested quote#2",
        "workflow_completed -> [['post is cheap'], 1]",
    ]


def test_a_timeout_that_does_not_strike_leaves_no_timer(env: Env) -> None:
    @env.activity
    def quote() -> int:
        return 7

    @env.workflow
    async def ship(ctx: WorkflowContext) -> int:
        async with asyncio.timeout(60):
            first = await ctx.execute_activity(quote)
        second = await asyncio.wait_for(ctx.execute_activity(quote), 90)
        return first + second

    handle = env.start(ship)

    assert handle.result() == 14
    assert env.story(handle) == [
        "workflow_started ship()",
        "timer_started #1 60s",
        "activity_scheduled quote#2()",
        "activity_started quote#2",
        "activity_completed quote#2 -> 7",
        "timer_canceled #1",
        "activity_scheduled quote#4()",
        "timer_started #5 90s",
        "activity_started quote#4",
        "activity_completed quote#4 -> 7",
        "timer_canceled #5",
        "workflow_completed -> 14",
    ]
    assert env.executor.store.tasks(handle.run_id) == []


def test_a_timeout_that_strikes_gives_up_what_was_waited_for(env: Env) -> None:
    @env.workflow
    async def ship(ctx: WorkflowContext) -> str:
        try:
            async with asyncio.timeout(60):
                return await ctx.wait_signal("carrier")
        except TimeoutError:
            return "nobody came"

    handle = env.start(ship)

    assert handle.result() == "nobody came"
    assert env.story(handle) == [
        "workflow_started ship()",
        "timer_started #1 60s",
        "timer_fired #1",
        "workflow_completed -> 'nobody came'",
    ]


def test_what_is_asked_for_and_given_up_at_once_leaves_no_trace_but_a_gap(env: Env) -> None:
    @env.activity
    def quote(carrier: str) -> str:
        return carrier

    @env.workflow
    async def ship(ctx: WorkflowContext) -> str:
        ctx.execute_activity(quote, "drone").cancel()
        await asyncio.wait_for(asyncio.sleep(0), 60)
        return await ctx.execute_activity(quote, "post")

    handle = env.start(ship)

    assert handle.result() == "post"
    assert env.story(handle) == [
        "workflow_started ship()",
        "activity_scheduled quote#3('post')",
        "activity_started quote#3",
        "activity_completed quote#3 -> 'post'",
        "workflow_completed -> 'post'",
    ]


def test_a_condition_wakes_whoever_waits_for_it(env: Env) -> None:
    @env.workflow
    async def collect(ctx: WorkflowContext) -> list[str]:
        got: list[str] = []
        ctx.on_signal("item", got.append)
        await ctx.wait(lambda: len(got) == 2)
        return got

    handle = env.start(collect)
    env.settle()
    handle.signal("item", "a")
    handle.signal("item", "b")

    assert handle.result() == ["a", "b"]
    assert env.story(handle) == [
        "workflow_started collect()",
        "signal_received item('a')",
        "signal_received item('b')",
        "workflow_completed -> ['a', 'b']",
    ]


def test_waiting_for_a_condition_may_be_limited(env: Env) -> None:
    @env.workflow
    async def collect(ctx: WorkflowContext) -> str:
        try:
            await ctx.wait(lambda: False, timeout=timedelta(hours=1))
        except TimeoutError:
            return "gave up"
        return "got it"

    handle = env.start(collect)

    assert handle.result() == "gave up"
    assert env.story(handle) == [
        "workflow_started collect()",
        "timer_started #1 3600s",
        "timer_fired #1",
        "workflow_completed -> 'gave up'",
    ]
