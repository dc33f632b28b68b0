"""One attempt at a time: duplicates, late outcomes, leases, heartbeats, and activities that are asked to stop."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from celeriac.executors.celery.headers import HEADER
from celeriac.executors.celery.registry import activity_of
from celeriac.orchestrator.model import Fence, Message, Task
from celeriac.orchestrator.ports import ActivityReady
from celeriac.orchestrator.status import MessageKind, TaskKind
from tests.celery_edge.harness import Events, Ledger, Worker, eventually, tale

HERE = "tests.celery_edge.flows"


@pytest.fixture(scope="module", autouse=True)
def worker(start_worker: Any) -> Worker:
    worker: Worker = start_worker(concurrency=3)
    return worker


def row(flows: Any, started: Any) -> Task | None:
    rows = flows.durable.runtime.store.tasks(started.run_id)
    return next((each for each in rows if each.kind is TaskKind.ACTIVITY), None)


def publish_again(flows: Any, started: Any, times: int = 1) -> None:
    """Publish the message of the run's activity again, as a relay would that takes it for lost."""
    found = row(flows, started)
    assert found is not None
    run = flows.durable.client.describe(started.workflow_id)
    from celeriac.orchestrator.client import run_ref

    ready = ActivityReady(run_ref(run), found.seq, found.attempt, found.data, found.queue)
    flows.durable.runtime.dispatcher.publish([ready] * times)


def test_a_message_that_comes_again_while_the_activity_runs_changes_nothing(
    flows: Any, ledger: Ledger, events: Events, key: str
) -> None:
    started = flows.one.delay(f"{HERE}.gated", [key])
    ledger.has(key, 1)
    publish_again(flows, started, 5)
    eventually(lambda: events.of(f"{started.run_id}-1").count("started"), lambda count: count == 6)
    ledger.redis.rpush(f"gate:{key}", "go")
    assert started.handle.result(timeout=40) == "through"
    assert ledger.read(key) == ["attempt 1"]
    assert tale(started.handle) == [
        "workflow_started",
        f"activity_scheduled activity='{HERE}.gated'",
        "activity_started activity=1",
        "activity_completed activity=1 result='through'",
        "workflow_completed result='through'",
    ]


def test_a_message_that_comes_again_before_the_first_is_taken_runs_once(
    flows: Any, start_worker: Any, ledger: Ledger, key: str
) -> None:
    started = flows.one.delay(f"{HERE}.plain", [key, 1], {"queue": "twice"})
    eventually(lambda: tale(started.handle), lambda events: len(events) == 2)
    publish_again(flows, started, 5)
    start_worker("-Q", "twice", concurrency=2)
    assert started.handle.result(timeout=40) == 2
    assert ledger.read(key) == ["ran"]


def test_a_message_that_comes_again_when_all_is_over_does_nothing(
    flows: Any, ledger: Ledger, events: Events, key: str
) -> None:
    started = flows.one.delay(f"{HERE}.plain", [key, 1])
    assert started.handle.result(timeout=40) == 2
    header = {HEADER: {"run": started.run_id, "seq": 1, "attempt": 1}}
    flows.plain.apply_async((key, 1), task_id=f"{started.run_id}-1", headers=header)
    eventually(lambda: events.of(f"{started.run_id}-1").count("started"), lambda count: count == 2)
    assert ledger.read(key) == ["ran"]
    assert started.handle.result(timeout=40) == 2


def test_the_same_task_called_by_others_is_what_it_was(flows: Any, ledger: Ledger, key: str) -> None:
    assert flows.plain.delay(key, 5).get(timeout=20) == 6
    assert flows.declining.apply_async((key, 0), ignore_result=False).id
    assert flows.awaiting.apply_async((key, 0.01), ignore_result=False).get(timeout=20) == "awaited"
    assert ledger.has(key, 2)[:1] == ["ran"]
    assert "running False" in ledger.has(key, 2)


def test_an_outcome_after_the_lease_was_lost_is_refused(flows: Any, ledger: Ledger, key: str) -> None:
    started = flows.one.delay(f"{HERE}.gated", [key])
    ledger.has(key, 1)
    found = row(flows, started)
    assert found is not None
    # Somebody else takes the attempt for lost, as a relay does when the lease has run out ...
    run = flows.durable.client.describe(started.workflow_id)
    from celeriac.orchestrator.client import run_ref

    fence = Fence(started.run_id, TaskKind.ACTIVITY, 1, found.token or "")
    flows.durable.runtime.attempts.failed(found, run_ref(run), fence, {"type": "Lost", "message": "lost"}, delay=0.01)
    assert ledger.has(key, 2) == ["attempt 1", "attempt 2"]
    # ... and both attempts end; only the second one counts.
    ledger.redis.rpush(f"gate:{key}", "go", "go")
    assert started.handle.result(timeout=40) == "through"
    assert tale(started.handle)[2:4] == [
        "activity_started activity=1 attempt=2",
        "activity_completed activity=1 result='through'",
    ]


def test_a_forged_outcome_is_refused(flows: Any, ledger: Ledger, key: str) -> None:
    started = flows.one.delay(f"{HERE}.gated", [key])
    ledger.has(key, 1)
    message = Message(MessageKind.OUTCOME, "outcome:1", {"activity": 1, "attempt": 1, "result": "forged"})
    engine = flows.durable.runtime.engine
    assert not engine.settle(Fence(started.run_id, TaskKind.ACTIVITY, 1, ""), message)
    assert not engine.settle(Fence(started.run_id, TaskKind.ACTIVITY, 1, "no such token"), message)
    ledger.redis.rpush(f"gate:{key}", "go")
    assert started.handle.result(timeout=40) == "through"


def test_the_lease_is_renewed_by_the_process_that_runs_it(flows: Any, ledger: Ledger, key: str) -> None:
    # The lease is one second; the activity takes three and says nothing.
    started = flows.one.delay(f"{HERE}.slow", [key, 3.0])
    assert started.handle.result(timeout=40) == "slept"
    assert ledger.read(key) == ["ran", "over"]


def test_the_next_attempt_finds_the_progress_of_the_last(flows: Any, ledger: Ledger, key: str) -> None:
    started = flows.one.delay(f"{HERE}.handing_on", [key])
    assert started.handle.result(timeout=40) == {"page": 7}
    assert ledger.read(key) == ["None", "{'page': 7}"]


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("activity", ["beating", "sleeping"])
def test_a_running_activity_is_told_that_it_is_no_longer_wanted(
    flows: Any, ledger: Ledger, key: str, activity: str, wait: bool
) -> None:
    started = flows.giving_up_soon.delay(f"{HERE}.{activity}", [key, 600], wait)
    ledger.has(key, 1)
    started.signal("enough")
    assert started.handle.result(timeout=40) == "gave up"
    assert ledger.has(key, 2)[1] == "canceled"


def test_an_activity_that_does_not_listen_is_left_behind(flows: Any, ledger: Ledger, key: str) -> None:
    started = flows.giving_up_soon.delay(f"{HERE}.gated", [key], False)
    ledger.has(key, 1)
    started.signal("enough")
    assert started.handle.result(timeout=40) == "gave up"
    ledger.redis.rpush(f"gate:{key}", "go")


def test_an_activity_that_is_waited_for_may_still_succeed(flows: Any, ledger: Ledger, key: str) -> None:
    started = flows.giving_up_soon.delay(f"{HERE}.gated", [key], True)
    ledger.has(key, 1)
    started.signal("enough")
    eventually(lambda: tale(started.handle)[-1].startswith("activity_cancel_requested"))
    ledger.redis.rpush(f"gate:{key}", "go")
    assert started.handle.result(timeout=40) == "through"


def test_types_of_a_wrapped_task_are_those_of_its_body(flows: Any) -> None:
    assert activity_of(flows.charge).signature is not None
    assert threading.main_thread().is_alive()


def test_nothing_went_wrong_behind_the_scenes(worker: Worker) -> None:
    assert worker.troubles() == []


def test_beat_may_have_closed_runs_purged(worker: Worker, flows: Any) -> None:
    result = flows.double.delay(1)
    assert result.get(timeout=30) == 2
    client = flows.durable.client
    eventually(lambda: client.store.tasks(result.run_id), lambda tasks: list(tasks) == [])
    flows.app.send_task("celeriac.purge", args=[0.001])
    eventually(lambda: client.store.find_run(client.namespace, run_id=result.run_id), lambda run: run is None)
