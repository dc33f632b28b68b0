"""The steps as workflows and activities of Temporal, and a worker of them."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

QUEUE = "bench"
_LIMIT = timedelta(hours=1)  # start to close, of an activity


@activity.defn
async def add(value: int) -> int:
    """A step."""
    return value + 1


@workflow.defn
class ChainOf:
    """One activity after the other."""

    @workflow.run
    async def run(self, length: int) -> int:
        value = 0
        for _ in range(length):
            value = await workflow.execute_activity(add, value, start_to_close_timeout=_LIMIT)
        return value


@workflow.defn
class FanOut:
    """Activities side by side."""

    @workflow.run
    async def run(self, width: int) -> int:
        steps = (workflow.execute_activity(add, 0, start_to_close_timeout=_LIMIT) for _ in range(width))
        return sum(await asyncio.gather(*steps))


@workflow.defn
class LocalRow:
    """One local activity after the other."""

    @workflow.run
    async def run(self, length: int) -> int:
        value = 0
        for _ in range(length):
            value = await workflow.execute_local_activity(add, value, start_to_close_timeout=_LIMIT)
        return value


@workflow.defn
class LocalFanOut:
    """Local activities, all asked for at once."""

    @workflow.run
    async def run(self, width: int) -> int:
        steps = (workflow.execute_local_activity(add, 0, start_to_close_timeout=_LIMIT) for _ in range(width))
        return sum(await asyncio.gather(*steps))


@workflow.defn
class Echo:
    """Answers a signal."""

    def __init__(self) -> None:
        self._answer: int | None = None

    @workflow.run
    async def run(self) -> int:
        await workflow.wait_condition(lambda: self._answer is not None)
        return self._answer if self._answer is not None else -1

    @workflow.signal
    def ping(self, value: int) -> None:
        self._answer = value


@workflow.defn
class Sleeper:
    """Sleeps for a day."""

    @workflow.run
    async def run(self) -> None:
        await asyncio.sleep(24 * 60 * 60)


async def work() -> None:
    """Serve the queue until the process is ended."""
    client = await Client.connect(os.environ["BENCH_SERVER"])
    plain = os.environ.get("BENCH_SANDBOX") == "off"
    worker = Worker(
        client,
        task_queue=QUEUE,
        workflows=[ChainOf, FanOut, LocalRow, LocalFanOut, Echo, Sleeper],
        activities=[add],
        workflow_runner=UnsandboxedWorkflowRunner() if plain else SandboxedWorkflowRunner(),
    )
    async with worker:
        print("worker ready.", flush=True)  # noqa: T201 - to the log, where it is waited for
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(work())
