"""DBOS distributed: a client enqueues workflows, workers take them and the steps that they enqueue."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from benchmarks.peers import driver
from benchmarks.peers.dbos_driver import pending


class Driver(driver.Driver):
    """Enqueues with ``DBOSClient`` and polls for results."""

    def __init__(self) -> None:
        from dbos import DBOS, DBOSClient

        from benchmarks.peers import dbos_app

        self._app = dbos_app
        dbos_app.launch()  # makes the tables, which a client does not
        dbos_app.serve_queues(1)
        DBOS.destroy()
        self._client = DBOSClient(system_database_url=dbos_app.URL, use_listen_notify=True, application_name="bench")

    def chains(self, count: int, length: int) -> Sequence[Any]:
        return [self._result(each) for each in [self._enqueue("chain_apart", length) for _ in range(count)]]

    def fan_out(self, width: int) -> Any:
        return self._result(self._enqueue("fan_out_apart", width))

    def signal(self, value: int) -> tuple[float, Any]:
        started = self._enqueue("echo")
        while started.get_status().status != "PENDING":
            time.sleep(0.005)
        time.sleep(0.05)  # until it waits; a signal that comes earlier is kept
        begun = time.perf_counter()
        self._client.send(started.workflow_id, value, topic="ping")
        result = self._result(started)
        return time.perf_counter() - begun, result

    def start(self, count: int) -> tuple[float, Sequence[Any]]:
        begun = time.perf_counter()
        started = [self._enqueue("chain_apart", 1) for _ in range(count)]
        taken = time.perf_counter() - begun
        return taken, [self._result(each) for each in started]

    def sleep(self, count: int) -> int:
        for _ in range(count):
            self._enqueue("sleeper")
        return pending(self._client.list_workflows, count)

    def close(self) -> None:
        self._client.destroy()

    def _enqueue(self, workflow: str, *args: Any) -> Any:
        return self._client.enqueue({"queue_name": self._app.WORKFLOWS, "workflow_name": workflow}, *args)

    def _result(self, handle: Any) -> Any:
        return handle.get_result(polling_interval_sec=self._app.POLL)
