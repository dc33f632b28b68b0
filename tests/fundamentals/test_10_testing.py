"""Testing workflows: the fixture, mocks, a clock to move, histories to compare, and code held against them."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery

from celeriac import Celeriac, InvalidCall, RetryPolicy, WorkflowContext
from celeriac.errors import NonDeterminismError, PayloadError
from celeriac.testing.environment import WorkflowEnvironment
from celeriac.testing.histories import compact, from_json, replay_every_prefix, to_json

pytest_plugins = ["pytester"]


def test_the_clock_begins_at_a_known_time_and_moves_as_it_is_told() -> None:
    env = WorkflowEnvironment()
    assert env.now == datetime(2030, 1, 1, tzinfo=UTC)

    @env.workflow
    async def remind(ctx: WorkflowContext) -> str:
        await ctx.sleep(timedelta(days=3))
        return "reminded"

    handle = env.start(remind, id="a")
    env.advance(timedelta(days=2))
    assert handle.status() == "running"
    env.advance(timedelta(days=1))
    assert handle.status() == "completed"
    assert env.now.date().isoformat() == "2030-01-04"
    assert compact(env.history("a")) == [
        "workflow_started remind()",
        "timer_started #1 259200s",
        "timer_fired #1",
        "workflow_completed -> 'reminded'",
    ]
    assert WorkflowEnvironment(start=datetime(2020, 2, 2, tzinfo=UTC)).now.year == 2020


def test_what_is_declared_on_a_celery_app_runs_here_too() -> None:
    app = Celery("shop", set_as_current=False, broker="memory://")
    durable = Celeriac(app, store="memory://")

    @app.task(name="shop.send")
    def send(to: str) -> str:
        raise AssertionError("not in a test")

    @durable.activity(name="shop.charge", retry=RetryPolicy.never())
    def charge(order: str, cents: int) -> str:
        return f"{order}: {cents}"

    @durable.workflow(name="shop.fulfil")
    async def fulfil(ctx: WorkflowContext, order: str) -> list[str]:
        return [await ctx.execute_activity(charge, order, 4200), await ctx.execute_activity(send, "ops")]

    env = WorkflowEnvironment()
    sent = env.mock(send, lambda to: f"to {to}")
    handle = env.start(fulfil, "A-17")
    assert handle.result() == ["A-17: 4200", "to ops"]
    assert sent.calls == [("ops",)]
    assert compact(env.history(handle)) == [
        "workflow_started shop.fulfil('A-17')",
        "activity_scheduled shop.charge#1('A-17', 4200)",
        "activity_started shop.charge#1",
        "activity_completed shop.charge#1 -> 'A-17: 4200'",
        "activity_scheduled shop.send#2('ops')",
        "activity_started shop.send#2",
        "activity_completed shop.send#2 -> 'to ops'",
        "workflow_completed -> ['A-17: 4200', 'to ops']",
    ]
    with pytest.raises(
        InvalidCall, match=r"is no workflow; declare it with @workflow_env.workflow or @durable.workflow"
    ):
        env.start(print)


def test_a_mock_may_fail_first() -> None:
    env = WorkflowEnvironment()

    @env.activity
    def charge(cents: int) -> str:
        raise AssertionError("not in a test")

    @env.workflow
    async def fulfil(ctx: WorkflowContext) -> str:
        return await ctx.execute_activity(charge, 4200)

    def once(cents: int) -> str:
        if len(charged.calls) == 1:
            raise ConnectionError("no answer")
        return f"{cents} in the end"

    charged = env.mock(charge, once)
    assert env.run(fulfil) == "4200 in the end"
    assert charged.calls == [(4200,), (4200,)]


def test_a_history_kept_in_a_file_is_held_against_the_code_of_today() -> None:
    env = WorkflowEnvironment()

    @env.activity
    def charge(order: str) -> str:
        return order

    @env.workflow
    async def fulfil(ctx: WorkflowContext, order: str) -> str:
        await ctx.sleep(60)
        return await ctx.execute_activity(charge, order)

    handle = env.start(fulfil, "A-17")
    handle.result()
    kept = from_json(to_json(env.history(handle)))
    assert kept == env.history(handle)
    replay_every_prefix(fulfil, kept, env.registry)

    @env.workflow(name="fulfil")
    async def hastier(ctx: WorkflowContext, order: str) -> str:
        return await ctx.execute_activity(charge, order)

    with pytest.raises(NonDeterminismError):
        replay_every_prefix(hastier, kept[:3], env.registry)

    @env.workflow(name="fulfil")
    async def forgetful(ctx: WorkflowContext, order: str) -> str:
        await ctx.sleep(60)
        return await ctx.execute_activity(charge, "another")

    with pytest.raises(AssertionError, match=r"after event 3 \(timer_fired\) the code asks for"):
        replay_every_prefix(forgetful, kept, env.registry)


def test_what_would_be_too_large_in_production_is_too_large_in_a_test() -> None:
    env = WorkflowEnvironment()

    @env.workflow
    async def keep(ctx: WorkflowContext, text: str) -> int:
        return len(text)

    assert env.run(keep, "x" * 2_000_000) == 2_000_000
    with pytest.raises(
        PayloadError, match=r"the arguments of workflow 'keep' would take 2,100,004 bytes, more than the 2,097,152"
    ):
        env.run(keep, "x" * 2_100_000)


def test_the_plugin_brings_the_fixture(pytester: Any) -> None:
    pytester.makepyfile(
        textwrap.dedent(
            """
            def test_a_workflow(workflow_env):
                @workflow_env.workflow
                async def greet(ctx, name):
                    await ctx.sleep(3600)
                    return f"hello, {name}"

                assert workflow_env.run(greet, "world") == "hello, world"

            def test_another(workflow_env):
                assert workflow_env.registry.workflows == {}
            """
        )
    )
    pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider").assert_outcomes(passed=2)
