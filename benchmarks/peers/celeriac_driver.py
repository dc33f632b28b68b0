"""Celeriac's client."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import create_engine, text

from benchmarks.peers import driver
from celeriac.executors.celery.workflows import WorkflowTask
from celeriac.orchestrator.replay import replay

_STARTS_MANY = hasattr(WorkflowTask, "start_many")  # not so in releases that one may want to compare with
_LIMIT = 600.0  # seconds that a result may take
_POLL = 0.002  # seconds between two looks
_REPLAYS = 5
_PAUSE = 0.2  # the same, where a look takes longer


class Driver(driver.Driver):
    """Starts runs with ``delay`` and waits for each by its handle."""

    def __init__(self) -> None:
        from benchmarks.peers import celeriac_app

        self._app = celeriac_app
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

    if _STARTS_MANY:

        def start_many(self, count: int) -> tuple[float, Sequence[Any]]:
            starts: Any = self._app.chain_of
            begun = time.perf_counter()
            started = starts.start_many([(1,)] * count)
            taken = time.perf_counter() - begun
            return taken, [each.handle.result(timeout=_LIMIT) for each in started]

    def sleep(self, count: int) -> int:
        starts: Any = self._app.sleeper
        if _STARTS_MANY:
            starts.start_many([()] * count)
        else:
            for _ in range(count):
                starts.delay()
        engine = create_engine(os.environ["BENCH_DATABASE"])
        asleep = text("SELECT count(*) FROM celeriac_runs WHERE name = :name AND turns > 0")
        try:
            while True:
                with engine.connect() as connection:
                    found = int(connection.execute(asleep, {"name": self._app.sleeper.name}).scalar_one())
                if found >= count:
                    return found
                time.sleep(_PAUSE)
        finally:
            engine.dispose()

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
        taken = []
        for _ in range(_REPLAYS):
            begun = time.thread_time()  # nothing is waited for, so other processes need not count
            run = replay(definition, view.events, definitions=client.engine.definitions)
            taken.append(time.thread_time() - begun)
            if not run.closed:
                raise AssertionError("the history does not lead to the end of the run")
        return {
            "events": len(view.events),
            "query_seconds": had - asked,
            "replay_seconds": statistics.median(taken),
        }

    def close(self) -> None:
        self._app.durable.close()
