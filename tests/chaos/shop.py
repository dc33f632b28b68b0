"""What the chaos runs on: workflows and activities, as workers load them with ``-A tests.chaos.shop``.

What activities do is written to the ledger of the acceptance tests' shop, outside the engine.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from typing import Any, Final

from celery import Celery

from celeriac import ActivityError, Celeriac, RetryPolicy, WorkflowContext, activity_context
from tests.acceptance.shop import note
from tests.chaos.numbers import DOSES, FOR_EVER, is_flaky, takes

BROKER: Final = "CHAOS_BROKER"
"""The environment variable with the broker's URL. The store's is celeriac's own."""
STEP_QUEUE: Final = "steps"

_BROKER: Final = os.environ[BROKER]
# RabbitMQ keeps no results, and no channel for signals: there all goes by the store.
app = Celery("chaos", broker=_BROKER, backend=_BROKER if _BROKER.startswith("redis") else None)
_IN_A_WORKER: Final = "CHAOS_SOFT" in os.environ
app.conf.worker_soft_shutdown_timeout = float(os.environ.get("CHAOS_SOFT", "0"))
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_cancel_long_running_tasks_on_connection_loss = False
durable = Celeriac(app)

PATIENT: Final = RetryPolicy(max_attempts=None, initial_interval=0.05, max_interval=0.5)


class Flaky(Exception):
    """What a step raises that does not succeed at once."""


@durable.activity(name="step", retry=PATIENT, queue=STEP_QUEUE)
def step(number: int) -> int:
    note("begun")
    try:
        time.sleep(takes(number))
        if is_flaky(number) and activity_context().attempt == 1:
            raise Flaky(number)
        note("done")
        return number * number
    finally:
        note("left")


@durable.activity(name="once", retry=RetryPolicy(max_attempts=1))
def once(number: int) -> int:
    note("begun")
    try:
        time.sleep(takes(number))
        note("done")
        return number * number
    finally:
        note("left")


@durable.activity(name="poison", retry=PATIENT)
def poison(number: int) -> int:
    """Kill the process that it runs in, the first time."""
    note("begun")
    if activity_context().attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    note("done")
    note("left")
    return number * number


@durable.activity(name="toxin", retry=RetryPolicy(max_attempts=DOSES, initial_interval=0.05))
def toxin(number: int) -> int:
    """Kill the process that it runs in, each time."""
    note("begun")
    os.kill(os.getpid(), signal.SIGKILL)
    return number


@durable.workflow(name="row")
def row(ctx: WorkflowContext, numbers: list[int]) -> list[int]:
    """Do steps one after the other, without async."""
    return [ctx.execute_activity(step, each).result() for each in numbers]


@durable.workflow(name="near")
async def near(ctx: WorkflowContext, numbers: list[int], far: int) -> list[int]:
    """Do steps in the turn itself, one that is none, and the same again."""
    first = [await ctx.execute_local_activity(step, each) for each in numbers]
    return [*first, await ctx.execute_activity(step, far), await ctx.execute_local_activity(step, numbers[0])]


@durable.workflow(name="fan")
async def fan(ctx: WorkflowContext, numbers: list[int]) -> list[int]:
    """Do steps side by side."""
    return list(await asyncio.gather(*(ctx.execute_activity(step, each) for each in numbers)))


@durable.workflow(name="collect")
async def collect(ctx: WorkflowContext, count: int) -> list[Any]:
    """Wait for some signals."""
    return [await ctx.wait_signal("parcel") for _ in range(count)]


@durable.workflow(name="nap")
async def nap(ctx: WorkflowContext, seconds: float) -> str:
    """Sleep."""
    await ctx.sleep(seconds)
    return "slept"


@durable.workflow(name="everything")
async def everything(ctx: WorkflowContext, number: int, seconds: float) -> list[Any]:
    """Do a step, wait for a signal and sleep, side by side, and then do another step."""
    first: int
    parcel: Any
    first, parcel, _ = await asyncio.gather(
        ctx.execute_activity(step, number), ctx.wait_signal("parcel"), ctx.sleep(seconds)
    )
    return [first, parcel, await ctx.execute_activity(step, number + 1)]


@durable.workflow(name="canceled")
async def canceled(ctx: WorkflowContext, number: int) -> None:
    """Sleep until it is canceled, and tidy up."""
    try:
        await ctx.sleep(FOR_EVER)
    finally:
        await ctx.execute_activity(step, number)


@durable.workflow(name="poisoned")
async def poisoned(ctx: WorkflowContext, number: int) -> int:
    """Do what kills its worker."""
    result: int = await ctx.execute_activity(poison, number)
    return result


@durable.workflow(name="single")
async def single(ctx: WorkflowContext, number: int) -> int | str:
    """Do what must not be begun twice."""
    try:
        result: int = await ctx.execute_activity(once, number)
    except ActivityError:
        return "lost"
    return result


@durable.workflow(name="toxic")
async def toxic(ctx: WorkflowContext, number: int) -> str:
    """Do what kills its worker as often as it is attempted."""
    try:
        await ctx.execute_activity(toxin, number)
    except ActivityError:
        return "gave up"
    return "survived"


@durable.workflow(name="deadly")
async def deadly(ctx: WorkflowContext, number: int) -> None:
    """Do a step, and then kill the process that takes the turn, each time."""
    await ctx.execute_activity(step, number)
    if _IN_A_WORKER:
        os.kill(os.getpid(), signal.SIGKILL)
