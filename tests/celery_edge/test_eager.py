"""``task_always_eager``: a workflow runs to its end where it is started, with a clock that jumps over waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from celery import Celery

from celeriac import Celeriac, RetryPolicy, WorkflowContext, WorkflowFailedError
from celeriac.errors import ResultTimeout


@pytest.fixture
def app() -> Iterator[Celery]:
    with Celery("eager", broker="memory://", set_as_current=False) as app:
        app.conf.update(task_always_eager=True)
        yield app


@pytest.fixture
def durable(app: Celery) -> Celeriac:
    return Celeriac(app)  # without a store: none is needed


def test_delay_runs_to_the_end(app: Celery, durable: Celeriac) -> None:
    @app.task
    def plus(x: int) -> int:
        return x + 1

    @durable.activity(retry=RetryPolicy(max_attempts=3))
    async def times(x: int) -> int:
        await asyncio.sleep(0)
        return x * 2

    @durable.workflow
    async def year(ctx: WorkflowContext, x: int) -> int:
        y: int = await ctx.execute_activity(plus, x)
        await ctx.sleep(timedelta(days=365))
        return await ctx.execute_activity(times, y)

    began = time.monotonic()
    result = year.delay(20)
    assert (result.get(), result.state) == (42, "SUCCESS")
    assert year.apply((20,)).get() == 42
    assert time.monotonic() - began < 5


def test_activities_are_tried_again(durable: Celeriac) -> None:
    tries = []

    @durable.activity
    def flaky() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("not yet")
        return len(tries)

    @durable.workflow
    def patient(ctx: WorkflowContext) -> int:
        return ctx.execute_activity(flaky).result()

    assert patient.delay().get() == 3


def test_a_failure(app: Celery, durable: Celeriac) -> None:
    @durable.workflow
    async def failing(ctx: WorkflowContext) -> None:
        raise ValueError("no")

    result = failing.delay()
    assert result.state == "FAILURE"
    with pytest.raises(WorkflowFailedError, match="ValueError: no"):
        result.get()
    app.conf.task_eager_propagates = True
    with pytest.raises(WorkflowFailedError, match="ValueError: no"):
        failing.delay()


def test_what_can_not_end_by_itself_says_what_it_waits_for(durable: Celeriac) -> None:
    @durable.workflow
    async def waiting(ctx: WorkflowContext) -> Any:
        return await ctx.wait_signal("approved")

    with pytest.raises(ResultTimeout) as caught:
        waiting.apply_async(workflow_id="order-1")
    assert str(caught.value) == "workflow 'order-1' can't end by itself: it waits for signal 'approved'"


def test_one_that_waits_with_a_timeout_goes_on_by_itself(durable: Celeriac) -> None:
    @durable.workflow
    async def hesitating(ctx: WorkflowContext) -> str:
        try:
            return str(await ctx.wait_signal("approved", timeout=timedelta(days=3)))
        except TimeoutError:
            return "nobody came"

    assert hesitating.delay().get() == "nobody came"
