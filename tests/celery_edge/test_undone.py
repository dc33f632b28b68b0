"""Activities whose message does not get through to a body: it expires, is revoked, meets a worker without the task."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
from celery import Celery

from tests.celery_edge.harness import ROOT, Events, Ledger, Worker, eventually, tale

PLAIN = "tests.celery_edge.flows.plain"


@pytest.fixture(scope="module", autouse=True)
def worker(start_worker: Any) -> Worker:
    worker: Worker = start_worker()
    return worker


def scheduled(started: Any) -> str:
    """Wait until the workflow has scheduled its activity, and return that one's id."""
    eventually(lambda: tale(started.handle), lambda events: len(events) == 2)
    return f"{started.run_id}-1"


def test_expires_before_a_worker_is_there(
    flows: Any, start_worker: Any, ledger: Ledger, events: Events, key: str
) -> None:
    started = flows.told.delay("tests.celery_edge.flows.perishable", [key], {"queue": "late"})
    message = "no worker took it within 1 s"
    assert started.handle.result(timeout=40) == {"type": "ActivityTimeoutError", "attempts": 1, "message": message}
    late = start_worker("-Q", "late", concurrency=1)
    late.says(f"Discarding revoked task: tests.celery_edge.flows.perishable[{started.run_id}-1]")
    assert ledger.read(key) == []


def test_is_revoked_in_the_queue(flows: Any, start_worker: Any, ledger: Ledger, key: str) -> None:
    started = flows.told.delay(PLAIN, [key, 1], {"queue": "revoked"})
    flows.app.control.revoke(scheduled(started))
    assert started.handle.result(timeout=40) == "canceled"
    assert tale(started.handle)[2:] == ["activity_canceled activity=1", "workflow_completed result='canceled'"]
    late = start_worker("-Q", "revoked", concurrency=1)
    late.says(f"{PLAIN}[{started.run_id}-1]")
    assert ledger.read(key) == []


def test_is_revoked_while_it_runs(flows: Any, ledger: Ledger, events: Events, key: str) -> None:
    started = flows.told.delay("tests.celery_edge.flows.beating", [key, 400])
    ledger.has(key, 1)
    flows.app.control.revoke(f"{started.run_id}-1")
    assert started.handle.result(timeout=40) == "canceled"
    assert ledger.has(key, 2) == ["attempt 1 from None", "canceled"]
    assert tale(started.handle)[2:] == [
        "activity_started activity=1",
        "activity_canceled activity=1",
        "workflow_completed result='canceled'",
    ]
    eventually(lambda: events.of(f"{started.run_id}-1")[-1:], lambda heard: heard == ["revoked"])


def test_is_revoked_and_its_process_ended(flows: Any, ledger: Ledger, events: Events, key: str) -> None:
    started = flows.told.delay("tests.celery_edge.flows.slow", [key, 30])
    ledger.has(key, 1)
    flows.app.control.revoke(f"{started.run_id}-1", terminate=True)
    assert started.handle.result(timeout=40) == "canceled"
    eventually(lambda: events.of(f"{started.run_id}-1"), lambda heard: "revoked" in heard)
    assert ledger.read(key) == ["ran"]


def test_is_revoked_by_a_program_without_celeriac(flows: Any, edge_env: Any, ledger: Ledger, key: str) -> None:
    started = flows.told.delay(PLAIN, [key, 1], {"queue": "nobody"})
    activity = scheduled(started)
    with Celery("stranger", broker=edge_env["EDGE_BROKER"]) as stranger:
        stranger.control.revoke(activity)
    assert started.handle.result(timeout=40) == "canceled"
    assert ledger.read(key) == []


def test_is_revoked_from_the_command_line(flows: Any, edge_env: Any, ledger: Ledger, key: str) -> None:
    started = flows.told.delay(PLAIN, [key, 1], {"queue": "nobody"})
    words = [sys.executable, "-m", "celery", "-A", "tests.celery_edge.flows", "control", "revoke", scheduled(started)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert started.handle.result(timeout=40) == "canceled"


def test_an_uncaught_revoke_of_an_activity_fails_the_workflow(flows: Any, key: str) -> None:
    started = flows.one.delay(PLAIN, [key, 1], {"queue": "nobody"})
    flows.app.control.revoke(scheduled(started))
    eventually(started.handle.status, lambda status: not status.open)
    assert tale(started.handle)[-1] == (
        "workflow_failed CancelledError: the workflow awaited something that was canceled"
    )


def test_waits_while_its_queue_has_only_a_worker_without_the_task(
    flows: Any, start_worker: Any, ledger: Ledger, events: Events, key: str
) -> None:
    bare = start_worker("-Q", "bare", app="tests.celery_edge.bare", concurrency=1)
    started = flows.one.delay(PLAIN, [key, 1], {"queue": "bare"})
    bare.says(f"this worker has no task '{PLAIN}'; its messages are left for one that has")
    assert bare.troubles() == []
    start_worker("-Q", "bare", concurrency=1)
    assert started.handle.result(timeout=40) == 2
    assert ledger.read(key) == ["ran"]
    assert events.of(f"{started.run_id}-1").count("failed") == 0


def test_fails_after_its_time_in_the_queue_of_a_worker_without_the_task(
    flows: Any, start_worker: Any, ledger: Ledger, key: str
) -> None:
    start_worker("-Q", "bare2", app="tests.celery_edge.bare", concurrency=1)
    started = flows.told.delay(PLAIN, [key, 1], {"queue": "bare2", "schedule_to_start": 1.5})
    message = "no worker took it within 1.5 s"
    assert started.handle.result(timeout=40) == {"type": "ActivityTimeoutError", "attempts": 1, "message": message}
    assert ledger.read(key) == []


def test_a_message_that_is_nobodys_fails_as_ever(flows: Any, start_worker: Any) -> None:
    bare = start_worker("-Q", "bare3", app="tests.celery_edge.bare", concurrency=1)
    result = flows.plain.apply_async(("nobody", 1), queue="bare3")
    with pytest.raises(Exception, match=re.escape(PLAIN)):
        result.get(timeout=30)
    assert "Received unregistered task" in bare.log
