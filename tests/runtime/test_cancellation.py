"""Cancellation, in its three types and at every place where it may arrive."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Coroutine
from typing import Any

import pytest

from celeriac import ActivityCanceled, CancellationType, WorkflowCanceledError, WorkflowContext, activity_context
from tests.workflows import Env


def _act_up(env: Env, cancellation: str, *, until_told: bool) -> Any:
    """Start a workflow that is canceled while its activity is at work."""

    @env.activity(cancellation=cancellation)
    async def copy() -> str:
        handle.cancel()
        while env.executor.step(jump=False):
            pass
        try:
            activity_context().heartbeat()
        except ActivityCanceled:
            if until_told:
                raise
        return "copied"

    @env.workflow
    async def archive(ctx: WorkflowContext) -> str:
        try:
            return await ctx.execute_activity(copy)
        except asyncio.CancelledError:
            await ctx.sleep(1)
            raise

    handle = env.start(archive)
    return handle


@pytest.mark.parametrize("until_told", [True, False])
def test_try_goes_on_at_once(env: Env, until_told: bool) -> None:
    handle = _act_up(env, CancellationType.TRY, until_told=until_told)
    with pytest.raises(WorkflowCanceledError):
        handle.result()
    assert env.story(handle) == [
        "workflow_started archive()",
        "activity_scheduled copy#1()",
        "cancel_requested",
        "activity_cancel_requested copy#1",
        "timer_started #3 1s",
        "timer_fired #3",
        "workflow_canceled",
    ]


@pytest.mark.parametrize("until_told", [True, False])
def test_abandon_lets_the_activity_be(env: Env, until_told: bool) -> None:
    handle = _act_up(env, CancellationType.ABANDON, until_told=until_told)
    with pytest.raises(WorkflowCanceledError):
        handle.result()
    assert env.story(handle) == [
        "workflow_started archive()",
        "activity_scheduled copy#1()",
        "cancel_requested",
        "timer_started #2 1s",
        "timer_fired #2",
        "workflow_canceled",
    ]


def test_wait_goes_on_when_the_activity_has_stopped(env: Env) -> None:
    handle = _act_up(env, CancellationType.WAIT, until_told=True)
    with pytest.raises(WorkflowCanceledError):
        handle.result()
    assert env.story(handle) == [
        "workflow_started archive()",
        "activity_scheduled copy#1()",
        "cancel_requested",
        "activity_cancel_requested copy#1",
        "activity_started copy#1",
        "activity_canceled copy#1",
        "timer_started #3 1s",
        "timer_fired #3",
        "workflow_canceled",
    ]


def test_wait_gets_the_result_of_an_activity_that_finished_all_the_same(env: Env) -> None:
    handle = _act_up(env, CancellationType.WAIT, until_told=False)
    assert handle.result() == "copied"
    assert env.story(handle) == [
        "workflow_started archive()",
        "activity_scheduled copy#1()",
        "cancel_requested",
        "activity_cancel_requested copy#1",
        "activity_started copy#1",
        "activity_completed copy#1 -> 'copied'",
        "workflow_completed -> 'copied'",
    ]


@pytest.mark.parametrize("through_a_task", [False, True])
def test_and_the_cancellation_is_not_lost_but_comes_at_the_next_wait(env: Env, through_a_task: bool) -> None:
    @env.activity(cancellation="wait")
    def copy() -> str:
        handle.cancel("enough")
        while env.executor.step(jump=False):
            pass
        return "copied"

    @env.workflow
    async def archive(ctx: WorkflowContext) -> str:
        async def helper() -> str:
            return await ctx.execute_activity(copy)

        try:
            got = await (asyncio.create_task(helper()) if through_a_task else helper())
        except asyncio.CancelledError:
            return "canceled at once"
        try:
            await ctx.sleep(3600)
        except asyncio.CancelledError:
            return f"{got}, then canceled"
        return "not canceled"

    handle = env.start(archive)
    assert handle.result() == ("canceled at once" if through_a_task else "copied, then canceled")


def test_wait_and_an_activity_that_nobody_has_begun(env: Env) -> None:
    @env.activity(cancellation="wait")
    def copy() -> None:
        raise AssertionError("nobody has begun it")

    @env.workflow
    async def archive(ctx: WorkflowContext) -> None:
        await ctx.execute_activity(copy)

    handle = env.start(archive)
    env.executor.step(jump=False)
    env.executor.dispatcher.take()  # its message is late
    handle.cancel()
    with pytest.raises(WorkflowCanceledError):
        handle.result()
    assert env.story(handle) == [
        "workflow_started archive()",
        "activity_scheduled copy#1()",
        "cancel_requested",
        "activity_cancel_requested copy#1",
        "activity_canceled copy#1",
        "workflow_canceled",
    ]


def test_wait_and_an_activity_of_the_same_turn(env: Env) -> None:
    @env.activity(cancellation="wait")
    def copy() -> None:
        raise AssertionError("nobody could see it")

    @env.workflow
    async def archive(ctx: WorkflowContext) -> None:
        await ctx.execute_activity(copy)

    handle = env.start(archive)
    handle.cancel()
    with pytest.raises(WorkflowCanceledError):
        handle.result()
    assert env.story(handle) == [
        "workflow_started archive()",
        "activity_scheduled copy#1()",
        "cancel_requested",
        "activity_cancel_requested copy#1",
        "activity_canceled copy#1",
        "workflow_canceled",
    ]


def test_it_reaches_every_branch_of_a_gather(env: Env) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> None:
        await asyncio.gather(ctx.sleep(60), ctx.wait_signal("go", timeout=90), ctx.wait(lambda: False))

    handle = env.start(flow)
    env.settle()
    handle.cancel()
    with pytest.raises(WorkflowCanceledError):
        handle.result()
    assert env.story(handle) == [
        "workflow_started flow()",
        "timer_started #1 90s",
        "timer_started #2 60s",
        "cancel_requested",
        "timer_canceled #2",
        "timer_canceled #1",
        "workflow_canceled",
    ]


def test_a_shield_keeps_it_off(env: Env) -> None:
    @env.activity
    def work() -> str:
        return "worked"

    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        working = ctx.execute_activity(work)
        try:
            await asyncio.shield(working)
        except asyncio.CancelledError:
            return f"{await working} all the same"
        return "undisturbed"

    handle = env.start(flow)
    handle.cancel()
    assert handle.result() == "worked all the same"
    assert env.story(handle) == [
        "workflow_started flow()",
        "activity_scheduled work#1()",
        "cancel_requested",
        "activity_started work#1",
        "activity_completed work#1 -> 'worked'",
        "workflow_completed -> 'worked all the same'",
    ]


def test_awaiting_something_canceled_is_a_failure_where_nobody_asked_the_run_to_stop(env: Env) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> None:
        future = ctx.wait_signal("go")
        future.cancel()
        await future

    handle = env.start(flow)
    env.settle()
    assert handle.status() == "failed"
    assert env.story(handle) == [
        "workflow_started flow()",
        "workflow_failed CancelledError: the workflow awaited something that was canceled",
    ]


def test_a_cancellation_that_turns_into_another_error_fails_the_run(env: Env) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> None:
        try:
            await ctx.sleep(60)
        except asyncio.CancelledError as canceled:
            raise ValueError("in the middle of it") from canceled

    handle = env.start(flow)
    env.settle()
    handle.cancel()
    env.settle()
    assert handle.status() == "failed"
    assert env.story(handle) == [
        "workflow_started flow()",
        "timer_started #1 60s",
        "cancel_requested",
        "timer_canceled #1",
        "workflow_failed ValueError: in the middle of it",
    ]


def test_a_race_in_a_run_that_was_dropped_from_memory_leaves_no_coroutine_behind(env: Env) -> None:
    made: list[Coroutine[Any, Any, None]] = []

    async def part() -> None:
        await asyncio.sleep(1)

    @env.workflow
    async def flow(ctx: WorkflowContext) -> None:
        with contextlib.suppress(BaseException):
            await ctx.wait_signal("go")
        made.append(part())
        await ctx.first(made[-1])

    env.start(flow)
    env.settle()
    env.executor.engine.cache.clear()

    assert [inspect.getcoroutinestate(each) for each in made] == [inspect.CORO_CLOSED]
