"""A shop with workflows, as its workers and its clients load it.

What its activities do is written to a ledger outside the engine: a line each, appended to one file by all processes.
At named points its code looks whether the test wants it to wait there; see ``Stage.hold``.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import Celery

from celeriac import Celeriac, RetryPolicy, WorkflowContext, activity_context

FOLDER = "SHOP_FOLDER"
"""The environment variable with the folder of ledger, arrivals and holds."""
WARES = "SHOP_WARES"
"""The environment variable with the names of the workflows that this process has, separated by commas; all unless set."""
STEP_QUEUE = "SHOP_STEP_QUEUE"
"""The environment variable with the queue of steps, where they have one of their own."""
LEDGER, ARRIVALS = "ledger", "arrivals"
LOOK = 0.01
"""Seconds between looks at whether to go on."""


def write(book: str, **line: Any) -> None:
    """Append a line to one of the books, whole or not at all."""
    text = json.dumps({**line, "pid": os.getpid(), "at": time.monotonic()}) + "\n"
    file = os.open(Path(os.environ[FOLDER], book), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


def pause(point: str) -> None:
    """Wait at a named point as long as the test wants it."""
    hold = Path(os.environ[FOLDER], f"hold {point}")
    if hold.exists():
        write(ARRIVALS, point=point)
        while hold.exists():
            time.sleep(LOOK)


def note(what: str) -> None:
    """Write what the activity that is running here does to the ledger."""
    now = activity_context()
    write(LEDGER, what=what, run=now.run_id, activity=now.activity_id, attempt=now.attempt)


@dataclass
class Shop:
    """The app and what it has."""

    app: Celery
    durable: Celeriac
    step: Any
    wares: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.wares[name]
        except KeyError:
            raise AttributeError(name) from None


def open_shop(app: Celery) -> Shop:  # noqa: C901 - a list of declarations
    """Attach celeriac to an app and declare what the shop has."""
    durable = Celeriac(app)

    def work(number: int) -> int:
        note("begun")
        pause(f"before step {number}")
        note("done")
        pause(f"after step {number}")
        note("left")
        return number * number

    def tick(number: int) -> int:
        note("done")
        return number * number

    retry = RetryPolicy(max_attempts=5, initial_interval=0.05)
    step = durable.activity(name="step", retry=retry, queue=os.environ.get(STEP_QUEUE))(work)
    quick = durable.activity(name="quick")(tick)
    once = durable.activity(name="once", retry=RetryPolicy(max_attempts=1))(work)

    async def steps(ctx: WorkflowContext, count: int) -> list[int]:
        """Do steps one after the other."""
        results = []
        for number in range(count):
            with ctx.unsafe():
                pause(f"turn {number}")
            results.append(await ctx.execute_activity(step, number))
        with ctx.unsafe():
            pause("last turn")
        return results

    def row(ctx: WorkflowContext, count: int) -> int:
        """Do steps one after the other, without async."""
        return sum(ctx.execute_activity(step, number).result() for number in range(count))

    def quick_row(ctx: WorkflowContext, count: int) -> int:
        """Do as :func:`row` does, with steps that do next to nothing."""
        return sum(ctx.execute_activity(quick, number).result() for number in range(count))

    async def only_once(ctx: WorkflowContext) -> int:
        """Do a step that must not be done twice."""
        result: int = await ctx.execute_activity(once, 1)
        return result

    async def nearby(ctx: WorkflowContext, count: int) -> list[int]:
        """Do steps one after the other in the turn itself."""
        return [await ctx.execute_local_activity(step, number) for number in range(count)]

    async def collect(ctx: WorkflowContext, count: int) -> list[Any]:
        """Wait for some signals."""
        return [await ctx.wait_signal("parcel") for _ in range(count)]

    async def nap(ctx: WorkflowContext, seconds: float) -> str:
        """Sleep."""
        await ctx.sleep(seconds)
        return "slept"

    async def everything(ctx: WorkflowContext, seconds: float) -> list[Any]:
        """Do a step, wait for a signal and sleep, side by side, and then do another step."""
        first, parcel, _ = await asyncio.gather(
            ctx.execute_activity(step, 0), ctx.wait_signal("parcel"), ctx.sleep(seconds)
        )
        return [first, parcel, await ctx.execute_activity(step, 1)]

    all_of_them = (steps, row, quick_row, only_once, nearby, collect, nap, everything)
    chosen = os.environ.get(WARES, ",".join(each.__name__ for each in all_of_them)).split(",")
    wares = {
        each.__name__: durable.workflow(name=each.__name__)(each) for each in all_of_them if each.__name__ in chosen
    }
    return Shop(app, durable, step, wares)
