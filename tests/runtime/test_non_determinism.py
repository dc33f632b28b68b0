"""Code that no longer agrees with a history: every way to part from it holds the run, says where, and mends by itself."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from celeriac import WorkflowContext
from celeriac.errors import NonDeterminismError
from celeriac.orchestrator.replay import replay
from celeriac.testing.histories import from_json, to_json
from tests.workflows import Env

Flow = Callable[[WorkflowContext], Awaitable[Any]]


async def original(ctx: WorkflowContext) -> str:
    await ctx.execute_activity("charge", 1)
    await asyncio.wait_for(ctx.wait_signal("go"), 60)
    return "done"


RECORDED = [
    "workflow_started flow()",
    "activity_scheduled charge#1(1)",
    "activity_started charge#1",
    "activity_completed charge#1 -> None",
    "timer_started #2 60s",
]


async def another_activity(ctx: WorkflowContext) -> str:
    await ctx.execute_activity("bill", 1)
    return "done"


async def another_kind(ctx: WorkflowContext) -> str:
    await ctx.sleep(1)
    return "done"


async def one_more_before(ctx: WorkflowContext) -> str:
    await ctx.sleep(1)
    return await original(ctx)


async def one_more_beside(ctx: WorkflowContext) -> str:
    charging = ctx.execute_activity("charge", 1)
    await asyncio.gather(charging, ctx.execute_activity("bill"))
    return "done"


async def one_less(ctx: WorkflowContext) -> str:
    await ctx.execute_activity("charge", 1)
    await ctx.wait_signal("go")
    return "done"


async def one_number_on(ctx: WorkflowContext) -> str:
    asyncio.get_running_loop().call_later(5, print).cancel()
    return await original(ctx)


async def returns_early(ctx: WorkflowContext) -> str:
    return "done"


async def returns_a_step_early(ctx: WorkflowContext) -> str:
    await ctx.execute_activity("charge", 1)
    return "done"


async def raises_early(ctx: WorkflowContext) -> str:
    await ctx.execute_activity("charge", 1)
    raise KeyError("price")


async def a_side_effect_more(ctx: WorkflowContext) -> str:
    ctx.side_effect(lambda: 1)
    return await original(ctx)


async def a_side_effect_later(ctx: WorkflowContext) -> str:
    await ctx.execute_activity("charge", 1)
    ctx.side_effect(lambda: 1)
    return await original(ctx)


async def a_side_effect_and_all_is_caught(ctx: WorkflowContext) -> str:
    with contextlib.suppress(BaseException):
        ctx.side_effect(lambda: 1)
    return await original(ctx)


async def gives_up_the_timer(ctx: WorkflowContext) -> str:
    ctx.execute_activity("charge", 1).cancel()
    return await original(ctx)


# what part from it: the event, what is recorded there, what the code asks for; `True` where a line of code is known
PARTED: dict[Flow, tuple[int | None, str, str, bool]] = {
    another_activity: (2, "activity 'charge' (command 1)", "activity 'bill' (command 1)", True),
    another_kind: (2, "activity 'charge' (command 1)", "timer (command 1)", True),
    one_more_before: (2, "activity 'charge' (command 1)", "timer (command 1)", True),
    one_more_beside: (3, "nothing more in this step", "activity 'bill' (command 2)", True),
    one_less: (5, "timer (command 2)", "nothing more in this step", False),
    one_number_on: (2, "activity 'charge' (command 1)", "activity 'charge' (command 2)", True),
    returns_early: (2, "activity 'charge' (command 1)", "return of the workflow (command 1)", False),
    returns_a_step_early: (5, "timer (command 2)", "return of the workflow (command 2)", False),
    raises_early: (5, "timer (command 2)", "failure of the workflow (KeyError: 'price') (command 2)", True),
    a_side_effect_more: (2, "activity 'charge' (command 1)", "side effect (command 1)", True),
    a_side_effect_later: (5, "timer (command 2)", "side effect (command 2)", True),
    a_side_effect_and_all_is_caught: (2, "activity 'charge' (command 1)", "side effect (command 1)", True),
    gives_up_the_timer: (2, "activity 'charge' (command 1)", "activity 'charge' (command 2)", True),
}


@pytest.mark.parametrize("changed", PARTED, ids=lambda each: each.__name__)
def test_every_way_to_part_holds_the_run(env: Env, changed: Flow) -> None:
    @env.activity
    def charge(n: int) -> None: ...

    event, recorded, replayed, has_line = PARTED[changed]
    handle = env.start(env.workflow(name="flow")(original))
    env.settle()
    assert env.story(handle) == RECORDED

    env.workflow(name="flow")(changed)
    env.executor.engine.cache.clear()
    handle.signal("go")
    env.settle()

    assert env.story(handle) == RECORDED  # nothing appended
    assert handle.status() == "blocked"
    blocked: Any = handle.describe().blocked
    shown = (blocked["reason"], blocked.get("event"), blocked["recorded"], blocked["replayed"])
    assert shown == ("NonDeterminismError", event, recorded, replayed)
    line = blocked.get("where") or ""
    first = changed.__code__.co_firstlineno  # type: ignore[attr-defined]
    if has_line:
        filename, _, number = line.rpartition(":")
        assert filename == __file__
        inside = first < int(number) <= first + 6
        assert inside or original.__code__.co_firstlineno < int(number) <= original.__code__.co_firstlineno + 3
    else:
        assert line == ""

    env.workflow(name="flow")(original)  # the code is back
    env.advance(5)
    assert handle.result() == "done"
    assert env.story(handle) == [
        *RECORDED,
        "signal_received go(None)",
        "timer_canceled #2",
        "workflow_completed -> 'done'",
    ]


def test_a_held_run_is_tried_again_less_and_less_often(env: Env) -> None:
    env.replayable = False
    tries: list[float] = []

    @env.workflow(name="flow")
    async def before(ctx: WorkflowContext) -> None:
        await ctx.sleep(10**9)

    handle = env.start(before)
    env.settle()

    @env.workflow(name="flow")
    async def after(ctx: WorkflowContext) -> None:
        tries.append(round((env.now - begun).total_seconds()))
        await ctx.execute_activity("other")

    begun = env.now
    env.executor.engine.cache.clear()
    handle.signal("go")
    env.advance(1500)
    assert tries == [0, 5, 15, 35, 75, 155, 315, 615, 915, 1215]
    assert handle.describe().blocked is not None
    assert handle.describe().blocked["times"] == 10  # type: ignore[index]
    assert handle.describe().blocked["reason"] == "NonDeterminismError"  # type: ignore[index]
    assert len(env.history(handle)) == 2

    handle.signal("go")  # a new input is a reason to try at once
    env.settle()
    assert tries[-1] == 1500


def test_arguments_and_lengths_may_differ_the_recorded_ones_stand(env: Env) -> None:
    calls: list[int] = []

    @env.activity
    def charge(n: int) -> int:
        calls.append(n)
        return n

    @env.workflow(name="flow")
    async def before(ctx: WorkflowContext) -> object:
        timer = asyncio.ensure_future(ctx.sleep(60))
        n = await ctx.execute_activity(charge, 1)
        await timer
        return [n, (ctx.now() - start).total_seconds() > 59]

    handle = env.start(before)
    start = env.now
    env.settle()

    @env.workflow(name="flow")
    async def after(ctx: WorkflowContext) -> object:
        timer = asyncio.ensure_future(ctx.sleep(5))
        n = await ctx.execute_activity(charge, 2)
        await timer
        return [n, (ctx.now() - start).total_seconds() > 59]

    env.replayable = False
    env.executor.engine.cache.clear()
    assert handle.result() == [1, True]
    assert calls == [1]


def test_an_input_that_nothing_waits_for_any_more_parts_from_the_history_too(env: Env) -> None:
    @env.workflow(name="flow")
    async def before(ctx: WorkflowContext) -> None:
        await ctx.sleep(1)
        await ctx.sleep(1)
        await ctx.wait_signal("go")

    handle = env.start(before)
    env.advance(5)
    history = from_json(to_json(env.history(handle)))
    doubled = [*history[:4], history[2], *history[4:]]
    renumbered = [type(each)(at + 1, each.type, each.at, each.data, each.version) for at, each in enumerate(doubled)]
    with pytest.raises(NonDeterminismError) as parted:
        replay(before, renumbered, definitions=env.registry)
    assert (parted.value.event, parted.value.recorded) == (5, "timer_fired {'timer': 1}")
    assert parted.value.replayed == "nothing that waits for it any more"
