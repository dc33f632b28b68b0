"""Whatever leaves workflow code is accounted for: nothing hangs a run, nothing kills a worker."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import pytest

from celeriac import WorkflowContext, WorkflowFailedError
from celeriac.activities.definition import ActivityDefinition
from celeriac.orchestrator.loop import RunDiscarded
from tests.workflows import Env


class Strange(BaseException):
    pass


RAISED: list[Callable[[], BaseException]] = [
    lambda: SystemExit(3),
    lambda: Strange("odd"),
    lambda: GeneratorExit("gone"),
    lambda: StopAsyncIteration("stop"),
    lambda: RecursionError("deep"),
    lambda: MemoryError("full"),
    lambda: asyncio.InvalidStateError("state"),
    lambda: BaseExceptionGroup("several", [Strange("a"), ValueError("b")]),
]


def _name(make: Callable[[], BaseException]) -> str:
    return type(make()).__name__


@pytest.mark.parametrize("make", RAISED, ids=_name)
@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
def test_out_of_the_function_it_fails_the_run(
    env: Env, make: Callable[[], BaseException], plain: bool, later: bool
) -> None:
    async def coroutine(ctx: WorkflowContext) -> None:
        if later:
            await ctx.sleep(1)
        raise make()

    def function(ctx: WorkflowContext) -> None:
        if later:
            ctx.sleep(1)
        raise make()

    handle = env.start(env.workflow(name="flow")(function if plain else coroutine))

    with pytest.raises(WorkflowFailedError) as failed:
        handle.result()
    error = make()
    assert failed.value.failure is not None
    assert (failed.value.failure["type"], failed.value.failure["message"]) == (type(error).__name__, str(error))
    timer = ["timer_started #1 1s", "timer_fired #1"] if later else []
    assert env.story(handle) == [
        "workflow_started flow()",
        *timer,
        f"workflow_failed {type(error).__name__}: {error}",
    ]


@pytest.mark.parametrize("make", RAISED, ids=_name)
def test_out_of_a_task_that_is_awaited_it_reaches_whoever_awaits(env: Env, make: Callable[[], BaseException]) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        async def branch() -> None:
            await ctx.sleep(1)
            raise make()

        try:
            await asyncio.gather(branch(), ctx.sleep(2))
        except BaseException as error:  # noqa: BLE001
            return type(error).__name__
        return ""

    handle = env.start(flow)
    assert handle.result() == _name(make)
    assert env.story(handle) == [
        "workflow_started flow()",
        "timer_started #1 1s",
        "timer_started #2 2s",
        "timer_fired #1",
        f"workflow_completed -> {_name(make)!r}",
    ]


@pytest.mark.parametrize("make", RAISED, ids=_name)
@pytest.mark.parametrize("how", ["task", "callback", "handler", "async handler"])
def test_where_nobody_awaits_it_is_a_warning(env: Env, make: Callable[[], BaseException], how: str) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        async def branch(*_: Any) -> None:
            raise make()

        def callback(*_: Any) -> None:
            raise make()

        await ctx.wait_signal("go")
        if how == "task":
            asyncio.create_task(branch(), name="branch")  # noqa: RUF006
        elif how == "callback":
            asyncio.get_running_loop().call_soon(callback)
        else:
            ctx.on_signal("poke", callback if how == "handler" else branch)
        await ctx.wait_signal("end")
        return "ended"

    handle = env.start(flow)
    env.settle()
    for name in ("go", "poke", "end"):
        handle.signal(name)

    assert handle.result() == "ended"
    told = f"{_name(make)}: {make()}"
    warning = {
        "task": f"warning_recorded task 'branch' raised, and nobody awaited it: {told}",
        "handler": f"warning_recorded task \"handler of signal 'poke'\" raised, and nobody awaited it: {told}",
        "async handler": f"warning_recorded task \"handler of signal 'poke'\" raised, and nobody awaited it: {told}",
    }.get(how)
    story = env.story(handle)
    if warning is None:  # asyncio's words for a callback hold an address
        warning = next(each for each in story if each.startswith("warning_recorded"))
        assert warning.endswith(told)
    first = [warning] if how in {"task", "callback"} else []
    assert story == [
        "workflow_started flow()",
        "signal_received go(None)",
        *first,
        "signal_received poke(None)",
        *([] if first else [warning]),
        "signal_received end(None)",
        "workflow_completed -> 'ended'",
    ]


def test_a_warning_stands_before_the_end_of_the_history(env: Env) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        async def branch() -> None:
            raise ValueError("unheard")

        task = asyncio.create_task(branch(), name="branch")
        await ctx.sleep(1)
        return f"done: {task.done()}"

    handle = env.start(flow)
    assert handle.result() == "done: True"
    assert env.story(handle) == [
        "workflow_started flow()",
        "timer_started #1 1s",
        "timer_fired #1",
        "warning_recorded task 'branch' raised, and nobody awaited it: ValueError: unheard",
        "workflow_completed -> 'done: True'",
    ]


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
def test_ctrl_c_goes_through_and_leaves_the_run_as_it_was(env: Env, plain: bool) -> None:
    pressed = True

    async def coroutine(ctx: WorkflowContext) -> str:
        await ctx.sleep(1)
        if pressed:
            raise KeyboardInterrupt
        return "done"

    def function(ctx: WorkflowContext) -> str:
        ctx.sleep(1)
        if pressed:
            raise KeyboardInterrupt
        return "done"

    handle = env.start(env.workflow(name="flow")(function if plain else coroutine))
    with pytest.raises(KeyboardInterrupt):
        handle.result()
    assert env.story(handle) == ["workflow_started flow()", "timer_started #1 1s"]
    assert handle.status() == "running"

    pressed = False
    assert handle.result() == "done"
    assert env.story(handle) == [
        "workflow_started flow()",
        "timer_started #1 1s",
        "timer_fired #1",
        "workflow_completed -> 'done'",
    ]


class TimeIsUp(Exception):
    """What an executor raises into the thread from outside."""


@pytest.mark.parametrize("grouped", [False, True])
def test_an_interrupt_of_the_executor_goes_through_too(env: Env, grouped: bool) -> None:
    struck = True
    env.executor.engine._interrupts = env.executor.engine.loader._interrupts = (TimeIsUp,)

    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        async def body() -> str:
            if struck:
                raise TimeIsUp
            return "done"

        if not grouped:
            return await body()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(body())
        return task.result()

    handle = env.start(flow)
    with pytest.raises(TimeIsUp):
        handle.result()
    assert env.story(handle) == ["workflow_started flow()"]

    struck = False
    env.advance(61)  # the lease of the turn runs out
    assert handle.result() == "done"


@pytest.mark.parametrize("make", RAISED, ids=_name)
def test_out_of_an_activity_it_is_a_failed_attempt(env: Env, make: Callable[[], BaseException]) -> None:
    calls: list[int] = []

    @env.activity
    def work() -> str:
        calls.append(1)
        if len(calls) < 3:
            raise make()
        return "done"

    @env.activity
    async def async_work() -> str:
        return work()

    @env.workflow
    async def flow(ctx: WorkflowContext, which: str) -> str:
        return await ctx.execute_activity(which)

    assert env.run(flow, "work") == "done"
    assert len(calls) == 3
    if not isinstance(make(), StopAsyncIteration):
        calls.clear()
        assert env.run(flow, "async_work") == "done"
        assert len(calls) == 3


def test_ctrl_c_in_an_activity_gives_the_attempt_back(env: Env) -> None:
    pressed = True

    @env.activity
    def work() -> str:
        if pressed:
            raise KeyboardInterrupt
        return "done"

    @env.workflow
    async def flow(ctx: WorkflowContext) -> str:
        return await ctx.execute_activity(work)

    handle = env.start(flow)
    with pytest.raises(KeyboardInterrupt):
        handle.result()
    pressed = False
    assert handle.result() == "done"
    assert env.story(handle) == [
        "workflow_started flow()",
        "activity_scheduled work#1()",
        "activity_started work#1",
        "activity_completed work#1 -> 'done'",
        "workflow_completed -> 'done'",
    ]


@pytest.mark.parametrize("plain", [False, True], ids=["async", "plain"])
def test_a_run_dropped_from_memory_does_nothing_any_more(env: Env, plain: bool) -> None:
    seen: list[str] = []

    async def coroutine(ctx: WorkflowContext) -> str:
        try:
            await ctx.wait_signal("go")
        except BaseException as error:
            seen.append(type(error).__name__)
            try:
                ctx.execute_activity("work")
            except BaseException as again:  # noqa: BLE001
                seen.append(type(again).__name__)
            raise
        return "done"

    def function(ctx: WorkflowContext) -> str:
        try:
            ctx.wait_signal("go").result()
        except BaseException as error:
            seen.append(type(error).__name__)
            try:
                ctx.execute_activity("work")
            except BaseException as again:  # noqa: BLE001
                seen.append(type(again).__name__)
            raise
        return "done"

    handle = env.start(env.workflow(name="flow")(function if plain else coroutine))
    env.settle()
    env.executor.engine.cache.clear()
    assert seen[:2] == ["RunDiscarded", "RunDiscarded"] or env.executor.engine.cache.limit == 0
    handle.signal("go")
    assert handle.result() == "done"
    assert env.story(handle) == [
        "workflow_started flow()",
        "signal_received go(None)",
        "workflow_completed -> 'done'",
    ]
    assert issubclass(RunDiscarded, BaseException)
    assert not issubclass(RunDiscarded, Exception)


def test_leaving_by_sys_exit_is_leaving_by_an_exception(env: Env) -> None:
    @env.workflow
    async def flow(ctx: WorkflowContext) -> None:
        sys.exit("bye")

    with pytest.raises(WorkflowFailedError, match="SystemExit: bye"):
        env.run(flow)
    assert ActivityDefinition("x").fn is None
