"""Workflows in places where Celery makes the call: links, error links, beat, a declared queue; and where none can stand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery, chain, group

from celeriac.stores.sql.migrations import migrate
from tests.celery_edge.harness import Ledger, Worker, eventually
from tests.servers import PostgresServer

HERE = "tests.celery_edge.flows"


@pytest.fixture(scope="module")
def worker(start_worker: Any) -> Worker:
    worker: Worker = start_worker(concurrency=2)
    return worker


def test_a_workflow_is_an_errback(flows: Any, ledger: Ledger, worker: Worker, key: str) -> None:
    """A task's and a workflow's, with the id of what failed or, immutable, without."""
    bad = flows.compensating
    failed = [
        flows.failing.apply_async((f"{key}:task", 9), link_error=bad.s()),
        flows.stumbling.apply_async((4,), link_error=bad.s()),
    ]
    flows.failing.apply_async((f"{key}:si", 9), link_error=bad.si(f"{key}:si"))
    for name in (*(each.id for each in failed), f"{key}:si"):
        ledger.has(f"compensated:{name}", 1)
    assert "was called like a function" not in worker.log


def test_what_does_not_fit_the_next_link_fails_that_link(flows: Any, worker: Worker) -> None:
    last = chain(flows.report.s(1), flows.double.s()).apply_async()
    with pytest.raises(Exception, match="argument 'x' of workflow"):
        last.get(timeout=20)
    assert last.parent.get(timeout=5) == "report: 1"
    assert last.parent.state == "SUCCESS"


def test_a_workflow_is_no_activity(flows: Any, worker: Worker) -> None:
    assert flows.nesting.delay().handle.result(timeout=20) == (
        f"'{HERE}.double' is a workflow, and a workflow can't be executed as an activity. Start it in an activity "
        "(double.delay(...)) and have it signal this run when it is done, or await its function's code here"
    )


def test_a_declared_queue_is_where_its_starts_go_too(flows: Any, edge_env: Any) -> None:
    with redis.Redis.from_url(edge_env["EDGE_BROKER"], decode_responses=True) as client:
        try:
            starts = [flows.aside.delay() for _ in range(3)]  # the last of them as letters
            flows.aside.start_many([()] * 2)
            flows.app.send_task(f"{HERE}.aside")
            flows.aside.apply_async(expires=60)
            assert _starts(client, "aside") == 7
            assert {flows.durable.client.describe(each.id).queue for each in starts} == {"aside"}
            elsewhere = flows.aside.apply_async(queue="beside")
            assert _starts(client, "beside") == 1
            assert flows.durable.client.describe(elsewhere.id).queue == "beside"
        finally:
            client.delete("aside", "beside")


def _starts(client: Any, queue: str) -> int:
    """How many starts wait in a queue. A relay may have added turns, where this process was slow."""
    return sum(json.loads(each)["headers"]["task"] == f"{HERE}.aside" for each in client.lrange(queue, 0, -1))


class TestWhileTheStoreIsAway:
    @pytest.fixture
    def broker(self, edge_env: dict[str, str]) -> str:
        return edge_env["EDGE_BROKER"].rpartition("/")[0] + "/6"

    @pytest.fixture
    def stranger(self, broker: str) -> Iterator[Celery]:
        with Celery("stranger", broker=broker, backend=broker, set_as_current=False) as app:
            yield app

    def test_a_link_waits_in_the_broker_and_the_task_before_it_has_succeeded(
        self, postgres_server: PostgresServer, broker: str, stranger: Celery, tmp_path: Path
    ) -> None:
        url = postgres_server.create_database()
        migrate(url)
        postgres_server.stop()
        try:
            with Worker(tmp_path, HERE, EDGE_STORE=url, EDGE_BROKER=broker) as worker:
                plain, flow = (stranger.signature(f"{HERE}.{name}") for name in ("prepare", "double"))
                last = chain(plain.clone((1,)), flow).apply_async()
                body = (group(plain.clone((n,)) for n in range(2)) | stranger.signature(f"{HERE}.summed")).apply_async()
                assert last.parent.get(timeout=20) == 2
                worker.says(f"workflow {HERE}.double ({last.id}) waits")
                worker.says(f"workflow {HERE}.summed ({body.id}) waits")
                assert last.parent.state == "SUCCESS"
                postgres_server.start()
                assert last.get(timeout=60) == 4
                assert body.get(timeout=60) == 3
                assert "Exception raised outside body" not in worker.log
        finally:
            postgres_server.start()

    def test_beat_leaves_it_to_a_worker(self, flows: Any, start_process: Any, worker: Worker, key: str) -> None:
        """Beat has a store of its own here, which is away; the worker's is there."""
        beat = start_process(
            "beat",
            "beat",
            "--schedule",
            ":memory:",
            app="tests.celery_edge.beating",
            EDGE_STORE=_nowhere(),
            BEAT_KEY=key,
        )
        eventually(lambda: "is started by message, for a worker to record" in beat.log, bool)
        eventually(lambda: flows.LEDGER.llen(f"ledger:compensated:{key}"), lambda count: count >= 1)
        assert "Message Error" not in beat.log


def _nowhere() -> str:
    return "postgresql+psycopg://nobody@127.0.0.1:9/nothing"
