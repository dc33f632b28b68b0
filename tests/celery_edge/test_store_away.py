"""A store that is down, then empty, then there: a worker serves everybody else, loses no start, and recovers by itself."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from sqlalchemy import create_engine, text

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
            eventually(lambda: lost.state, lambda state: state == "RETRY")

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


def test_there_but_not_able_to(postgres_url: str, edge_env: Any, broker: str, stranger: Celery, tmp_path: Path) -> None:
    """What the server answers to a start's statements is no outcome of the workflow: it waits and goes on."""
    migrate(postgres_url)
    engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT")

    def fail(event: str = "", code: str = "") -> None:
        with engine.connect() as connection:
            connection.execute(text("DROP TRIGGER IF EXISTS failing ON celeriac_runs"))
            if not event:
                return
            body = f"BEGIN RAISE EXCEPTION 'said the server' USING ERRCODE = '{code}'; END"
            connection.execute(
                text(f"CREATE OR REPLACE FUNCTION failing() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
            )
            trigger = f"CREATE TRIGGER failing BEFORE {event} ON celeriac_runs"
            connection.execute(text(f"{trigger} FOR EACH ROW EXECUTE FUNCTION failing()"))

    own = {"EDGE_STORE": postgres_url, "EDGE_BROKER": broker, "CELERIAC_LEASE": "2"}
    with Worker(tmp_path, HERE, **own) as worker:
        fail("INSERT", "53100")
        recorded = stranger.send_task(f"{HERE}.double", (1,))
        worker.says(f"workflow {HERE}.double ({recorded.id}) waits")
        eventually(lambda: recorded.state, lambda state: state == "RETRY")

        fail("UPDATE", "57014")
        worker.says("the first turn of run ")
        assert recorded.state != "FAILURE"
        fail()
        assert recorded.get(timeout=60) == 2

        fail("INSERT", "22001")  # which it would say each time
        refused = stranger.send_task(f"{HERE}.double", (2,))
        with pytest.raises(Exception, match="the store refused it: said the server"):
            refused.get(timeout=20)
        assert refused.state == "FAILURE"
    engine.dispose()


def test_it_stops_as_quickly_as_without_celeriac(edge_env: Any, broker: str, stranger: Celery, tmp_path: Path) -> None:
    took = {}
    for name, app, task in (("plain", "plainapp", "echo"), ("durable", "flows", "prepare")):
        module = f"tests.celery_edge.{app}"
        with Worker(tmp_path, module, name=name, EDGE_BROKER=broker) as worker:
            assert stranger.send_task(f"{module}.{task}", (1,)).get(timeout=20) in {1, 2}
            took[name] = worker.stop()
            assert "Traceback" not in worker.log
    assert took["durable"] < took["plain"] + 3, took
