"""Turns that make calls of local activities: how many they make, what arrives meanwhile, and what strikes them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from celeriac import (
    WorkflowContext,
)
from celeriac.orchestrator.ports import ActivityReady, RunFinished
from celeriac.orchestrator.status import WorkflowStatus
from tests.workflows import Env


@pytest.mark.parametrize("side_by_side", [True, False])
def test_a_thousand_and_more(env: Env, side_by_side: bool) -> None:
    def double(value: int) -> int:
        return 2 * value

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> int:
        if side_by_side:
            return sum(await asyncio.gather(*(ctx.execute_local_activity(double, each) for each in range(1_500))))
        return sum([await ctx.execute_local_activity(double, each) for each in range(1_500)])

    env.replayable = False  # each of its steps from the beginning is a million of them
    handle = env.start(fulfil)

    assert handle.result() == 1_499 * 1_500
    assert len(env.history(handle)) == 1_502
    assert handle.describe().turns == 2  # a thousand outcomes are committed, then the others


def test_a_turn_commits_after_a_second(env: Env) -> None:
    def slow(number: int) -> int:
        env.clock.advance(0.4)
        return number

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> list[Any]:
        signals = ctx.receive_signal("go")
        values = [await ctx.execute_local_activity(slow, each) for each in range(7)]
        return [*values, await signals]

    handle = env.start(fulfil)
    handle.signal("go", "on")

    assert handle.result() == [*range(7), "on"]
    assert handle.describe().turns == 3


def test_what_arrives_meanwhile_is_taken_between_two_commits(env: Env) -> None:
    def slow(number: int) -> int:
        env.clock.advance(0.6)
        if number == 0 and not sent:
            sent.append(1)
            handle.signal("stop", "now")
        return number

    sent: list[int] = []

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> list[int]:
        stop, done = ctx.wait_signal("stop"), []
        while not stop.done():
            done.append(await ctx.execute_local_activity(slow, len(done)))
        return done

    handle = env.start(fulfil)

    assert handle.result() == [0, 1, 2]
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "local_activity_completed slow#1(0) -> 0",
        "local_activity_completed slow#2(1) -> 1",
        "signal_received stop('now')",
        "local_activity_completed slow#3(2) -> 2",
        "workflow_completed -> [0, 1, 2]",
    ]


def test_a_signal_that_the_close_has_not_seen_calls_nothing_again(env: Env) -> None:
    done: list[int] = []

    def call(number: int) -> int:
        done.append(number)
        if number == 2:
            handle.signal("late", "but not lost")
        return number

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> list[Any]:
        found: list[Any] = []
        ctx.on_signal("late", found.append)
        for number in range(3):
            await ctx.execute_local_activity(call, number)
        return found

    handle = env.start(fulfil)

    assert handle.result() == ["but not lost"]
    assert done == [0, 1, 2]


def test_nor_does_one_whose_own_step_blocks(env: Env) -> None:
    done: list[int] = []
    mended: list[bool] = []

    def call(number: int) -> int:
        done.append(number)
        if number == 2:
            handle.signal("late", "but not lost")
        return number

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> list[Any]:
        found: list[Any] = []

        def take(payload: Any) -> None:
            if not mended:
                open("/dev/null").close()  # noqa: PTH123
            found.append(payload)

        ctx.on_signal("late", take)
        return [*[await ctx.execute_local_activity(call, number) for number in range(3)], *found]

    handle = env.start(fulfil)
    env.settle()
    assert handle.status() is WorkflowStatus.BLOCKED
    env.advance(60)
    mended.append(True)
    env.advance(300)

    assert handle.result() == [0, 1, 2, "but not lost"]
    assert done == [0, 1, 2]
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "signal_received late('but not lost') early",
        *(f"local_activity_completed call#{each + 1}({each}) -> {each}" for each in range(3)),
        "workflow_completed -> [0, 1, 2, 'but not lost']",
    ]


def test_an_interrupt_costs_the_call_that_it_strikes(env: Env) -> None:
    done: list[int] = []

    def call(number: int) -> None:
        done.append(number)
        if done == [0, 1]:
            raise KeyboardInterrupt

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        for number in range(3):
            await ctx.execute_local_activity(call, number)

    handle = env.start(fulfil)
    with pytest.raises(KeyboardInterrupt):
        env.settle()
    assert env.story(handle)[1:] == ["local_activity_completed call#1(0) -> None"]

    assert handle.result() is None
    assert done == [0, 1, 1, 2]


@pytest.mark.parametrize("closes", [False, True])
def test_an_interrupt_after_the_commit_finds_nothing_to_be_saved(
    env: Env, monkeypatch: pytest.MonkeyPatch, closes: bool
) -> None:
    """It strikes while what follows from the turn is published. What was called is recorded, and is not once more."""
    done: list[int] = []

    def call(number: int) -> int:
        done.append(number)
        return number

    @env.activity
    def charge() -> str:
        return "paid"

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> Any:
        last = [await ctx.execute_local_activity(call, number) for number in range(2)]
        return last if closes else [*last, await ctx.execute_activity(charge)]

    dispatcher, publish = env.executor.engine.dispatcher, env.executor.engine.dispatcher.publish

    def struck(hints: Any) -> None:
        publish(hints)
        if any(isinstance(each, RunFinished if closes else ActivityReady) for each in hints):
            monkeypatch.setattr(dispatcher, "publish", publish)
            raise KeyboardInterrupt

    handle = env.start(fulfil)
    monkeypatch.setattr(dispatcher, "publish", struck)
    with pytest.raises(KeyboardInterrupt):
        env.settle()

    assert handle.result() == ([0, 1] if closes else [0, 1, "paid"])
    assert done == [0, 1]
    assert [each for each in env.story(handle) if "call#" in each] == [
        "local_activity_completed call#1(0) -> 0",
        "local_activity_completed call#2(1) -> 1",
    ]
    assert handle.describe().inbox_seq <= 1  # the activity's outcome, unless its turn was taken on the spot
