"""Temporal's client. It starts and awaits workflows concurrently, as its asynchronous client is made for."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from benchmarks.peers import driver

T = TypeVar("T")
_AT_ONCE = 200  # requests of the client that are under way at a time


class Driver(driver.Driver):
    """Asks a Temporal server, within one event loop."""

    def __init__(self) -> None:
        from temporalio.client import Client

        from benchmarks.peers import temporal_app

        self._app = temporal_app
        self._loop = asyncio.new_event_loop()
        self._client = self._do(Client.connect(os.environ["BENCH_SERVER"]))

    def chains(self, count: int, length: int) -> Sequence[Any]:
        return self._do(self._all(count, lambda: self._result("ChainOf", length)))

    def fan_out(self, width: int) -> Any:
        return self._do(self._result("FanOut", width))

    def row(self, length: int) -> tuple[Any, Sequence[float]]:
        handle = self._do(self._start("ChainOf", length))
        result = self._do(handle.result())
        history = self._do(handle.fetch_history())
        ended = "activity_task_completed_event_attributes"
        return result, [each.event_time.ToNanoseconds() / 1e9 for each in history.events if each.HasField(ended)]

    def signal(self, value: int) -> tuple[float, Any]:
        async def once() -> tuple[float, Any]:
            handle = await self._start("Echo")
            await self._turned([handle])
            begun = time.perf_counter()
            await handle.signal("ping", value)
            result = await handle.result()
            return time.perf_counter() - begun, result

        return self._do(once())

    def start(self, count: int) -> tuple[float, Sequence[Any]]:
        async def one_by_one() -> tuple[float, list[Any]]:
            begun = time.perf_counter()
            handles = [await self._start("ChainOf", 1) for _ in range(count)]
            taken = time.perf_counter() - begun
            return taken, [await each.result() for each in handles]

        return self._do(one_by_one())

    def sleep(self, count: int) -> int:
        handles = self._do(self._all(count, lambda: self._start("Sleeper")))
        self._do(self._turned(handles))
        return len(handles)

    def local_row(self, length: int) -> Any:
        return self._do(self._result("LocalRow", length))

    def local_fan_out(self, width: int) -> Any:
        return self._do(self._result("LocalFanOut", width))

    def close(self) -> None:
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(work)

    async def _all(self, count: int, work: Any) -> list[Any]:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one() -> Any:
            async with gate:
                return await work()

        return list(await asyncio.gather(*(one() for _ in range(count))))

    async def _start(self, workflow: str, *args: Any) -> Any:
        return await self._client.start_workflow(
            workflow, args=args, id=uuid.uuid4().hex, task_queue=self._app.QUEUE, result_type=int
        )

    async def _result(self, workflow: str, *args: Any) -> Any:
        handle = await self._start(workflow, *args)
        return await handle.result()

    async def _turned(self, handles: Sequence[Any]) -> None:
        """Wait until each run's first workflow task is done: event 4 of its history."""
        for each in handles:
            while (await each.describe()).history_length < 4:  # noqa: ASYNC110 - it is elsewhere
                await asyncio.sleep(0.01)
