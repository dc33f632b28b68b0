"""Celeriac's client."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from benchmarks.peers import driver
from celeriac.orchestrator.replay import replay

_LIMIT = 600.0  # seconds that a result may take
_POLL = 0.002  # seconds between two looks


class Driver(driver.Driver):
    """Starts runs with ``delay`` and waits for each by its handle."""

    def __init__(self) -> None:
        from benchmarks.peers import celeriac_app

        self._app = celeriac_app
        self._asleep: list[Any] = []
        self._replayed: dict[int, str] = {}
        celeriac_app.durable.migrate()

    def chains(self, count: int, length: int) -> Sequence[Any]:
        started = [self._app.chain_of.delay(length) for _ in range(count)]
        return [each.handle.result(timeout=_LIMIT) for each in started]

    def fan_out(self, width: int) -> Any:
        return self._app.fan_out.delay(width).handle.result(timeout=_LIMIT)

    def row(self, length: int) -> tuple[Any, Sequence[float]]:
        started = self._app.chain_of.delay(length)
        result = started.handle.result(timeout=_LIMIT)
        return result, [each.at / 1e6 for each in started.handle.history() if each.type == "activity_completed"]

    def signal(self, value: int) -> tuple[float, Any]:
        started = self._app.echo.delay()
        while not started.handle.describe().turns:
            time.sleep(_POLL)
        begun = time.perf_counter()
        started.signal("ping", value)
        result = started.handle.result(timeout=_LIMIT)
        return time.perf_counter() - begun, result

    def start(self, count: int) -> tuple[float, Sequence[Any]]:
        begun = time.perf_counter()
        started = [self._app.chain_of.delay(1) for _ in range(count)]
        taken = time.perf_counter() - begun
        return taken, [each.handle.result(timeout=_LIMIT) for each in started]

    def sleep(self, count: int) -> int:
        self._asleep = [self._app.sleeper.delay() for _ in range(count)]
        for each in self._asleep:
            while not each.handle.describe().turns:
                time.sleep(_POLL)
        return len(self._asleep)

    def wake(self) -> None:
        for each in self._asleep:
            each.handle.terminate("measured")
        self._asleep = []

    def local_row(self, length: int) -> Any:
        return self._app.local_row.delay(length).handle.result(timeout=_LIMIT)

    def local_fan_out(self, width: int) -> Any:
        return self._app.local_fan_out.delay(width).handle.result(timeout=_LIMIT)

    def replay(self, length: int) -> dict[str, float]:
        if length not in self._replayed:
            started = self._app.chain_of.delay(length)
            started.handle.result(timeout=_LIMIT)
            self._replayed[length] = started.handle.describe().run_id
        client = self._app.durable.client
        definition = client.registry.known_workflow(self._app.chain_of.name)
        asked = time.perf_counter()
        view = client.store.read_turn(self._replayed[length], known=None)
        had = time.perf_counter()
        if view is None:
            raise AssertionError("the run is gone")
        run = replay(definition, view.events, definitions=client.engine.definitions)
        done = time.perf_counter()
        if not run.closed:
            raise AssertionError("the history does not lead to the end of the run")
        return {"events": len(view.events), "query_seconds": had - asked, "replay_seconds": done - had}

    def close(self) -> None:
        self._app.durable.close()
