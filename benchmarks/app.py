"""What is measured: the same no-op steps as a durable workflow and as Celery's own canvas, in one app on the same workers."""

from __future__ import annotations

import asyncio
import os

from celery import Celery, chord, group

from celeriac import Celeriac, WorkflowContext

BROKER = os.environ["BENCH_BROKER"]
app = Celery("bench", broker=BROKER, backend=os.environ.get("BENCH_BACKEND", BROKER))
app.conf.update(
    worker_prefetch_multiplier=4,
    broker_connection_retry_on_startup=True,
    task_default_queue=os.environ.get("BENCH_QUEUE", "celery"),
)
durable = Celeriac(app, store=os.environ["BENCH_STORE"])


@app.task
def step(value: int = 0) -> int:
    """A step of the raw chain."""
    return value + 1


@app.task
def total(values: list[int]) -> int:
    """The body of the raw chord."""
    return sum(values)


@durable.activity
def add(value: int) -> int:
    """A step of the durable chain."""
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


def raw_chain(length: int) -> object:
    """Return the signature of the raw chain."""
    first = step.s(0)
    for _ in range(length - 1):
        first |= step.s()
    return first


def raw_fan_out(width: int) -> object:
    """Return the signature of the raw chord."""
    return chord(group(step.s(0) for _ in range(width)), total.s())
