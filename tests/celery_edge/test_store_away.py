"""A store that is down, then empty, then there: a worker serves everybody else, loses no start, and recovers by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from celeriac.stores.sql.migrations import migrate
from tests.celery_edge.harness import Worker, eventually
from tests.servers import PostgresServer

HERE = "tests.celery_edge.flows"


@pytest.fixture
def broker(edge_env: dict[str, str]) -> str:
    """A broker of one's own: workers of other modules must not take the messages."""
    return edge_env["EDGE_BROKER"].rpartition("/")[0] + "/5"


@pytest.fixture
def stranger(broker: str) -> Iterator[Celery]:
    with Celery("stranger", broker=broker, backend=broker, set_as_current=False) as app:
        yield app


def test_down_then_empty_then_there(
    postgres_server: PostgresServer, edge_env: Any, broker: str, stranger: Celery, tmp_path: Path
) -> None:
    url = postgres_server.create_database()
    postgres_server.stop()
    try:
        began = time.monotonic()
        with Worker(tmp_path, HERE, EDGE_STORE=url, EDGE_BROKER=broker) as worker:
            assert time.monotonic() - began < 15
            lost = stranger.send_task(f"{HERE}.double", (1,))
            worker.says(f"workflow {HERE}.double ({lost.id}) waits")
            began = time.monotonic()
            others = [stranger.send_task(f"{HERE}.prepare", (n,)) for n in range(20)]
            assert [each.get(timeout=20) for each in others] == [n + 1 for n in range(20)]
            assert time.monotonic() - began < 10
            eventually(lambda: lost.state, lambda state: state == "RETRY")  # in between it is tried, and has STARTED

            postgres_server.start()
            worker.says("the store's tables are absent")
            second = stranger.send_task(f"{HERE}.double", (2,))
            worker.says(f"workflow {HERE}.double ({second.id}) waits")

            migrate(url)
            assert [each.get(timeout=60) for each in (lost, second)] == [2, 4]
            assert stranger.send_task(f"{HERE}.double", (3,)).get(timeout=20) == 6

            postgres_server.stop()
            assert stranger.send_task(f"{HERE}.prepare", (4,)).get(timeout=20) == 5
            third = stranger.send_task(f"{HERE}.double", (4,))
            worker.says(f"workflow {HERE}.double ({third.id}) waits")
            postgres_server.start()
            assert third.get(timeout=60) == 8

            postgres_server.stop()
            eventually(lambda: worker.log.count("durable workflows wait for the store"), lambda count: count >= 3)
            assert worker.stop() < 12
            assert "Task was destroyed" not in worker.log
    finally:
        postgres_server.start()


def test_it_stops_as_quickly_as_without_celeriac(edge_env: Any, broker: str, stranger: Celery, tmp_path: Path) -> None:
    took = {}
    for name, app, task in (("plain", "plainapp", "echo"), ("durable", "flows", "prepare")):
        module = f"tests.celery_edge.{app}"
        with Worker(tmp_path, module, name=name, EDGE_BROKER=broker) as worker:
            assert stranger.send_task(f"{module}.{task}", (1,)).get(timeout=20) in {1, 2}
            took[name] = worker.stop()
            assert "Traceback" not in worker.log
    assert took["durable"] < took["plain"] + 3, took
