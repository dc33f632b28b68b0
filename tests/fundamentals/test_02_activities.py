"""Activities do the work: they may fail, take too long, report how far they got, and be tried again."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from celeriac import (
    ActivityError,
    ActivityTimeoutError,
    NonRetryable,
    RetryAfter,
    RetryPolicy,
    WorkflowContext,
    WorkflowFailedError,
    activity_context,
)
from tests.workflows import Env


def test_a_failed_attempt_is_followed_by_another(env: Env) -> None:
    attempts: list[int] = []

    @env.activity
    def charge() -> str:
        attempts.append(activity_context().attempt)
        if len(attempts) < 3:
            raise ConnectionError("no answer")
        return "done"

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        return await ctx.execute_activity(charge)

    handle = env.start(fulfil)

    assert handle.result() == "done"
    assert attempts == [1, 2, 3]
    assert env.story(handle) == [  # retries don't make the history any longer
        "workflow_started fulfil()",
        "activity_scheduled charge#1()",
        "activity_started charge#1 attempt 3",
        "activity_completed charge#1 -> 'done'",
        "workflow_completed -> 'done'",
    ]


def test_retries_wait_longer_and_longer(env: Env) -> None:
    at: list[float] = []

    @env.activity(retry=RetryPolicy(max_attempts=5, initial_interval=1, backoff_coefficient=3, max_interval=10))
    def charge() -> None:
        at.append((env.now - start).total_seconds())
        raise ConnectionError("no answer")

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        await ctx.execute_activity(charge)

    start = env.now
    with pytest.raises(WorkflowFailedError):
        env.run(fulfil)
    assert [round(each, 3) for each in at] == [0, 1, 4, 13, 23]


def test_in_the_end_the_workflow_hears_of_it(env: Env) -> None:
    @env.activity(retry=RetryPolicy(max_attempts=2))
    def charge() -> None:
        raise ConnectionError("no answer")

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        try:
            await ctx.execute_activity(charge)
        except ActivityError as error:
            return f"{error.activity}, {error.type}, {error.attempts}: {error}"
        return "charged"

    handle = env.start(fulfil)

    told = "charge, ConnectionError, 2: activity 'charge' failed after 2 attempts: ConnectionError: no answer"
    assert handle.result() == told
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "activity_scheduled charge#1()",
        "activity_started charge#1 attempt 2",
        "activity_failed charge#1: ConnectionError: no answer (2 attempts)",
        f"workflow_completed -> {told!r}",
    ]


def test_an_activity_may_say_that_another_attempt_would_not_help(env: Env) -> None:
    @env.activity
    def charge() -> None:
        raise NonRetryable("card declined", details={"code": 51})

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> object:
        try:
            await ctx.execute_activity(charge)
        except ActivityError as error:
            return [error.type, error.details, error.attempts]

    assert env.run(fulfil) == ["NonRetryable", {"code": 51}, 1]


class CardError(Exception):
    pass


class CardDeclined(CardError):
    pass


@pytest.mark.parametrize("named", [CardDeclined, CardError, "CardDeclined", "CardError"])
def test_so_may_its_policy_by_class_base_class_or_name(env: Env, named: type[Exception] | str) -> None:
    @env.activity(retry=RetryPolicy(non_retryable=(named,)))
    def charge() -> None:
        raise CardDeclined("no")

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> int:
        try:
            await ctx.execute_activity(charge)
        except ActivityError as error:
            return error.attempts
        return 0

    assert env.run(fulfil) == 1


def test_an_activity_may_say_when_to_try_again(env: Env) -> None:
    at: list[float] = []

    @env.activity
    def charge() -> None:
        at.append((env.now - start).total_seconds())
        if len(at) < 3:
            raise RetryAfter(timedelta(minutes=1) if len(at) == 1 else 0.5)

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        await ctx.execute_activity(charge)

    start = env.now
    env.run(fulfil)
    assert [round(each, 3) for each in at] == [0, 60, 60.5]


def test_an_attempt_that_takes_too_long_counts_as_failed(env: Env) -> None:
    @env.activity(timeout=30, retry=RetryPolicy(max_attempts=2))
    def charge() -> None:
        env.toil(31)

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        try:
            await ctx.execute_activity(charge)
        except ActivityTimeoutError as error:
            return f"{error.kind} {error.failure['message']}"
        return "charged"

    handle = env.start(fulfil)

    assert handle.result() == "start_to_close attempt 2 took longer than 30 s"
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "activity_scheduled charge#1()",
        "activity_started charge#1 attempt 2",
        "activity_failed charge#1: ActivityTimeoutError: attempt 2 took longer than 30 s (2 attempts)",
        "workflow_completed -> 'start_to_close attempt 2 took longer than 30 s'",
    ]


def test_all_attempts_together_may_be_limited(env: Env) -> None:
    @env.activity(schedule_to_close=60, retry=RetryPolicy(max_attempts=None, initial_interval=25, max_interval=25))
    def charge() -> None:
        raise ConnectionError("no answer")

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        try:
            await ctx.execute_activity(charge)
        except ActivityTimeoutError as error:
            return f"{error.kind} after {error.attempts}, {error.failure['cause']['message']}"
        return "charged"

    assert env.run(fulfil) == "schedule_to_close after 3, no answer"


def test_waiting_for_a_worker_may_be_limited(env: Env) -> None:
    @env.activity(schedule_to_start=60)
    def charge() -> None: ...

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        try:
            await ctx.execute_activity(charge)
        except ActivityTimeoutError as error:
            return f"{error.kind}: {error.failure['message']}"
        return "charged"

    handle = env.start(fulfil)
    while not env.history(handle)[1:]:
        env.executor.step(jump=False)
    env.executor.dispatcher.take()  # the message is lost
    env.clock.advance(61)

    assert handle.result() == "schedule_to_start: no worker took it within 60 s"
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "activity_scheduled charge#1()",
        "activity_failed charge#1: ActivityTimeoutError: no worker took it within 60 s",
        "workflow_completed -> 'schedule_to_start: no worker took it within 60 s'",
    ]


def test_a_heartbeat_tells_the_next_attempt_how_far_this_one_got(env: Env) -> None:
    begun_at: list[object] = []

    @env.activity
    def copy() -> int:
        context = activity_context()
        begun_at.append(context.details)
        done = (context.details or {"page": 0})["page"]
        for page in range(done, 5):
            context.heartbeat({"page": page})
            if page == 2 and context.attempt == 1:
                raise ConnectionError("no answer")
        return 5

    @env.workflow
    async def archive(ctx: WorkflowContext) -> int:
        return await ctx.execute_activity(copy)

    assert env.run(archive) == 5
    assert begun_at == [None, {"page": 2}]


def test_an_attempt_without_a_sign_of_life_counts_as_failed(env: Env) -> None:
    @env.activity(heartbeat=10, retry=RetryPolicy.never())
    def copy() -> None:
        env.toil(9)
        activity_context().heartbeat()
        env.toil(9)
        activity_context().heartbeat()
        env.toil(11)

    @env.workflow
    async def archive(ctx: WorkflowContext) -> str:
        try:
            await ctx.execute_activity(copy)
        except ActivityTimeoutError as error:
            return f"{error.kind}: {error.failure['message']}"
        return "copied"

    assert env.run(archive) == "heartbeat: attempt 1 sent no heartbeat for 10 s"


def test_options_may_be_given_for_one_call(env: Env) -> None:
    calls: list[str] = []

    @env.activity(retry=RetryPolicy(max_attempts=5))
    def charge() -> None:
        calls.append("charge")
        raise ConnectionError("no answer")

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        once = charge.options(retry=RetryPolicy.never(), timeout=5)
        with pytest.raises(ActivityError):
            await ctx.execute_activity(once)

    handle = env.start(fulfil)
    handle.result()
    assert calls == ["charge"]
    options = env.history(handle)[1].data["options"]
    assert (options["start_to_close"], options["retry"]["max_attempts"]) == (5, 1)


def test_async_functions_are_activities_too(env: Env) -> None:
    @env.activity
    async def fetch(page: int) -> int:
        await asyncio.sleep(0)
        return page * 10

    @env.workflow
    async def crawl(ctx: WorkflowContext) -> list[int]:
        return await asyncio.gather(*(ctx.execute_activity(fetch, page) for page in range(3)))

    assert env.run(crawl) == [0, 10, 20]


def test_an_activity_is_mocked_by_a_function(env: Env) -> None:
    @env.activity
    def charge(order: str, cents: int) -> dict[str, int]:
        raise AssertionError("not in a test")

    @env.workflow
    async def fulfil(ctx: WorkflowContext, order: str) -> dict[str, int]:
        return await ctx.execute_activity(charge, order, cents=4200)

    charged = env.mock(charge, lambda order, cents: {order: cents})

    assert env.run(fulfil, "A-17") == {"A-17": 4200}
    assert (charged.calls, charged.keywords) == ([("A-17",)], [{"cents": 4200}])
