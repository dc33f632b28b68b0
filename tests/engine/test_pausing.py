"""Pausing: a paused run takes what comes and does nothing about it, until it is resumed."""

from __future__ import annotations

import pytest

from celeriac import WorkflowClosed, WorkflowContext
from tests.workflows import Env


def test_a_paused_run_takes_no_turn_and_loses_nothing(env: Env) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> list[str]:
        got = [await ctx.wait_signal("n")]
        await ctx.sleep(60)
        return [*got, await ctx.wait_signal("n")]

    handle = env.start(flow)
    env.settle()
    env.executor.pause(handle.id)
    handle.signal("n", "a")
    handle.signal("n", "b")
    env.advance(3600)
    assert handle.status() == "paused"
    assert env.story(handle) == ["workflow_started flow()"]

    env.executor.resume(handle.id)
    env.settle()
    assert handle.status() == "running"
    env.executor.pause(handle.id)
    env.advance(3600)
    assert env.story(handle)[-1] == "signal_received n('b')"  # and no timer fired

    env.executor.resume(handle.id)
    assert handle.result() == ["a", "b"]
    assert env.story(handle) == [
        "workflow_started flow()",
        "signal_received n('a')",
        "timer_started #1 60s",
        "signal_received n('b')",
        "timer_fired #1",
        "workflow_completed -> ['a', 'b']",
    ]


def test_an_activity_that_is_running_may_end(env: Env) -> None:
    @env.activity
    def work() -> str:
        env.executor.pause(handle.id)
        return "worked"

    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        return await ctx.execute_activity(work)

    handle = env.start(flow)
    env.settle()
    assert handle.status() == "paused"
    assert env.story(handle) == ["workflow_started flow()", "activity_scheduled work#1()"]
    env.executor.resume(handle.id)
    assert handle.result() == "worked"


def test_a_paused_run_may_be_terminated(env: Env) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> None:
        await ctx.wait_signal("n")

    handle = env.start(flow)
    env.settle()
    env.executor.pause(handle.id)
    handle.terminate()
    assert handle.status() == "terminated"
    for operation in (env.executor.pause, env.executor.resume, env.executor.terminate, env.executor.cancel):
        with pytest.raises(WorkflowClosed, match=r"is closed \(terminated\)"):
            operation(handle.id)
