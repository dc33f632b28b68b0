"""Which commands a step leaves behind: numbered in program order, those taken back within the step left out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from celeriac import ActivityError, InvalidCall, PayloadError, WorkflowContext, WorkflowFailedError
from tests.workflows import Env


def test_numbers_are_handed_out_in_program_order_not_in_order_of_completion(env: Env) -> None:
    @env.activity
    def work(name: str) -> str:
        return name

    @env.workflow
    async def spread(ctx: WorkflowContext) -> list[str]:
        async def branch(name: str, pause: float) -> str:
            await ctx.sleep(pause)
            return await ctx.execute_activity(work, name)

        return await asyncio.gather(branch("slow", 20), branch("quick", 10))

    handle = env.start(spread)

    assert handle.result() == ["slow", "quick"]
    assert env.story(handle) == [
        "workflow_started spread()",
        "timer_started #1 20s",
        "timer_started #2 10s",
        "timer_fired #2",
        "activity_scheduled work#3('quick')",
        "activity_started work#3",
        "activity_completed work#3 -> 'quick'",
        "timer_fired #1",
        "activity_scheduled work#4('slow')",
        "activity_started work#4",
        "activity_completed work#4 -> 'slow'",
        "workflow_completed -> ['slow', 'quick']",
    ]


def test_what_is_canceled_in_a_later_step_is_recorded(env: Env) -> None:
    @env.activity
    def work() -> None: ...

    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        working, timer = ctx.execute_activity(work), asyncio.ensure_future(ctx.sleep(60))
        await ctx.wait_signal("stop")
        working.cancel()
        timer.cancel()
        await ctx.wait_signal("end")
        return "ended"

    handle = env.start(flow)
    env.executor.step(jump=False)
    handle.signal("stop")
    env.executor.dispatcher.take()  # the activity's message is late
    env.settle()
    handle.signal("end")

    assert handle.result() == "ended"
    assert env.story(handle) == [
        "workflow_started flow()",
        "activity_scheduled work#1()",
        "timer_started #2 60s",
        "signal_received stop(None)",
        "activity_cancel_requested work#1",
        "timer_canceled #2",
        "signal_received end(None)",
        "workflow_completed -> 'ended'",
    ]


def test_scheduled_and_canceled_in_one_turn_but_two_steps_is_recorded_and_never_run(env: Env) -> None:
    @env.activity
    def work() -> None:
        raise AssertionError("it was canceled before anybody could see it")

    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        await ctx.wait_signal("a")
        working, timer = ctx.execute_activity(work), asyncio.ensure_future(ctx.sleep(60))
        await ctx.wait_signal("b")
        working.cancel()
        timer.cancel()
        return await ctx.wait_signal("c")

    handle = env.start(flow)
    env.settle()
    handle.signal("a")
    handle.signal("b")
    env.settle()
    assert [each.kind for each in env.executor.store.tasks(handle.run_id)] == ["turn"]
    handle.signal("c", "end")

    assert handle.result() == "end"
    assert env.story(handle) == [
        "workflow_started flow()",
        "signal_received a(None)",
        "activity_scheduled work#1()",
        "timer_started #2 60s",
        "signal_received b(None)",
        "activity_cancel_requested work#1",
        "timer_canceled #2",
        "signal_received c('end')",
        "workflow_completed -> 'end'",
    ]


def test_a_late_answer_to_what_is_no_longer_pending_is_dropped(env: Env) -> None:
    @env.activity
    def work() -> str:
        handle.signal("stop")  # while the activity is at work
        return "too late"

    @env.workflow
    async def flow(ctx: WorkflowContext) -> object:
        first = await ctx.first(ctx.execute_activity(work), ctx.wait_signal("stop"))
        await ctx.sleep(1)
        return first

    handle = env.start(flow)

    assert handle.result() == [1, None]
    assert env.story(handle) == [
        "workflow_started flow()",
        "activity_scheduled work#1()",
        "signal_received stop(None)",
        "activity_cancel_requested work#1",
        "timer_started #3 1s",
        "timer_fired #3",
        "workflow_completed -> [1, None]",
    ]


def test_what_is_asked_for_and_not_awaited_is_recorded_and_dropped_with_the_run(env: Env) -> None:
    @env.activity
    def work() -> None:
        raise AssertionError("the run is over")

    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        ctx.execute_activity(work)
        return "done"

    handle = env.start(flow)

    assert handle.result() == "done"
    assert env.story(handle) == [
        "workflow_started flow()",
        "activity_scheduled work#1()",
        "warning_recorded it returned while activity 'work' was under way; did it forget to await it?",
        "workflow_completed -> 'done'",
    ]
    assert env.executor.store.tasks(handle.run_id) == []


def test_sleeping_for_nothing_yields_and_leaves_no_trace(env: Env) -> None:
    order: list[str] = []

    @env.workflow
    async def flow(ctx: WorkflowContext) -> list[str]:
        order.clear()

        async def branch(name: str) -> None:
            for _ in range(2):
                order.append(name)
                await ctx.sleep(0)

        await asyncio.gather(branch("a"), branch("b"))
        return order

    handle = env.start(flow)

    assert handle.result() == ["a", "b", "a", "b"]
    assert env.story(handle) == ["workflow_started flow()", "workflow_completed -> ['a', 'b', 'a', 'b']"]


@pytest.mark.parametrize(
    ("length", "recorded"), [(0.0004, "0.001s"), (1.0006, "1.001s"), (0.25, "0.25s"), (86400, "86400s")]
)
def test_timers_are_whole_milliseconds(env: Env, length: float, recorded: str) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> None:
        await ctx.sleep(length)

    handle = env.start(flow)
    handle.result()

    assert env.story(handle) == [
        "workflow_started flow()",
        f"timer_started #1 {recorded}",
        "timer_fired #1",
        "workflow_completed -> None",
    ]


@pytest.mark.parametrize("wrong", ["60", None, True])
def test_a_length_that_is_none_is_refused(env: Env, wrong: Any) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        try:
            await ctx.sleep(wrong)
        except InvalidCall as error:
            return str(error)
        return ""

    assert env.run(flow) == f"ctx.sleep({wrong!r}): a duration is a timedelta or a number of seconds"


def test_a_future_is_no_value(env: Env) -> None:
    @env.activity
    def work() -> bool:
        return False

    @env.workflow
    async def flow(ctx: WorkflowContext) -> list[str]:
        told = []
        for future in (ctx.execute_activity(work), ctx.wait_signal("go", timeout=1)):
            try:
                if future:  # type: ignore[truthy-bool]
                    told.append("always true")
            except TypeError as error:
                told.append(str(error))
            future.cancel()
        return told

    assert env.run(flow) == [
        "the activity 'work' is not a value yet: write 'await' before it, or '.result()' after it in a plain def workflow",
        "what you wait for is not a value yet: write 'await' before it, or '.result()' after it in a plain def workflow",
    ]


def test_nothing_is_no_activity(env: Env) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> None:
        await ctx.execute_activity(print)

    with pytest.raises(WorkflowFailedError) as failed:
        env.run(flow)
    assert str(failed.value).endswith(
        "InvalidCall: <built-in function print> is no activity. Pass a function declared with @durable.activity, a Celery "
        "task, or a task's name"
    )


def test_arguments_that_do_not_fit_are_refused_where_they_are_passed(env: Env) -> None:
    @env.activity
    def charge(order: str, cents: int) -> None: ...

    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        try:
            await ctx.execute_activity(charge, "A-17")
        except InvalidCall as error:
            return str(error)
        return ""

    handle = env.start(flow)
    assert handle.result() == (
        "activity 'charge' takes (order: 'str', cents: 'int'): missing a required argument: 'cents'"
    )
    assert [each.type for each in env.history(handle)] == ["workflow_started", "workflow_completed"]


def test_a_call_that_was_refused_does_not_take_the_place_of_the_next_one_on_replay(env: Env) -> None:
    @env.activity
    def charge(cents: int) -> int:
        return cents

    @env.workflow
    async def flow(ctx: WorkflowContext) -> int:
        try:
            await ctx.execute_activity(charge, "much")  # type: ignore[arg-type]
        except PayloadError:
            return await ctx.execute_activity(charge, 7)
        return 0

    handle = env.start(flow)
    assert handle.result() == 7
    assert env.story(handle)[1] == "activity_scheduled charge#2(7)"


def test_an_activity_that_nobody_has_fails_by_name(env: Env) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        try:
            await ctx.execute_activity("shop.charge", 1)
        except ActivityError as error:
            return str(error)
        return ""

    assert env.run(flow) == (
        "activity 'shop.charge' failed after 3 attempts: UnknownDefinition: no activity named 'shop.charge' is declared."
    )
