"""What is too much for its workers: plain work, and among it what never ends well."""

from __future__ import annotations

import os

from celery import Celery

from celeriac import Celeriac, RetryPolicy, WorkflowContext

app = Celery("load", broker=os.environ["LOAD_BROKER"], backend=os.environ["LOAD_BROKER"])
app.conf.update(broker_connection_retry_on_startup=True, task_ignore_result=True)
durable = Celeriac(app, store=os.environ["LOAD_STORE"])


@durable.activity
def step(number: int) -> int:
    return number + 1


@durable.activity(retry=RetryPolicy(max_attempts=1_000_000, initial_interval=0.01, max_interval=1.0))
def poison() -> None:
    raise ValueError("never well")


@durable.workflow
async def steps(ctx: WorkflowContext, count: int) -> int:
    number = 0
    for _ in range(count):
        number = await ctx.execute_activity(step, number)
    return number


@durable.workflow
async def poisoned(ctx: WorkflowContext) -> None:
    """Try an activity again and again that never ends well."""
    await ctx.execute_activity(poison)


@durable.workflow
async def blocked(ctx: WorkflowContext) -> None:
    """Do what workflow code may not, so that the run is held."""
    with open("/etc/hostname", encoding="utf-8"):  # noqa: ASYNC230, PTH123 - that is the point
        pass
