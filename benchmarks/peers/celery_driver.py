"""Raw Celery's client."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from benchmarks.peers import driver

_LIMIT = 600.0  # seconds that a result may take
_INTERVAL = 0.01  # seconds between two looks, where the backend polls; Celery's default is 0.5


class Driver(driver.Driver):
    """Sends canvases and waits for the last task's result, without a look at each parent."""

    def __init__(self) -> None:
        from benchmarks.peers import celery_app

        self._app = celery_app
        celery_app.app.backend.get_task_meta("none")  # has the backend make its tables before workers start

    def chains(self, count: int, length: int) -> Sequence[Any]:
        sent = [self._app.chain_of(length).apply_async() for _ in range(count)]
        return [_get(each) for each in sent]

    def fan_out(self, width: int) -> Any:
        return _get(self._app.fan_out(width).apply_async())

    def start(self, count: int) -> tuple[float, Sequence[Any]]:
        begun = time.perf_counter()
        sent = [self._app.step.delay(0) for _ in range(count)]
        taken = time.perf_counter() - begun
        return taken, [_get(each) for each in sent]

    def close(self) -> None:
        self._app.app.close()


def _get(result: Any) -> Any:
    return result.get(timeout=_LIMIT, interval=_INTERVAL, follow_parents=False)
