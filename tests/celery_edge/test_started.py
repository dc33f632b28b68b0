"""``task_track_started``: a workflow is stored as started when its first turn begins, and never over an end."""

from __future__ import annotations

import re
from typing import Any

import pytest
from celery import Celery, states

from celeriac import Celeriac, WorkflowContext, WorkflowFailedError
from tests.celery_edge.harness import Ledger, Worker, eventually

HERE = "tests.celery_edge.flows"


@pytest.fixture(scope="module", autouse=True)
def worker(start_worker: Any) -> Worker:
    worker: Worker = start_worker("-Q", "started,celery", concurrency=1)
    return worker


def state(flows: Any, task_id: str) -> Any:
    """Return what is stored of a task now."""
    return flows.app.AsyncResult(task_id).state


def taken_away(flows: Any, queue: str, key: str) -> tuple[Any, bytes]:
    """Start a workflow in a queue that no worker serves yet, and take its message from there."""
    started = flows.failing_at_once.apply_async((key,), queue=queue)
    assert state(flows, started.id) == states.PENDING
    with flows.app.connection_for_write() as connection:
        return started, connection.default_channel.client.rpop(queue)


def come(flows: Any, worker: Worker, queue: str, task_id: str, *texts: bytes) -> None:
    """Have messages come, and wait until the worker, which does one thing at a time, is through with them."""
    before = len(re.findall(rf"\[{task_id}\] received", worker.log))
    with flows.app.connection_for_write() as connection:
        for each in texts:
            connection.default_channel.client.lpush(queue, each)
    eventually(lambda: len(re.findall(rf"\[{task_id}\] received", worker.log)) == before + len(texts))
    assert flows.prepare.apply_async((1,), queue=queue).get(timeout=20) == 2


def test_a_start_is_stored_as_started_with_who_has_begun_it(
    worker: Worker, flows: Any, ledger: Ledger, key: str
) -> None:
    started = flows.parked.apply_async((key,), queue="started")
    ledger.has(key, 1)
    assert state(flows, started.id) == states.STARTED
    assert flows.app.AsyncResult(started.id).info["hostname"] == f"{worker.name}@here"
    started.signal("go", "went")
    assert started.get(timeout=20) == "went"
    assert state(flows, started.id) == states.SUCCESS


@pytest.mark.parametrize("options", [{"countdown": 0.5}, {"workflow_id": "an order"}], ids=str)
def test_whoever_takes_the_first_turn(flows: Any, ledger: Ledger, key: str, options: dict[str, Any]) -> None:
    started = flows.parked.apply_async((key,), queue="started", **options)
    ledger.has(key, 1)
    assert state(flows, started.id) == states.STARTED
    started.signal("go", "went")
    assert started.get(timeout=20) == "went"


def test_a_result_that_nobody_wants_is_not_stored(flows: Any, ledger: Ledger, key: str) -> None:
    started = flows.parked.apply_async((key,), queue="started", ignore_result=True)
    ledger.has(key, 1)
    assert state(flows, started.id) == states.PENDING
    started.signal("go", "went")
    assert started.handle.result(timeout=20) == "went"


def test_a_start_that_comes_again_leaves_a_failure_as_it_is(start_worker: Any, flows: Any, key: str) -> None:
    started, text = taken_away(flows, "twice-started", key)
    worker = start_worker("-Q", "twice-started", concurrency=1)
    come(flows, worker, "twice-started", started.id, text)
    assert eventually(lambda: state(flows, started.id), lambda found: found == states.FAILURE)
    come(flows, worker, "twice-started", started.id, text, text)
    assert state(flows, started.id) == states.FAILURE
    with pytest.raises(WorkflowFailedError, match=f"no {key}"):
        flows.app.AsyncResult(started.id).get(timeout=5)


def test_a_start_that_comes_when_another_message_has_brought_the_turn(start_worker: Any, flows: Any, key: str) -> None:
    """A relay's, because the start was long in coming."""
    started, text = taken_away(flows, "late-started", key)
    worker = start_worker("-Q", "late-started", concurrency=1)
    flows.app.tasks["celeriac.turn"].apply_async((started.run_id,), queue="late-started")
    assert eventually(lambda: state(flows, started.id), lambda found: found == states.FAILURE)
    come(flows, worker, "late-started", started.id, text)
    assert state(flows, started.id) == states.FAILURE


def test_a_start_by_message_that_comes_again(worker: Worker, flows: Any, edge_env: Any, key: str) -> None:
    with Celery("stranger", broker=edge_env["EDGE_BROKER"], set_as_current=False) as stranger:
        for _ in range(2):
            stranger.send_task(f"{HERE}.failing_at_once", (key,), task_id=key, queue="started")
    eventually(lambda: worker.log.count(f"[{key}] received") == 2)
    assert flows.prepare.apply_async((1,), queue="started").get(timeout=20) == 2
    assert eventually(lambda: state(flows, key), lambda found: found == states.FAILURE)


@pytest.mark.parametrize(
    ("conf", "option", "tracked"), [(True, {}, True), (False, {}, False), (False, {"track_started": True}, True)]
)
def test_celery_itself_stores_nothing(conf: bool, option: dict[str, bool], tracked: bool) -> None:
    with Celery("tracked", set_as_current=False) as app:
        app.conf.task_track_started = conf
        durable = Celeriac(app, store="memory://")

        @durable.workflow(name="tracked.flow", **option)
        async def flow(ctx: WorkflowContext) -> None: ...

        task = app.tasks["tracked.flow"]
        assert (task.tracks_started, bool(task.track_started)) == (tracked, False)


def test_nothing_went_wrong_behind_the_scenes(worker: Worker) -> None:
    assert worker.troubles() == []
