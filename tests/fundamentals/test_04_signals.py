"""Signals come from outside, in their order, and are never lost: not before the start, not at the end."""

from __future__ import annotations

from datetime import timedelta

import pytest

from celeriac import PayloadError, WorkflowClosed, WorkflowContext, WorkflowNotFound
from celeriac.errors import SignalRejected
from tests.workflows import Env


def test_a_workflow_waits_for_a_signal(env: Env) -> None:
    approved = env.signal_type("approved", bool)

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> bool:
        return await ctx.wait_signal(approved)

    handle = env.start(fulfil)
    env.settle()
    assert handle.describe().waits == ("signal 'approved'",)
    handle.signal(approved, True)

    assert handle.result() is True
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "signal_received approved(True)",
        "workflow_completed -> True",
    ]


def test_what_came_before_the_start_is_there_when_the_function_starts(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> list[int]:
        return [await ctx.wait_signal("n"), await ctx.wait_signal("n")]

    handle = env.start(fulfil)
    handle.signal("n", 1)
    handle.signal("n", 2)

    assert handle.result() == [1, 2]
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "signal_received n(1) early",
        "signal_received n(2) early",
        "workflow_completed -> [1, 2]",
    ]


def test_what_comes_before_anybody_waits_is_kept_in_its_order(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> list[object]:
        await ctx.sleep(60)
        return [await ctx.wait_signal("b"), await ctx.wait_signal("a"), await ctx.wait_signal("a")]

    handle = env.start(fulfil)
    env.settle()
    for name, payload in (("a", 1), ("b", 2), ("a", 3)):
        handle.signal(name, payload)
    env.settle()

    assert handle.result() == [2, 1, 3]
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "timer_started #1 60s",
        "signal_received a(1)",
        "signal_received b(2)",
        "signal_received a(3)",
        "timer_fired #1",
        "workflow_completed -> [2, 1, 3]",
    ]


def test_waiting_may_be_limited(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        first = await ctx.wait_signal("approved", timeout=timedelta(days=3))
        try:
            await ctx.wait_signal("approved", timeout=timedelta(days=3))
        except TimeoutError:
            return f"{first}, then silence"
        return "twice"

    handle = env.start(fulfil)
    env.advance(timedelta(days=1))
    handle.signal("approved", "yes")

    assert handle.result() == "yes, then silence"
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "timer_started #1 259200s",
        "signal_received approved('yes')",
        "timer_canceled #1",
        "timer_started #3 259200s",
        "timer_fired #3",
        "workflow_completed -> 'yes, then silence'",
    ]


def test_a_timeout_of_nothing_looks_and_makes_no_timer(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> list[object]:
        found: list[object] = []
        for _ in range(2):
            try:
                found.append(await ctx.wait_signal("approved", timeout=0))
            except TimeoutError:
                found.append("none")
        return found

    handle = env.start(fulfil)
    handle.signal("approved", "yes")

    assert handle.result() == ["yes", "none"]
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "signal_received approved('yes') early",
        "workflow_completed -> ['yes', 'none']",
    ]


def test_signals_may_be_iterated(env: Env) -> None:
    @env.workflow
    async def collect(ctx: WorkflowContext) -> list[str]:
        got = []
        async for item in ctx.receive_signal("item"):
            if item == "end":
                break
            got.append(item)
        return got

    @env.workflow
    def collect_plainly(ctx: WorkflowContext) -> list[str]:
        got = []
        for item in ctx.receive_signal("item"):
            if item == "end":
                break
            got.append(item)
        return got

    for workflow in (collect, collect_plainly):
        handle = env.start(workflow)
        for item in ("a", "b", "end"):
            env.settle()
            handle.signal("item", item)
        assert handle.result() == ["a", "b"]
        assert env.story(handle) == [
            f"workflow_started {workflow.name}()",
            "signal_received item('a')",
            "signal_received item('b')",
            "signal_received item('end')",
            "workflow_completed -> ['a', 'b']",
        ]


def test_signals_may_be_handled_as_they_come(env: Env) -> None:
    @env.activity
    def look_up(item: str) -> int:
        return len(item)

    @env.workflow
    async def collect(ctx: WorkflowContext) -> list[object]:
        got: list[object] = []

        async def handle_item(item: str) -> None:
            got.append([item, await ctx.execute_activity(look_up, item)])

        ctx.on_signal("item", handle_item)
        await ctx.wait(lambda: len(got) == 2)
        return got

    handle = env.start(collect)
    handle.signal("item", "a")
    env.settle()
    handle.signal("item", "bb")

    assert handle.result() == [["a", 1], ["bb", 2]]
    assert env.story(handle) == [
        "workflow_started collect()",
        "signal_received item('a') early",
        "activity_scheduled look_up#1('a')",
        "activity_started look_up#1",
        "activity_completed look_up#1 -> 1",
        "signal_received item('bb')",
        "activity_scheduled look_up#2('bb')",
        "activity_started look_up#2",
        "activity_completed look_up#2 -> 2",
        "workflow_completed -> [['a', 1], ['bb', 2]]",
    ]


def test_the_same_key_again_is_the_same_signal(env: Env) -> None:
    @env.workflow
    async def collect(ctx: WorkflowContext) -> list[int]:
        return [await ctx.wait_signal("n"), await ctx.wait_signal("n")]

    handle = env.start(collect)
    handle.signal("n", 1, key="k1")
    handle.signal("n", 1, key="k1")
    env.settle()
    handle.signal("n", 1, key="k1")  # recorded by now, and still the same
    handle.signal("n", 2, key="k2")

    assert handle.result() == [1, 2]
    assert env.story(handle) == [
        "workflow_started collect()",
        "signal_received n(1) early",
        "signal_received n(2)",
        "workflow_completed -> [1, 2]",
    ]


def test_what_does_not_fit_is_refused_at_the_sender(env: Env) -> None:
    approved = env.signal_type("approved", bool)

    @env.workflow(signals=[approved])
    async def fulfil(ctx: WorkflowContext) -> bool:
        return await ctx.wait_signal(approved)

    handle = env.start(fulfil)

    with pytest.raises(SignalRejected) as refused:
        handle.signal("aproved", True)
    assert str(refused.value) == (
        "workflow 'fulfil' takes no signal 'aproved'. Did you mean 'approved'? It takes: approved"
    )
    with pytest.raises(PayloadError) as unfit:
        handle.signal(approved, "perhaps")  # type: ignore[arg-type]
    assert str(unfit.value) == (
        "payload of signal 'approved' does not fit bool: Input should be a valid boolean, unable to interpret input, got str"
    )
    with pytest.raises(WorkflowNotFound):
        env.executor.cancel("nobody")

    handle.signal(approved, True)
    assert handle.result() is True
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "signal_received approved(True) early",
        "workflow_completed -> True",
    ]
    with pytest.raises(WorkflowClosed) as closed:
        handle.signal(approved, True)
    assert str(closed.value) == f"workflow {handle.id!r} is closed (completed) and takes no more input"
