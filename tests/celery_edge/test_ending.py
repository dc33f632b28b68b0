"""The end of a run is told to Celery where it was closed, without a message, wherever that can be done in time."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from celery import states
from celery.result import AsyncResult

from celeriac.errors import WorkflowFailedError
from celeriac.executors.celery.notices import NOTICED
from tests.celery_edge.harness import Events, Ledger, Worker, eventually

HERE = "tests.celery_edge.flows"


@pytest.fixture(scope="module")
def worker(start_worker: Any) -> Worker:
    worker: Worker = start_worker("-Q", "ends,celery", concurrency=1)
    return worker


def messages(worker: Worker, task_id: str) -> int:
    """How many messages of a task the worker has received."""
    return len(re.findall(rf"\[{task_id}\] received", worker.log))


def nothing_left(flows: Any, run_id: str) -> bool:
    return eventually(lambda: not flows.durable.runtime.store.tasks(run_id))


def test_a_run_ends_where_its_last_activity_ended(
    worker: Worker, flows: Any, events: Events, ledger: Ledger, key: str
) -> None:
    started = flows.one.apply_async((f"{HERE}.plain", [key, 1]), queue="ends")
    assert started.get(timeout=40) == 2
    assert AsyncResult(started.id, app=flows.app).state == states.SUCCESS
    assert nothing_left(flows, started.run_id)
    eventually(lambda: events.of(started.id), lambda seen: "succeeded" in seen)
    assert sorted(events.of(started.id)) == ["received", "sent", "started", "succeeded", "waiting"]
    (told,) = events.full(started.id, "succeeded")
    assert (told["result"], told["hostname"]) == ("2", f"{worker.name}@here")
    assert messages(worker, started.id) == 1
    assert worker.log.count(f"[{started.id}] succeeded") == 1


def test_a_run_that_its_first_turn_ends_is_never_shown_as_waiting(worker: Worker, flows: Any, events: Events) -> None:
    started = flows.ordered.apply_async((flows.Order(id="A-17", cents=5), {"b", "a"}), queue="ends")
    assert started.handle.result(timeout=40) == flows.Order(id="A-17 a b", cents=5)
    eventually(lambda: events.of(started.id), lambda seen: "succeeded" in seen)
    assert sorted(events.of(started.id)) == ["received", "sent", "started", "succeeded"]
    assert messages(worker, started.id) == 1


def test_its_links_run_once(worker: Worker, flows: Any, ledger: Ledger, key: str) -> None:
    link = flows.letter.si(key).set(queue="ends")
    started = flows.one.apply_async((f"{HERE}.plain", [key, 1]), queue="ends", link=link)
    assert started.get(timeout=40) == 2
    assert ledger.has(f"letter:{key}", 1) == ["sorry"]
    assert nothing_left(flows, started.run_id)
    assert messages(worker, started.id) == 1
    assert ledger.read(f"letter:{key}") == ["sorry"]


def test_a_failure_is_told_there_too(worker: Worker, flows: Any, events: Events, ledger: Ledger, key: str) -> None:
    errback = flows.letter.si(key).set(queue="ends")
    started = flows.one.apply_async((f"{HERE}.refusing", [key]), queue="ends", link_error=errback)
    with pytest.raises(WorkflowFailedError):
        started.get(timeout=40)
    assert AsyncResult(started.id, app=flows.app).state == states.FAILURE
    assert ledger.has(f"letter:{key}", 1) == ["sorry"]
    assert nothing_left(flows, started.run_id)
    eventually(lambda: events.of(started.id), lambda seen: "failed" in seen)
    assert sorted(events.of(started.id)) == ["failed", "received", "sent", "started", "waiting"]
    assert messages(worker, started.id) == 1


def test_a_soft_time_limit_that_might_strike_meanwhile_makes_it_a_message(
    worker: Worker, flows: Any, events: Events, key: str
) -> None:
    started = flows.one.apply_async((f"{HERE}.in_time", [key]), queue="ends")
    assert started.get(timeout=40) == "in time"
    eventually(lambda: events.of(started.id), lambda seen: "succeeded" in seen)
    assert messages(worker, started.id) == 2


def test_a_run_that_a_client_ends_is_told_by_a_message(worker: Worker, flows: Any, ledger: Ledger, key: str) -> None:
    started = flows.one.apply_async((f"{HERE}.gated", [key]), queue="ends")
    ledger.has(key, 1)
    started.handle.terminate("enough")
    ledger.redis.rpush(f"gate:{key}", "go")
    eventually(lambda: AsyncResult(started.id, app=flows.app).state, lambda state: state == states.FAILURE)
    assert messages(worker, started.id) == 2


def test_a_pool_that_runs_several_at_once_sends_a_message(start_worker: Any, flows: Any, key: str) -> None:
    threads: Worker = start_worker("-Q", "ends-threads", pool="threads")
    started = flows.one.apply_async((f"{HERE}.plain", [key, 1], {"queue": "ends-threads"}), queue="ends-threads")
    assert started.get(timeout=40) == 2
    assert messages(threads, started.id) == 2


def test_a_worker_of_another_queue_sends_a_message(worker: Worker, start_worker: Any, flows: Any, key: str) -> None:
    """It may take no turn of the workflow, so that it does not close it either."""
    other: Worker = start_worker("-Q", "ends-elsewhere", concurrency=1)
    started = flows.one.apply_async((f"{HERE}.plain", [key, 1], {"queue": "ends-elsewhere"}), queue="ends")
    assert started.get(timeout=40) == 2
    assert messages(other, started.id) == 0
    assert nothing_left(flows, started.run_id)
    assert messages(worker, started.id) == 1


def test_who_hears_of_an_end_does_not_keep_looking_for_it(worker: Worker, flows: Any, key: str) -> None:
    runtime = flows.durable.runtime

    def heard(seconds: float) -> bool:
        assert flows.one.delay(f"{HERE}.slow", [key, seconds]).handle.result(timeout=40) == "slept"
        return bool(runtime.notices.arrive)

    eventually(lambda: heard(0.2), bool)
    started = flows.one.delay(f"{HERE}.slow", [key, 0.3])
    looks: list[str] = []
    begun = time.monotonic()
    runtime.store.db.trace = looks.append
    try:
        assert started.handle.result(timeout=40) == "slept"
    finally:
        runtime.store.db.trace = None
    assert 2 <= len(looks) <= 2 + (time.monotonic() - begun) / NOTICED, looks
