"""The steps as durable workflows of celeriac."""

from __future__ import annotations

import asyncio
import os

from celery import Celery

from celeriac import Celeriac, WorkflowContext

app = Celery("bench", broker=os.environ["BENCH_BROKER"], backend=os.environ["BENCH_BROKER"])
app.conf.broker_connection_retry_on_startup = True
durable = Celeriac(app, store=os.environ["BENCH_DATABASE"])
DAY = 24 * 60 * 60.0  # seconds


@durable.activity
def add(value: int) -> int:
    """A step."""
    return value + 1


@durable.workflow
async def chain_of(ctx: WorkflowContext, length: int) -> int:
    """One activity after the other."""
    value = 0
    for _ in range(length):
        value = await ctx.execute_activity(add, value)
    return value


@durable.workflow
async def fan_out(ctx: WorkflowContext, width: int) -> int:
    """Activities side by side."""
    return sum(await asyncio.gather(*(ctx.execute_activity(add, 0) for _ in range(width))))


@durable.workflow
async def local_row(ctx: WorkflowContext, length: int) -> int:
    """One local activity after the other."""
    value = 0
    for _ in range(length):
        value = await ctx.execute_local_activity(add, value)
    return value


@durable.workflow
async def local_fan_out(ctx: WorkflowContext, width: int) -> int:
    """Local activities, all asked for at once."""
    return sum(await asyncio.gather(*(ctx.execute_local_activity(add, 0) for _ in range(width))))


@durable.workflow
async def echo(ctx: WorkflowContext) -> object:
    """Answers a signal."""
    return await ctx.wait_signal("ping")


@durable.workflow
async def sleeper(ctx: WorkflowContext) -> None:
    """Sleeps for a day."""
    await ctx.sleep(DAY)
