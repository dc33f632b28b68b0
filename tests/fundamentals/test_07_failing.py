"""A run fails when its function raises, and holds when it can't be carried on: two different things."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from celeriac import ActivityError, RetryPolicy, WorkflowContext, WorkflowFailedError
from celeriac.errors import ResultTimeout
from tests.workflows import Env


def test_what_the_function_raises_fails_the_run(env: Env) -> None:
    class OutOfStock(ValueError):
        def __init__(self, item: str) -> None:
            super().__init__(f"no {item} left")
            self.details = {"item": item}

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        try:
            {}["tea"]
        except KeyError as error:
            raise OutOfStock("tea") from error

    handle = env.start(fulfil)

    with pytest.raises(WorkflowFailedError) as failed:
        handle.result()
    assert str(failed.value) == f"workflow {handle.id!r} (fulfil) failed: OutOfStock: no tea left"
    failure: Any = failed.value.failure
    assert (failure["type"], failure["message"], failure["bases"]) == ("OutOfStock", "no tea left", ["ValueError"])
    assert failure["details"] == {"item": "tea"}
    assert failure["stack"][-1].endswith(" in fulfil")
    assert (failure["cause"]["type"], failure["cause"]["message"]) == ("KeyError", "'tea'")
    assert handle.status() == "failed"
    assert env.story(handle) == ["workflow_started fulfil()", "workflow_failed OutOfStock: no tea left"]


def test_what_an_activity_raised_is_in_the_chain(env: Env) -> None:
    @env.activity(retry=RetryPolicy.never())
    def charge() -> None:
        try:
            int("many")
        except ValueError as error:
            raise RuntimeError("not charged") from error

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        await ctx.execute_activity(charge)

    with pytest.raises(WorkflowFailedError) as failed:
        env.run(fulfil)
    failure: Any = failed.value.failure
    chain = [failure, failure["cause"], failure["cause"]["cause"]]
    assert [(each["type"], each["message"]) for each in chain] == [
        ("ActivityError", "activity 'charge' failed after 1 attempt: RuntimeError: not charged"),
        ("RuntimeError", "not charged"),
        ("ValueError", "invalid literal for int() with base 10: 'many'"),
    ]


def test_of_several_failed_activities_the_first_is_the_failure(env: Env) -> None:
    @env.activity(retry=RetryPolicy.never())
    def charge(order: str) -> None:
        raise ValueError(order)

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        async def one(order: str) -> None:
            try:
                await ctx.execute_activity(charge, order)
            except asyncio.CancelledError:
                await ctx.execute_activity(charge, f"{order} again")

        async with asyncio.TaskGroup() as group:
            group.create_task(one("a"))
            group.create_task(one("b"))

    handle = env.start(fulfil)
    with pytest.raises(WorkflowFailedError) as failed:
        handle.result()
    failure: Any = failed.value.failure
    assert failure["message"] == "activity 'charge' failed after 1 attempt: ValueError: a"
    assert [each["message"] for each in failure["others"]] == [
        "activity 'charge' failed after 1 attempt: ValueError: b again"
    ]


def test_an_error_may_be_declared_to_hold_the_run_instead(env: Env) -> None:
    broken = True

    @env.workflow(blocks_on=(LookupError,))
    async def fulfil(ctx: WorkflowContext) -> str:
        await ctx.wait_signal("go")
        if broken:
            raise KeyError("price")
        return "done"

    handle = env.start(fulfil)
    env.settle()
    handle.signal("go")

    with pytest.raises(ResultTimeout) as stuck:
        handle.result()
    assert str(stuck.value) == f"workflow {handle.id!r} can't end by itself: it is blocked: KeyError: 'price'"
    assert handle.status() == "blocked"
    assert env.story(handle) == ["workflow_started fulfil()"]

    broken = False  # the fix is deployed
    env.advance(5)
    assert handle.result() == "done"


def test_an_exception_nobody_awaited_is_not_lost(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        async def audit() -> None:
            raise ValueError("no such order")

        asyncio.create_task(audit(), name="audit")  # noqa: RUF006 - that is the point
        await ctx.sleep(1)
        return "done"

    handle = env.start(fulfil)

    assert handle.result() == "done"
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "timer_started #1 1s",
        "warning_recorded task 'audit' raised, and nobody awaited it: ValueError: no such order",
        "timer_fired #1",
        "workflow_completed -> 'done'",
    ]


def test_a_failure_may_be_caught_and_made_good(env: Env) -> None:
    @env.activity(retry=RetryPolicy.never())
    def charge() -> None:
        raise ValueError("declined")

    @env.activity
    def give_back() -> None: ...

    @env.workflow
    def fulfil(ctx: WorkflowContext) -> str:
        try:
            ctx.execute_activity(charge).result()
        except ActivityError:
            ctx.execute_activity(give_back).result()
            return "given back"
        return "sold"

    handle = env.start(fulfil)

    assert handle.result() == "given back"
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "activity_scheduled charge#1()",
        "activity_started charge#1",
        "activity_failed charge#1: ValueError: declined",
        "activity_scheduled give_back#2()",
        "activity_started give_back#2",
        "activity_completed give_back#2 -> None",
        "workflow_completed -> 'given back'",
    ]
