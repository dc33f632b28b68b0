"""Local activities: calls that a turn makes itself, recorded with it in one event each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from celeriac import (
    ActivityError,
    ActivityTimeoutError,
    Hooks,
    InvalidCall,
    NonRetryable,
    PayloadError,
    RetryAfter,
    RetryPolicy,
    WorkflowContext,
    WorkflowFailedError,
    activity_context,
)
from celeriac.orchestrator.status import WorkflowStatus
from tests.workflows import Env, make


def reserve(order: str, count: int = 1) -> str:
    return f"{order}: {count}"


def test_a_call_is_one_event(env: Env) -> None:
    @env.activity
    async def charge(cents: int) -> int:
        await asyncio.sleep(0)
        return cents + activity_context().attempt

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> list[Any]:
        return [
            await ctx.execute_local_activity(charge, 4200),
            await ctx.execute_local_activity(reserve, "A-17", count=2),
        ]

    handle = env.start(fulfil)

    assert handle.result() == [4201, "A-17: 2"]
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "local_activity_completed charge#1(4200) -> 4201",
        "local_activity_completed reserve#2('A-17', count=2) -> 'A-17: 2'",
        "workflow_completed -> [4201, 'A-17: 2']",
    ]
    assert handle.describe().turns == 1


def test_a_plain_workflow_asks_for_the_result(env: Env) -> None:
    @env.workflow
    def fulfil(ctx: WorkflowContext) -> str:
        first = ctx.execute_local_activity(reserve, "A")
        second = ctx.execute_local_activity(reserve, "B")
        return second.result() + first.result()

    handle = env.start(fulfil)

    assert handle.result() == "B: 1A: 1"
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "local_activity_completed reserve#1('A') -> 'A: 1'",
        "local_activity_completed reserve#2('B') -> 'B: 1'",
        "workflow_completed -> 'B: 1A: 1'",
    ]


def test_it_may_do_what_a_workflow_may_not_and_the_guard_is_back_after_it(env: Env, tmp_path: Any) -> None:
    env.replayable = False
    target = tmp_path / "ledger"

    def write() -> int:
        time.sleep(0)
        return target.write_text("paid")

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        await ctx.execute_local_activity(write)
        target.read_text()

    handle = env.start(fulfil)
    env.settle()

    assert target.read_text() == "paid"
    assert handle.status() is WorkflowStatus.BLOCKED
    assert handle.describe().blocked["call"] == "pathlib.Path.read_text"


def test_what_was_done_before_a_step_that_blocks_is_kept_and_not_done_again(env: Env) -> None:
    env.replayable = False
    done: list[int] = []
    mended: list[bool] = []

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> int:
        for number in range(3):
            await ctx.execute_local_activity(done.append, number)
        if not mended:
            open("/dev/null").close()  # noqa: ASYNC230, PTH123
        return 7

    handle = env.start(fulfil)
    env.settle()
    assert handle.status() is WorkflowStatus.BLOCKED
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "local_activity_completed append#1(0) -> None",
        "local_activity_completed append#2(1) -> None",
    ]
    env.advance(60)  # tried again, to the same effect
    mended.append(True)
    env.advance(300)

    assert handle.result() == 7
    assert done == [0, 1, 2]
    assert env.story(handle)[-2:] == ["local_activity_completed append#3(2) -> None", "workflow_completed -> 7"]


def test_short_waits_between_attempts_are_waited_for_in_the_turn(env: Env) -> None:
    attempts: list[int] = []

    @env.activity
    def charge() -> str:
        attempts.append(activity_context().attempt)
        if len(attempts) < 3:
            raise ConnectionError("no answer")
        return "done"

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        return await ctx.execute_local_activity(charge)

    handle = env.start(fulfil)

    assert handle.result() == "done"
    assert attempts == [1, 2, 3]
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "local_activity_completed charge#1() -> 'done' (3 attempts)",
        "workflow_completed -> 'done'",
    ]
    assert handle.describe().turns == 1


def test_longer_ones_are_timers(env: Env) -> None:
    at: list[float] = []

    @env.activity(retry=RetryPolicy(max_attempts=3, initial_interval=60, max_interval=3600))
    def charge() -> None:
        at.append(round((env.now - start).total_seconds()))
        raise ConnectionError("no answer")

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        try:
            await ctx.execute_local_activity(charge)
        except ActivityError as error:
            return f"{error.type} after {error.attempts}"
        return "charged"

    start = env.now
    handle = env.start(fulfil)
    env.settle()
    assert handle.describe().waits == ("local activity 'charge'",)

    assert handle.result() == "ConnectionError after 3"
    assert at == [0, 60, 180]
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "local_activity_delayed charge#1 60s: ConnectionError: no answer",
        "timer_fired #1",
        "local_activity_delayed charge#1 120s: ConnectionError: no answer (2 attempts)",
        "timer_fired #1",
        "local_activity_failed charge#1(): ConnectionError: no answer (3 attempts)",
        "workflow_completed -> 'ConnectionError after 3'",
    ]


def test_a_delayed_one_is_taken_back_with_its_timer(env: Env) -> None:
    def charge() -> None:
        raise RetryAfter(timedelta(hours=1))

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        try:
            async with asyncio.timeout(60):
                await ctx.execute_local_activity(charge)
        except TimeoutError:
            return await ctx.wait_signal("go")
        return "charged"

    handle = env.start(fulfil)
    env.advance(61)
    assert [each.kind.value for each in env.executor.store.tasks(handle.run_id)] == ["turn"]
    handle.signal("go", "on")

    assert handle.result() == "on"
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "timer_started #1 60s",
        "local_activity_delayed charge#2 3600s: RetryAfter: asked to be tried again after 3600 s",
        "timer_fired #1",
        "signal_received go('on')",
        "workflow_completed -> 'on'",
    ]


def fails() -> None:
    raise ValueError("no")


def gives_up() -> None:
    raise NonRetryable("never")


def cancels_itself() -> None:
    raise asyncio.CancelledError


def leaves() -> None:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("fn", "said"),
    [
        (fails, "ValueError: no (3 attempts)"),
        (gives_up, "NonRetryable: never"),
        (cancels_itself, "CancelledError (3 attempts)"),
        (leaves, "SystemExit: 3 (3 attempts)"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_what_it_raises_fails_it(env: Env, fn: Callable[[], None], said: str) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        await ctx.execute_local_activity(fn)

    handle = env.start(fulfil)

    with pytest.raises(WorkflowFailedError):
        handle.result()
    assert env.story(handle)[1] == f"local_activity_failed {fn.__name__}#1(): {said}"


def test_a_coroutine_that_takes_too_long_is_canceled(env: Env) -> None:
    stopped: list[bool] = []

    @env.activity(timeout=0.05, retry=RetryPolicy.never())
    async def charge() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.append(True)

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        try:
            await ctx.execute_local_activity(charge)
        except ActivityTimeoutError as error:
            return error.kind
        return "charged"

    handle = env.start(fulfil)

    assert handle.result() == "start_to_close"
    assert stopped == [True]
    assert env.story(handle)[1] == (
        "local_activity_failed charge#1(): ActivityTimeoutError: attempt 1 took longer than 0.05 s"
    )


def test_a_plain_function_that_takes_too_long_is_left_behind(env: Env) -> None:
    import threading

    go_on, over = threading.Event(), threading.Event()

    @env.activity(timeout=0.05, retry=RetryPolicy(max_attempts=2))
    def charge() -> int:
        if activity_context().attempt == 1:
            go_on.wait(10)
            over.set()
        return activity_context().attempt

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> int:
        return await ctx.execute_local_activity(charge)

    handle = env.start(fulfil)

    assert handle.result() == 2
    go_on.set()
    assert over.wait(10)
    assert env.story(handle)[1] == "local_activity_completed charge#1() -> 2 (2 attempts)"


def test_its_own_timeout_error_is_not_ours(env: Env) -> None:
    @env.activity(timeout=60, retry=RetryPolicy.never())
    async def charge() -> None:
        raise TimeoutError("the bank")

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        await ctx.execute_local_activity(charge)

    handle = env.start(fulfil)
    with pytest.raises(WorkflowFailedError):
        handle.result()
    assert env.story(handle)[1] == "local_activity_failed charge#1(): TimeoutError: the bank"


def test_all_attempts_have_a_limit_too(env: Env) -> None:
    @env.activity(schedule_to_close=90, retry=RetryPolicy(initial_interval=60, max_interval=60))
    def charge() -> None:
        raise ConnectionError("no answer")

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        await ctx.execute_local_activity(charge)

    handle = env.start(fulfil)
    with pytest.raises(WorkflowFailedError):
        handle.result()
    assert env.story(handle)[1:4] == [
        "local_activity_delayed charge#1 60s: ConnectionError: no answer",
        "timer_fired #1",
        "local_activity_failed charge#1(): ActivityTimeoutError: was not done within 90 s, retries included (2 attempts)",
    ]


def test_a_value_that_cant_be_recorded_is_refused_where_it_is_passed(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> list[str]:
        said = []
        for wrong in (object(), "x" * 2_000):
            try:
                await ctx.execute_local_activity(reserve, wrong)  # type: ignore[arg-type]
            except PayloadError as error:
                said.append(str(error).partition(",")[0])
        try:
            ctx.execute_local_activity(reserve)
        except InvalidCall:
            said.append("no order")
        return [*said, await ctx.execute_local_activity(reserve, "A")]

    env.registry.max_payload = 1_000
    handle = env.start(fulfil)

    result = handle.result()
    assert result[1:] == ["the arguments of local activity 'reserve' would take 2", "no order", "A: 1"]
    assert "argument 'order'" in result[0]
    assert env.story(handle)[1] == "local_activity_completed reserve#4('A') -> 'A: 1'"


def test_so_is_a_result(env: Env) -> None:
    def made() -> object:
        return object()

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        try:
            await ctx.execute_local_activity(made)
        except ActivityError as error:
            return f"{error.type} after {error.attempts}"
        return "recorded"

    assert env.run(fulfil) == "PayloadError after 1"


def test_what_has_no_name_is_refused(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        try:
            ctx.execute_local_activity(lambda: 1)
        except InvalidCall as error:
            return str(error)
        return "taken"

    assert "has no name to be recorded under. Write it as 'def'" in env.run(fulfil)


def test_a_name_that_nobody_has_here_holds_the_run(env: Env) -> None:
    env.replayable = False

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> Any:
        first = await ctx.execute_local_activity(reserve, "A")
        return first, await ctx.execute_local_activity("elsewhere.charge", 1)

    handle = env.start(fulfil)
    env.settle()
    assert handle.status() is WorkflowStatus.BLOCKED
    assert handle.describe().blocked["reason"] == "NoFunction"
    assert env.story(handle)[1:] == ["local_activity_completed reserve#1('A') -> 'A: 1'"]
    mock = env.mock("elsewhere.charge", lambda cents: cents + 1)
    env.advance(60)

    assert handle.result() == ("A: 1", 2)
    assert mock.calls == [(1,)]


def test_the_context_is_out_of_its_reach(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> list[str]:
        said = []

        def dice() -> float:
            return ctx.random().random()

        def more() -> None:
            ctx.execute_activity("charge")

        for each in (dice, more):
            try:
                await ctx.execute_local_activity(each)
            except ActivityError as error:
                said.append(error.type)
        return said

    assert env.run(fulfil) == ["InvalidCall", "InvalidCall"]


def test_beside_activities_elsewhere(env: Env) -> None:
    @env.activity
    def far(value: int) -> int:
        return value * 10

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> list[Any]:
        first = await asyncio.gather(ctx.execute_activity(far, 1), ctx.execute_local_activity(reserve, "A"))
        return [*first, await ctx.execute_activity(far, 2), await ctx.execute_local_activity(reserve, "B")]

    handle = env.start(fulfil)

    assert handle.result() == [10, "A: 1", 20, "B: 1"]
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "activity_scheduled far#1(1)",
        "local_activity_completed reserve#2('A') -> 'A: 1'",
        "activity_started far#1",
        "activity_completed far#1 -> 10",
        "activity_scheduled far#3(2)",
        "activity_started far#3",
        "activity_completed far#3 -> 20",
        "local_activity_completed reserve#4('B') -> 'B: 1'",
        "workflow_completed -> [10, 'A: 1', 20, 'B: 1']",
    ]


def test_one_that_has_not_begun_is_taken_back_without_a_trace(env: Env) -> None:
    called: list[int] = []

    def call(number: int) -> int:
        called.append(number)
        return number

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> list[Any]:
        never = ctx.execute_local_activity(call, 1)
        never.cancel()
        place, value = await ctx.first(ctx.execute_local_activity(call, 2), ctx.execute_local_activity(call, 3))
        return [place, value, never.cancelled()]

    handle = env.start(fulfil)

    assert handle.result() == [0, 2, True]
    assert called == [2]
    assert env.story(handle)[1:] == ["local_activity_completed call#2(2) -> 2", "workflow_completed -> [0, 2, True]"]


def test_canceling_the_workflow_takes_it_back_too(env: Env) -> None:
    def charge() -> None:
        raise RetryAfter(3600)

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        try:
            await ctx.execute_local_activity(charge)
        except asyncio.CancelledError:
            await ctx.execute_local_activity(reserve, "back")
            raise
        return "charged"

    handle = env.start(fulfil)
    env.settle()
    handle.cancel("enough")
    env.settle()

    assert handle.status() is WorkflowStatus.CANCELED
    assert env.story(handle)[2:] == [
        "cancel_requested enough",
        "local_activity_completed reserve#2('back') -> 'back: 1'",
        "workflow_canceled enough",
    ]


def test_a_query_calls_none(env: Env) -> None:
    called: list[int] = []

    def call() -> None:
        called.append(1)

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        seen: list[Any] = []
        ctx.query_as("seen")(lambda: len(seen))
        async for each in ctx.receive_signal("go"):
            await ctx.execute_local_activity(call)
            seen.append(each)

    handle = env.start(fulfil)
    env.settle()
    handle.signal("go", 1)

    assert handle.query("seen") == 0
    assert called == []
    env.settle()
    assert (handle.query("seen"), called) == (1, [1])


def test_hooks_hear_of_it() -> None:
    heard: list[Any] = []
    env = make(
        "cached",
        hooks=Hooks(
            on_activity_start=lambda _, name, attempt: heard.append(("start", name, attempt)),
            on_retry=lambda _, name, attempt, failure, delay: heard.append((failure["type"], name, attempt, delay)),
            on_activity_complete=lambda _, name, result, failure: heard.append(("end", name, result, failure)),
        ),
    )

    def charge() -> int:
        if activity_context().attempt == 1:
            raise ConnectionError("no answer")
        return 7

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> int:
        return await ctx.execute_local_activity(charge)

    assert env.run(fulfil) == 7
    assert heard == [
        ("start", "charge", 1),
        ("ConnectionError", "charge", 1, 0.1),
        ("start", "charge", 2),
        ("end", "charge", 7, None),
    ]


def test_from_within_a_running_loop(env: Env) -> None:
    async def fetch() -> str:
        await asyncio.sleep(0)
        return activity_context().activity

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        return await ctx.execute_local_activity(fetch)

    async def notebook() -> str:
        return env.run(fulfil)  # type: ignore[no-any-return]

    assert asyncio.run(notebook()) == "fetch"
