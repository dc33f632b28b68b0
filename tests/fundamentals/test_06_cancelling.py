"""Cancelling asks; terminating does not. Whoever is asked may clean up first, or stay."""

from __future__ import annotations

import asyncio

import pytest

from celeriac import (
    ActivityCanceled,
    WorkflowCanceledError,
    WorkflowContext,
    WorkflowTerminatedError,
    WorkflowTimedOutError,
    activity_context,
)
from tests.workflows import Env


def test_cancelling_interrupts_what_the_function_awaits(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        await ctx.sleep(3600)

    handle = env.start(fulfil)
    env.settle()
    handle.cancel("out of stock")
    handle.cancel("again")  # twice is once

    with pytest.raises(WorkflowCanceledError) as canceled:
        handle.result()
    assert str(canceled.value) == (f"workflow {handle.id!r} (fulfil) canceled: out of stock")
    assert handle.status() == "canceled"
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "timer_started #1 3600s",
        "cancel_requested out of stock",
        "timer_canceled #1",
        "workflow_canceled out of stock",
    ]


def test_a_plain_function_is_interrupted_too(env: Env) -> None:
    @env.workflow
    def fulfil(ctx: WorkflowContext) -> None:
        ctx.sleep(3600)

    handle = env.start(fulfil)
    env.settle()
    handle.cancel()

    with pytest.raises(WorkflowCanceledError):
        handle.result()
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "timer_started #1 3600s",
        "cancel_requested",
        "timer_canceled #1",
        "workflow_canceled",
    ]


def test_clean_up_may_have_activities_done(env: Env) -> None:
    @env.activity
    def reserve() -> None: ...

    @env.activity
    def give_back() -> None: ...

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        await ctx.execute_activity(reserve)
        try:
            await ctx.wait_signal("paid")
        finally:
            await ctx.execute_activity(give_back)

    handle = env.start(fulfil)
    env.settle()
    handle.cancel()

    with pytest.raises(WorkflowCanceledError):
        handle.result()
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "activity_scheduled reserve#1()",
        "activity_started reserve#1",
        "activity_completed reserve#1 -> None",
        "cancel_requested",
        "activity_scheduled give_back#2()",
        "activity_started give_back#2",
        "activity_completed give_back#2 -> None",
        "workflow_canceled",
    ]


def test_who_catches_it_and_returns_has_completed(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        try:
            await ctx.wait_signal("paid")
        except asyncio.CancelledError:
            return f"stopped: {ctx.cancel_requested}"
        return "paid"

    handle = env.start(fulfil)
    env.settle()
    handle.cancel()

    assert handle.result() == "stopped: True"
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "cancel_requested",
        "workflow_completed -> 'stopped: True'",
    ]


def test_it_is_delivered_once(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        try:
            await ctx.wait_signal("paid")
        except asyncio.CancelledError:
            await ctx.sleep(60)
            return "slept over it"
        return "paid"

    handle = env.start(fulfil)
    env.settle()
    handle.cancel()
    env.settle()
    handle.cancel()

    assert handle.result() == "slept over it"
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "cancel_requested",
        "timer_started #1 60s",
        "timer_fired #1",
        "workflow_completed -> 'slept over it'",
    ]


def test_a_run_may_be_canceled_before_it_begins(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        try:
            await ctx.wait_signal("paid")
        except asyncio.CancelledError:
            return "stopped"
        return "paid"

    handle = env.start(fulfil)
    handle.cancel()

    assert handle.result() == "stopped"
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "cancel_requested",
        "workflow_completed -> 'stopped'",
    ]


def test_a_running_activity_hears_of_it_at_its_next_heartbeat(env: Env) -> None:
    told: list[str] = []

    @env.activity
    def copy() -> None:
        handle.cancel()
        while env.executor.step(jump=False):  # the workflow's own worker takes the request up
            pass
        try:
            activity_context().heartbeat()
        except ActivityCanceled as canceled:
            told.append(str(canceled))
            raise

    @env.workflow
    async def archive(ctx: WorkflowContext) -> None:
        await ctx.execute_activity(copy)

    handle = env.start(archive)

    with pytest.raises(WorkflowCanceledError):
        handle.result()
    assert told == ["attempt 1 of activity 'copy' is no longer wanted"]
    assert env.story(handle) == [
        "workflow_started archive()",
        "activity_scheduled copy#1()",
        "cancel_requested",
        "activity_cancel_requested copy#1",
        "workflow_canceled",
    ]


def test_terminating_runs_no_code(env: Env) -> None:
    cleaned_up: list[str] = []

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        try:
            await ctx.sleep(3600)
        except asyncio.CancelledError:
            cleaned_up.append("yes")

    handle = env.start(fulfil)
    env.settle()
    handle.terminate("wrong customer")

    assert handle.status() == "terminated"
    with pytest.raises(WorkflowTerminatedError) as terminated:
        handle.result()
    assert str(terminated.value) == (f"workflow {handle.id!r} (fulfil) terminated: wrong customer")
    assert cleaned_up == []
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "timer_started #1 3600s",
        "workflow_terminated wrong customer",
    ]
    assert env.executor.store.tasks(handle.run_id) == []


def test_the_time_of_a_run_may_be_limited(env: Env) -> None:
    @env.workflow(timeout=60)
    async def fulfil(ctx: WorkflowContext) -> None:
        await ctx.sleep(3600)

    handle = env.start(fulfil)

    with pytest.raises(WorkflowTimedOutError) as late:
        handle.result()
    assert str(late.value) == (f"workflow {handle.id!r} (fulfil) timed out: the workflow took longer than 60 s")
    assert handle.status() == "timed_out"
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "timer_started #1 3600s",
        "workflow_timed_out 60s",
    ]
