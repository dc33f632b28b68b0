"""A run goes on by running its code again and giving it the answers that are recorded. So the code must ask the same again."""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from celeriac import WorkflowContext
from celeriac.errors import ResultTimeout
from tests.workflows import Env


def test_dice_ids_and_the_clock_are_the_same_each_time(env: Env) -> None:
    seen: list[tuple[object, ...]] = []

    @env.workflow
    async def draw(ctx: WorkflowContext) -> list[str]:
        drawn = (ctx.random().randint(1, 10**9), str(ctx.uuid4()), ctx.now().isoformat())
        seen.append(drawn)
        await ctx.sleep(60)
        return [str(each) for each in drawn]

    handle = env.start(draw)
    result = handle.result()

    env.check_replay()  # runs it a few times more
    assert len(seen) > 2
    assert [[str(each) for each in drawn] for drawn in seen] == [result] * len(seen)
    assert uuid.UUID(result[1]).version == 4


def test_a_side_effect_happens_once_and_is_recorded(env: Env) -> None:
    rolled: list[int] = []

    def roll() -> uuid.UUID:
        rolled.append(1)
        return uuid.uuid4()  # a side effect may do what workflow code may not

    @env.workflow
    async def draw(ctx: WorkflowContext) -> uuid.UUID:
        drawn = ctx.side_effect(roll, uuid.UUID)
        assert isinstance(drawn, uuid.UUID)
        await ctx.sleep(60)
        return drawn

    handle = env.start(draw)
    result = handle.result()

    assert rolled == [1]
    assert env.story(handle) == [
        "workflow_started draw()",
        f"side_effect_recorded #1 -> {str(result)!r}",
        "timer_started #2 60s",
        "timer_fired #2",
        f"workflow_completed -> {str(result)!r}",
    ]


def test_loggers_speak_once(env: Env, caplog: pytest.LogCaptureFixture) -> None:
    shop = logging.getLogger("shop")

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        ctx.logger.info("begins")
        shop.info("begins too")
        await ctx.sleep(60)
        ctx.logger.info("goes on")
        shop.info("goes on too")

    with caplog.at_level(logging.INFO):
        handle = env.start(fulfil, id="order-1")
        env.settle()
        handle.query("stack")  # a copy that looks is silent
        handle.result()
        env.check_replay()

    assert [(each.name, each.getMessage()) for each in caplog.records] == [
        ("celeriac.workflow.fulfil", "[order-1] begins"),
        ("shop", "begins too"),
        ("celeriac.workflow.fulfil", "[order-1] goes on"),
        ("shop", "goes on too"),
    ]


def test_code_that_no_longer_agrees_holds_the_run_and_says_how_to_mend_it(env: Env) -> None:
    @env.activity
    def charge(order: str) -> None: ...

    @env.activity
    def bill(order: str) -> None: ...

    @env.workflow(name="fulfil")
    async def before(ctx: WorkflowContext, order: str) -> str:
        await ctx.execute_activity(charge, order)
        await ctx.wait_signal("go")
        return "done"

    handle = env.start(before, "A-17", id="order-1")
    env.settle()
    history = env.story(handle)

    @env.workflow(name="fulfil")
    async def after(ctx: WorkflowContext, order: str) -> str:
        await ctx.execute_activity(bill, order)  # used to be charge
        await ctx.wait_signal("go")
        return "done"

    env.executor.engine.cache.clear()  # a worker that has the new code
    line = after.fn.__code__.co_firstlineno + 2
    handle.signal("go")
    with pytest.raises(ResultTimeout):
        handle.result()

    assert handle.status() == "blocked"
    blocked: Any = handle.describe().blocked
    assert blocked["message"] == (
        "the workflow's code no longer agrees with its history (event 2).\n"
        "  recorded:     activity 'charge' (command 1)\n"
        "  replayed:     activity 'bill' (command 1)\n"
        f"  line of code: {__file__}:{line}\n"
        "The run is held, not failed: nothing was recorded, and it goes on when the code fits again. To keep both the old "
        "and the new behaviour write\n"
        "  if ctx.patched('a-name-for-this-change'):\n"
        "      ...  # activity 'bill' (command 1)\n"
        "  else:\n"
        "      ...  # activity 'charge' (command 1)"
    )
    assert env.story(handle) == history

    @env.workflow(name="fulfil")
    async def mended(ctx: WorkflowContext, order: str) -> str:
        if ctx.patched("bill"):
            await ctx.execute_activity(bill, order)
        else:
            await ctx.execute_activity(charge, order)
        await ctx.wait_signal("go")
        return "done"

    env.advance(5)  # it is tried again by itself
    assert handle.result() == "done"
    assert env.story(handle) == [*history, "signal_received go(None)", "workflow_completed -> 'done'"]

    newer = env.start(mended, "B-2")
    newer.signal("go")
    assert newer.result() == "done"
    assert env.story(newer) == [
        "workflow_started fulfil('B-2')",
        "signal_received go(None) early",
        "patch_marked #1 bill",
        "activity_scheduled bill#2('B-2')",
        "activity_started bill#2",
        "activity_completed bill#2 -> None",
        "workflow_completed -> 'done'",
    ]


def _open_a_file() -> None:
    Path(__file__).read_text()


def _look_up_a_host() -> None:
    socket.getaddrinfo("127.0.0.1", 9)


def _run_a_program() -> None:
    subprocess.run(["true"], check=True)


def _sleep() -> None:
    time.sleep(0)


def _draw_an_id() -> None:
    uuid.uuid4()


@pytest.mark.parametrize(
    ("call", "named", "instead"),
    [
        (_open_a_file, "pathlib.Path.read_text", "move it into an activity"),
        (_look_up_a_host, "socket.getaddrinfo", "move it into an activity"),
        (_run_a_program, "subprocess.run", "move it into an activity"),
        (_sleep, "time.sleep", "write `await ctx.sleep(...)`"),
        (_draw_an_id, "uuid.uuid4", "write `ctx.uuid4()`"),
    ],
)
def test_what_replay_could_not_reproduce_is_refused(
    env: Env, call: Callable[[], None], named: str, instead: str
) -> None:
    allowed = False

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        if allowed:
            with ctx.unsafe():
                call()
        else:
            with contextlib.suppress(BaseException):  # even swallowed it holds the run
                call()
        return "done"

    handle = env.start(fulfil)
    env.settle()

    assert handle.status() == "blocked"
    blocked: Any = handle.describe().blocked
    line = call.__code__.co_firstlineno + 1
    assert blocked["message"] == (
        f"{named} at {__file__}:{line} can't be used in a workflow, because replay can't reproduce it: {instead}"
    )
    assert (blocked["reason"], blocked["call"]) == ("ForbiddenCallError", named)
    assert env.story(handle) == ["workflow_started fulfil()"]

    allowed = True
    env.advance(5)
    assert handle.result() == "done"


def test_an_activity_called_like_a_function_is_refused_too(env: Env) -> None:
    @env.activity
    def charge(order: str, cents: int) -> int:
        return cents

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> int:
        return charge("A-17", cents=4200)

    handle = env.start(fulfil)
    env.settle()

    line = fulfil.fn.__code__.co_firstlineno + 2
    blocked: Any = handle.describe().blocked
    assert blocked["message"] == (
        f"charge('A-17', cents=4200) at {__file__}:{line} can't be used in a workflow, because replay can't reproduce it: "
        "write `await ctx.execute_activity(charge, 'A-17', cents=4200)`"
    )
    assert charge("A-17", 4200) == 4200  # outside workflows it is the function it was
