"""The steps as workflows and steps of DBOS, within a process or distributed on its queue; and a worker of the latter."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

from dbos import DBOS, DBOSConfig

URL = os.environ["BENCH_DATABASE"]
POLL = float(os.environ.get("BENCH_POLL", "1.0"))
"""Seconds between two looks at a queue, or at a result; 1 is DBOS's default."""
WORKFLOWS, STEPS = "workflows", "steps"
DAY = 24 * 60 * 60.0  # seconds


def launch() -> None:
    """Have this process run workflows."""
    config: DBOSConfig = {
        "name": "bench",
        "system_database_url": URL,
        "application_version": "1",
        "log_level": "WARNING",
    }
    DBOS(config=config)
    DBOS.launch()


def serve_queues(concurrency: int) -> None:
    """Have this process take workflows, and as many steps at once as said, from the queues."""
    DBOS.register_queue(WORKFLOWS, polling_interval_sec=POLL)
    DBOS.register_queue(STEPS, worker_concurrency=concurrency, polling_interval_sec=POLL)


@DBOS.step()
def add(value: int) -> int:
    """A step within the workflow's process."""
    return value + 1


@DBOS.step()
async def add_async(value: int) -> int:
    """The same, for a fan-out."""
    return value + 1


@DBOS.workflow()
def add_apart(value: int) -> int:
    """A step for the queue: whatever is on it is a workflow."""
    return value + 1


@DBOS.workflow()
def chain_of(length: int) -> int:
    """One step after the other."""
    value = 0
    for _ in range(length):
        value = add(value)
    return value


@DBOS.workflow()
async def fan_out(width: int) -> int:
    """Steps side by side."""
    return sum(await asyncio.gather(*(add_async(0) for _ in range(width))))


@DBOS.workflow()
def chain_apart(length: int) -> int:
    """One step after the other, each on the queue."""
    value = 0
    for _ in range(length):
        handle: Any = DBOS.enqueue_workflow(STEPS, add_apart, value)
        value = handle.get_result(polling_interval_sec=POLL)
    return value


@DBOS.workflow()
def fan_out_apart(width: int) -> int:
    """Steps side by side on the queue."""
    handles: list[Any] = [DBOS.enqueue_workflow(STEPS, add_apart, 0) for _ in range(width)]
    return sum(each.get_result(polling_interval_sec=POLL) for each in handles)


@DBOS.workflow()
def echo() -> Any:
    """Answers a signal."""
    return DBOS.recv("ping", timeout_seconds=DAY)


@DBOS.workflow()
async def sleeper() -> None:
    """Sleeps for a day."""
    await DBOS.sleep_async(DAY)


if __name__ == "__main__":
    launch()
    serve_queues(1)  # a step at a time in each of the processes, as Celery's prefork pool has it
    print("worker ready.", flush=True)  # noqa: T201 - to the log, where it is waited for
    threading.Event().wait()
