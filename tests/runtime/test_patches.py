"""``ctx.patched`` keeps two sides of a change; ``deprecate_patch`` takes the old one away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celeriac import WorkflowContext
from tests.workflows import Env


async def unpatched(ctx: WorkflowContext) -> str:
    await ctx.execute_activity("old")
    await ctx.wait_signal("go")
    return "old"


async def patched(ctx: WorkflowContext) -> str:
    new = ctx.patched("p")
    await ctx.execute_activity("new" if new else "old")
    await ctx.wait_signal("go")
    return f"{'new' if ctx.patched('p') else 'old'}"


async def deprecated(ctx: WorkflowContext) -> str:
    ctx.deprecate_patch("p")
    await ctx.execute_activity("new")
    await ctx.wait_signal("go")
    ctx.deprecate_patch("p")
    return "new"


async def done_with(ctx: WorkflowContext) -> str:
    await ctx.execute_activity("new")
    await ctx.wait_signal("go")
    return "new"


def _start(env: Env, code: Callable[..., Any]) -> Any:
    for name in ("old", "new"):
        env.activity(name=name)(lambda: None)
    handle = env.start(env.workflow(name="flow")(code))
    env.settle()
    return handle


def _go_on(env: Env, handle: Any, code: Callable[..., Any]) -> Any:
    env.workflow(name="flow")(code)
    env.executor.engine.cache.clear()
    handle.signal("go")
    return handle.result()


OLD = [
    "workflow_started flow()",
    "activity_scheduled old#1()",
    "activity_started old#1",
    "activity_completed old#1 -> None",
    "signal_received go(None)",
    "workflow_completed -> 'old'",
]
NEW = [
    "workflow_started flow()",
    "patch_marked #1 p",
    "activity_scheduled new#2()",
    "activity_started new#2",
    "activity_completed new#2 -> None",
    "signal_received go(None)",
    "workflow_completed -> 'new'",
]


def test_an_old_run_stays_on_the_old_side(env: Env) -> None:
    handle = _start(env, unpatched)
    assert _go_on(env, handle, patched) == "old"
    assert env.story(handle) == OLD


def test_a_new_run_takes_the_new_side(env: Env) -> None:
    handle = _start(env, patched)
    assert _go_on(env, handle, patched) == "new"
    assert env.story(handle) == NEW


def test_a_marked_run_goes_on_when_the_patch_is_deprecated(env: Env) -> None:
    handle = _start(env, patched)
    assert _go_on(env, handle, deprecated) == "new"
    assert env.story(handle) == NEW


def test_a_deprecated_patch_marks_nothing(env: Env) -> None:
    handle = _start(env, deprecated)
    assert _go_on(env, handle, done_with) == "new"
    assert env.story(handle) == [each.replace("#2", "#1") for each in NEW if "patch" not in each]


def test_a_marked_run_is_held_by_code_that_knows_nothing_of_it(env: Env) -> None:
    env.replayable = False
    handle = _start(env, patched)
    env.workflow(name="flow")(done_with)
    env.executor.engine.cache.clear()
    handle.signal("go")
    env.settle()
    blocked: Any = handle.describe().blocked
    assert (blocked["recorded"], blocked["replayed"]) == ("patch 'p' (command 1)", "activity 'new' (command 1)")


def test_a_patch_that_an_open_run_has_not_come_to_is_taken(env: Env) -> None:
    async def before(ctx: WorkflowContext) -> str:
        await ctx.wait_signal("go")
        return "old"

    async def after(ctx: WorkflowContext) -> str:
        await ctx.wait_signal("go")
        return "new" if ctx.patched("p") else "old"

    handle = _start(env, before)
    assert _go_on(env, handle, after) == "new"
    assert env.story(handle) == [
        "workflow_started flow()",
        "signal_received go(None)",
        "patch_marked #1 p",
        "workflow_completed -> 'new'",
    ]
