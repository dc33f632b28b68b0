"""Code that no longer agrees with the local activities of a history, and code that merely has more of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from celeriac import WorkflowContext
from celeriac.errors import NonDeterminismError
from celeriac.orchestrator.definition import WorkflowDefinition
from celeriac.orchestrator.events import HistoryEvent
from celeriac.orchestrator.replay import replay
from tests.workflows import make

Flow = Callable[[WorkflowContext], Awaitable[Any]]


def look(item: str) -> str:
    return item


async def original(ctx: WorkflowContext) -> None:
    await ctx.execute_local_activity(look, "A")
    await asyncio.gather(ctx.execute_local_activity(look, "B"), ctx.sleep(60))
    await ctx.wait_signal("go")


RECORDED = [
    "workflow_started original()",
    "local_activity_completed look#1('A') -> 'A'",
    "timer_started #3 60s",
    "local_activity_completed look#2('B') -> 'B'",
    "timer_fired #3",
    "signal_received stop(None)",
]


def history() -> list[HistoryEvent]:
    env = make("cached")
    handle = env.start(env.workflow(original))
    env.advance(61)
    handle.signal("stop")
    env.settle()
    assert env.story(handle) == RECORDED
    return list(env.history(handle))


async def another_name(ctx: WorkflowContext) -> None:
    await ctx.execute_local_activity("stare", "A")


async def elsewhere(ctx: WorkflowContext) -> None:
    await ctx.execute_activity("look", "A")


async def one_less(ctx: WorkflowContext) -> None:
    await ctx.wait_signal("go")


async def one_more_before(ctx: WorkflowContext) -> None:
    ctx.execute_local_activity(look, "0")
    await ctx.execute_local_activity(look, "A")
    await asyncio.gather(ctx.execute_local_activity(look, "B"), ctx.sleep(60))


async def no_longer_elsewhere(ctx: WorkflowContext) -> None:
    await ctx.execute_local_activity(look, "A")
    await asyncio.gather(ctx.execute_local_activity(look, "B"), ctx.execute_local_activity(look, "C"))


@pytest.mark.parametrize(
    ("flow", "event", "recorded", "replayed", "has_line"),
    [
        (another_name, 2, "local activity 'look' (command 1)", "local activity 'stare' (command 1)", True),
        (elsewhere, 2, "local activity 'look' (command 1)", "activity 'look' (command 1)", True),
        (one_less, 2, "local activity 'look' (command 1)", "nothing that waits for it any more", False),
        (one_more_before, 3, "timer (command 3)", "nothing more in this step", False),
        (no_longer_elsewhere, 3, "timer (command 3)", "local activity 'look' (command 3)", True),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_what_parts_from_the_history(flow: Flow, event: int, recorded: str, replayed: str, has_line: bool) -> None:
    env = make("cached")
    with pytest.raises(NonDeterminismError) as found:
        replay(WorkflowDefinition("original", flow), history(), definitions=env.registry)
    error = found.value
    assert (error.event, error.recorded, error.replayed) == (event, recorded, replayed)
    assert (error.where or "").startswith(f"{__file__}:") is has_line


async def other_arguments(ctx: WorkflowContext) -> None:
    await ctx.execute_local_activity(look, object())  # type: ignore[arg-type]
    await asyncio.gather(ctx.execute_local_activity(look, "Z"), ctx.sleep(30))
    await ctx.wait_signal("go")


async def one_more_at_the_end(ctx: WorkflowContext) -> None:
    await original_but_for_the_end(ctx)
    await ctx.execute_local_activity(look, "C")


async def original_but_for_the_end(ctx: WorkflowContext) -> None:
    await ctx.execute_local_activity(look, "A")
    await asyncio.gather(ctx.execute_local_activity(look, "B"), ctx.sleep(60))


@pytest.mark.parametrize(
    ("flow", "pending"),
    [(original, []), (other_arguments, []), (one_more_at_the_end, ["local activity 'look' (command 4)"])],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_what_does_not(flow: Flow, pending: list[str]) -> None:
    live = replay(WorkflowDefinition("original", flow), history(), definitions=make("cached").registry)
    assert [each.phrase() for each in live.local.pending.values()] == pending
    live.discard()
