"""DBOS within the client's own process: workflows and steps run in its threads, results are waited for without polling."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.peers import driver

POLL = 0.01  # seconds between two looks at what a run is about


class Driver(driver.Driver):
    """Starts workflows with ``DBOS.start_workflow``."""

    def __init__(self) -> None:
        from dbos import DBOS

        from benchmarks.peers import dbos_app

        self._app = dbos_app
        self._dbos = DBOS
        dbos_app.launch()

    def chains(self, count: int, length: int) -> Sequence[Any]:
        started = [self._dbos.start_workflow(self._app.chain_of, length) for _ in range(count)]
        return [each.get_result() for each in started]

    def fan_out(self, width: int) -> Any:
        return self._dbos.start_workflow(self._app.fan_out, width).get_result()

    def row(self, length: int) -> tuple[Any, Sequence[float]]:
        started: Any = self._dbos.start_workflow(self._app.chain_of, length)
        result = started.get_result()
        steps = self._dbos.list_workflow_steps(started.workflow_id)
        return result, [(each["completed_at_epoch_ms"] or 0) / 1000 for each in steps]

    def signal(self, value: int) -> tuple[float, Any]:
        started: Any = self._dbos.start_workflow(self._app.echo)
        time.sleep(0.05)  # until it waits; a signal that comes earlier is kept
        begun = time.perf_counter()
        self._dbos.send(started.workflow_id, value, topic="ping")
        result = started.get_result()
        return time.perf_counter() - begun, result

    def start(self, count: int) -> tuple[float, Sequence[Any]]:
        begun = time.perf_counter()
        started = [self._dbos.start_workflow(self._app.chain_of, 1) for _ in range(count)]
        taken = time.perf_counter() - begun
        return taken, [each.get_result() for each in started]

    def sleep(self, count: int) -> int:
        for _ in range(count):
            self._dbos.start_workflow(self._app.sleeper)
        return pending(self._dbos.list_workflows, count)

    def local_row(self, length: int) -> Any:
        return self._dbos.start_workflow(self._app.chain_of, length).get_result()

    def local_fan_out(self, width: int) -> Any:
        return self.fan_out(width)


def pending(listing: Callable[..., Sequence[Any]], count: int) -> int:
    """Wait until so many sleepers run, and return how many do."""
    while (found := len(listing(status="PENDING", name="sleeper", limit=count + 1, load_input=False))) < count:
        time.sleep(POLL)
    return found
