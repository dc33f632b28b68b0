"""Attempts of activities: claimed once, ended once; what comes late or twice counts for nothing."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac import (
    ActivityError,
    InvalidCall,
    PayloadError,
    RetryPolicy,
    WorkflowContext,
    activity_context,
    activity_running,
)
from celeriac.failures import failure_of
from celeriac.orchestrator.attempts import AttemptEnd, activity_id, lost_failure, timeout_failure
from celeriac.orchestrator.model import SECOND, Claim
from celeriac.orchestrator.status import TaskKind, TaskState
from tests.workflows import Env


def _scheduled(env: Env, **options: Any) -> Any:
    """Start a workflow whose activity waits for somebody to claim it."""

    @env.activity(**options)
    def charge() -> str:
        return "charged"

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        try:
            return await ctx.execute_activity(charge)
        except ActivityError as error:
            return str(error)

    handle = env.start(fulfil)
    env.executor.step(jump=False)
    env.executor.dispatcher.take()
    return handle


def _claim(env: Env, handle: Any, attempt: int = 1) -> Claim | None:
    return env.executor.attempts.claim(handle.run_id, 1, attempt=attempt, worker="w")


def _row(env: Env, handle: Any) -> Any:
    return next(each for each in env.executor.store.tasks(handle.run_id) if each.kind is TaskKind.ACTIVITY)


def test_one_attempt_is_claimed_by_one(env: Env) -> None:
    handle = _scheduled(env)
    claim = _claim(env, handle)
    assert claim is not None
    assert _claim(env, handle) is None
    row = _row(env, handle)
    assert (row.state, row.worker, row.attempt) == (TaskState.RUNNING, "w", 1)
    assert env.executor.attempts.completed(claim, "mine")
    assert handle.result() == "mine"
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "activity_scheduled charge#1()",
        "activity_started charge#1",
        "activity_completed charge#1 -> 'mine'",
        "workflow_completed -> 'mine'",
    ]


def test_a_second_outcome_is_refused(env: Env) -> None:
    handle = _scheduled(env)
    claim = _claim(env, handle)
    assert claim is not None
    attempts = env.executor.attempts
    assert attempts.completed(claim, "first")
    assert not attempts.completed(claim, "second")
    assert attempts.raised(claim, ValueError("third")) is AttemptEnd.REFUSED
    assert not attempts.canceled(claim.task, claim.fence)
    assert not attempts.release(claim)
    assert handle.result() == "first"
    assert not attempts.completed(claim, "after the end")


def test_a_late_outcome_of_a_lost_attempt_is_refused(env: Env) -> None:
    handle = _scheduled(env)
    lost = _claim(env, handle)
    assert lost is not None
    env.clock.advance(11)  # its lease runs out: nobody renews it
    env.executor.relay.tick()
    again = _claim(env, handle, attempt=2)
    assert again is not None
    assert not env.executor.attempts.completed(lost, "from the dead")
    assert env.executor.attempts.completed(again, "from the living")
    assert handle.result() == "from the living"
    assert env.story(handle)[2] == "activity_started charge#1 attempt 2"


def test_a_lost_worker_is_a_failed_attempt(env: Env) -> None:
    handle = _scheduled(env, retry=RetryPolicy.never())
    assert _claim(env, handle) is not None
    env.advance(9)
    assert handle.status() == "running"
    env.advance(2)
    assert handle.result() == (
        "activity 'charge' failed after 1 attempt: WorkerLostError: the worker w was lost while it ran the activity"
    )


def test_an_attempt_that_was_superseded_can_not_be_claimed(env: Env) -> None:
    handle = _scheduled(env)
    first = _claim(env, handle)
    assert first is not None
    assert env.executor.attempts.raised(first, ValueError("no")) is AttemptEnd.RETRIED
    assert _claim(env, handle, attempt=1) is None
    assert _claim(env, handle, attempt=3) is None
    row = _row(env, handle)
    assert (row.state, row.attempt, row.failure["message"]) == (TaskState.QUEUED, 2, "no")
    assert handle.result() == "charged"


def test_a_claim_given_back_goes_on_as_the_same_attempt(env: Env) -> None:
    handle = _scheduled(env)
    claim = _claim(env, handle)
    assert claim is not None
    assert env.executor.attempts.release(claim, delay=2.0)
    row = _row(env, handle)
    assert (row.state, row.attempt) == (TaskState.QUEUED, 1)
    assert handle.result() == "charged"
    assert env.story(handle)[2] == "activity_started charge#1"


def test_a_lost_message_is_sent_again(env: Env) -> None:
    handle = _scheduled(env)
    env.advance(9)
    assert handle.status() == "running"
    env.advance(2)
    assert handle.status() == "completed"


def test_a_retry_whose_message_is_lost_is_sent_again(env: Env) -> None:
    handle = _scheduled(env)
    claim = _claim(env, handle)
    assert claim is not None
    env.executor.attempts.raised(claim, ValueError("no"))
    env.executor.dispatcher._waiting.clear()
    env.advance(10)
    assert handle.status() == "running"
    env.advance(1)
    assert handle.status() == "completed"


def test_long_waits_between_attempts_are_rows_and_not_messages(env: Env) -> None:
    handle = _scheduled(env, retry=RetryPolicy(initial_interval=3600, max_interval=3600, jitter=0))
    claim = _claim(env, handle)
    assert claim is not None
    env.executor.attempts.raised(claim, ValueError("no"))
    assert env.executor.dispatcher.next_due() is None
    assert round((_row(env, handle).due_at - env.clock.now) / SECOND) == 3600
    env.advance(3599)
    assert handle.status() == "running"
    env.advance(2)
    assert handle.status() == "completed"


@pytest.mark.parametrize(("drawn", "delays"), [(0.0, [1.0, 2.0, 4.0]), (1.0, [0.5, 1.0, 2.0]), (0.5, [0.75, 1.5, 3.0])])
def test_the_delays_are_the_policy_s(env: Env, drawn: float, delays: list[float]) -> None:
    waited: list[float] = []

    @env.activity(retry=RetryPolicy(max_attempts=4, initial_interval=1, jitter=0.5))
    def charge() -> None:
        raise ConnectionError("no answer")

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> int:
        try:
            await ctx.execute_activity(charge)
        except ActivityError as error:
            return error.attempts
        return 0

    env.executor.attempts._draw = lambda: drawn
    env.executor.hooks = type(env.executor.hooks)(on_retry=lambda *told: waited.append(told[4]))
    assert env.run(fulfil) == 4
    assert waited == delays


def test_without_a_limit_it_goes_on_until_it_works(env: Env) -> None:
    calls: list[int] = []

    @env.activity(retry=RetryPolicy(max_attempts=None))
    def charge() -> int:
        calls.append(1)
        if len(calls) < 50:
            raise ConnectionError("no answer")
        return len(calls)

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> int:
        return await ctx.execute_activity(charge)

    handle = env.start(fulfil)
    assert handle.result() == 50
    assert env.story(handle) == [
        "workflow_started fulfil()",
        "activity_scheduled charge#1()",
        "activity_started charge#1 attempt 50",
        "activity_completed charge#1 -> 50",
        "workflow_completed -> 50",
    ]


def test_an_activity_knows_what_it_is_part_of(env: Env) -> None:
    seen: list[Any] = []

    @env.activity
    def charge() -> None:
        context = activity_context()
        assert activity_running()
        seen.append(
            (
                context.workflow_id,
                context.run_id,
                context.activity,
                context.activity_id,
                context.attempt,
                context.details,
            )
        )

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> None:
        await ctx.execute_activity(charge)

    handle = env.start(fulfil, id="order-1")
    handle.result()
    assert seen == [("order-1", handle.run_id, "charge", activity_id(handle.run_id, 1), 1, None)]
    assert not activity_running()
    with pytest.raises(InvalidCall, match=r"activity_context\(\) was called outside an activity"):
        activity_context()


def test_heartbeat_details_come_back_as_they_were(env: Env) -> None:
    found: list[Any] = []

    @env.activity
    def copy() -> None:
        context = activity_context()
        found.append(context.details)
        with pytest.raises(PayloadError, match=r"heartbeat details of activity 'copy': a value of type .*object can't"):
            context.heartbeat(object())
        context.heartbeat({"done": {1, 2}, "at": (1, "a")})
        if context.attempt == 1:
            raise ConnectionError

    @env.workflow
    async def archive(ctx: WorkflowContext) -> None:
        await ctx.execute_activity(copy)

    env.run(archive)
    assert found == [None, {"done": {1, 2}, "at": (1, "a")}]


def test_arguments_that_no_longer_fit_the_activity_fail_it(env: Env) -> None:
    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        try:
            await ctx.execute_activity("charge", "many")
        except ActivityError as error:
            return error.type
        return ""

    handle = env.start(fulfil)
    env.executor.step(jump=False)  # scheduled by name, in a process that does not have it

    @env.activity
    def charge(cents: int) -> None: ...

    env.replayable = False
    assert handle.result() == "PayloadError"


def test_what_happens_under_way_is_visible(env: Env) -> None:
    handle = _scheduled(env, heartbeat=60)
    claim = _claim(env, handle)
    assert claim is not None
    env.executor.attempts.context(claim).heartbeat({"page": 3})
    row = _row(env, handle)
    assert (row.attempt, row.worker, row.details, row.failure) == (1, "w", {"page": 3}, None)
    assert env.executor.attempts.raised(claim, ValueError("no")) is AttemptEnd.RETRIED
    row = _row(env, handle)
    assert (row.attempt, row.details, row.failure["message"]) == (2, {"page": 3}, "no")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"max_attempts": 0},
            "RetryPolicy(max_attempts=0): at least 1 (the first attempt counts), or None for no limit",
        ),
        (
            {"max_attempts": True},
            "RetryPolicy(max_attempts=True): at least 1 (the first attempt counts), or None for no limit",
        ),
        ({"backoff_coefficient": 0.5}, "RetryPolicy(backoff_coefficient=0.5): the delays would shrink; at least 1"),
        ({"jitter": 2}, "RetryPolicy(jitter=2): a part of the delay, from 0 to 1"),
        (
            {"initial_interval": 100},
            "RetryPolicy(max_interval=10 s) is shorter than initial_interval=100 s; numbers are seconds, timedelta(milliseconds=...) says smaller ones",
        ),
    ],
)
def test_a_policy_that_can_not_be_meant_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole message is compared
        RetryPolicy(**wrong)
    assert str(refused.value) == message


def test_the_default_policy_is_the_documented_one() -> None:
    policy = RetryPolicy.default()
    assert policy == RetryPolicy()
    assert [policy.delay(n, 0.0) for n in range(1, 9)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0]
    assert policy.max_attempts == 3
    assert policy.delay(100_000, 0.0) == 10.0


def test_whatever_the_code_raises_may_be_final_and_what_befalls_it_not() -> None:
    policy = RetryPolicy(non_retryable=(Exception,))
    assert not policy.allows(1, failure_of(KeyError("a")))
    assert not policy.allows(1, failure_of(LookupError("a")))
    assert policy.allows(1, lost_failure("w"))
    assert policy.allows(1, timeout_failure("start_to_close", "too long"))
    assert not RetryPolicy(non_retryable=("WorkerLostError",)).allows(1, lost_failure("w"))


def test_options_survive_their_recording() -> None:
    from celeriac import ActivityOptions

    options = ActivityOptions(
        retry=RetryPolicy(max_attempts=None, non_retryable=(ValueError, "CardDeclined")),
        start_to_close=1.5,
        heartbeat=2,
        queue="slow",
        cancellation="wait",  # type: ignore[arg-type]
    )
    read = ActivityOptions.from_json(options.to_json())
    assert read.to_json() == options.to_json()
    assert (read.retry.non_retryable, read.cancellation) == (("ValueError", "CardDeclined"), "wait")
    assert ActivityOptions().to_json() == {}
    with pytest.raises(InvalidCall, match=r"an activity has no option 'timout'. Did you mean 'timeout'?"):
        ActivityOptions().merged({"timout": 5})
