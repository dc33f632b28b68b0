"""The app whose workers are watched: chains of activities, signals, timers, with the settings that everybody starts with."""

from __future__ import annotations

import os

from celery import Celery

from celeriac import Celeriac, WorkflowContext

app = Celery("leaks", broker=os.environ["LEAKS_BROKER"], backend=os.environ["LEAKS_BROKER"])
app.conf.broker_connection_retry_on_startup = True
durable = Celeriac(app, store=os.environ["LEAKS_STORE"])


@durable.activity
def step(number: int) -> int:
    return number + 1


@durable.workflow
async def steps(ctx: WorkflowContext, count: int) -> int:
    number = 0
    for _ in range(count):
        number = await ctx.execute_activity(step, number)
    return number


@durable.workflow
async def sleeper(ctx: WorkflowContext) -> str:
    """Wait for a day or for a signal, whichever comes first."""
    try:
        return str(await ctx.wait_signal("go", timeout=86_400))
    except TimeoutError:
        return "nobody came"
