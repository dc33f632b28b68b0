"""Revoking a workflow cancels it, by whichever of Celery's ways it is revoked."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery, chain, chord
from celery.exceptions import TaskRevokedError

from celeriac import WorkflowCanceledError
from tests.celery_edge.harness import ROOT, Events, Ledger, Worker, eventually, tale

HERE = "tests.celery_edge.flows"


@pytest.fixture(scope="module", autouse=True)
def worker(start_worker: Any) -> Worker:
    worker: Worker = start_worker(concurrency=2)
    return worker


def by_result(flows: Any, task_id: str) -> None:
    flows.app.AsyncResult(task_id).revoke()


def by_terminating_result(flows: Any, task_id: str) -> None:
    flows.app.AsyncResult(task_id).revoke(terminate=True)


def by_control(flows: Any, task_id: str) -> None:
    flows.app.control.revoke([task_id, "something else"])


def by_stranger(flows: Any, task_id: str) -> None:
    with Celery("stranger", broker=flows.app.conf.broker_url, backend=flows.app.conf.result_backend) as stranger:
        stranger.control.revoke(task_id)


def by_terminating_stranger(flows: Any, task_id: str) -> None:
    with Celery("stranger", broker=flows.app.conf.broker_url) as stranger:
        stranger.control.terminate(task_id)


def by_command_line(flows: Any, task_id: str) -> None:
    words = [sys.executable, "-m", "celery", "-A", HERE, "control", "revoke", task_id]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert f"canceled: {task_id}" in done.stdout, done.stdout + done.stderr


WAYS = [by_result, by_terminating_result, by_control, by_stranger, by_terminating_stranger, by_command_line]


@pytest.mark.parametrize("revoke", WAYS)
def test_is_canceled_and_tidies_up(
    flows: Any, ledger: Ledger, events: Events, key: str, revoke: Callable[[Any, str], None]
) -> None:
    result = flows.parked.delay(key)
    ledger.has(key, 1)
    revoke(flows, result.id)
    with pytest.raises(WorkflowCanceledError):
        result.handle.result(timeout=20)
    with pytest.raises(TaskRevokedError, match=rf"workflow '{result.id}' \({HERE}.parked\) canceled"):
        result.get(timeout=20)
    assert result.state == "REVOKED"
    assert ledger.read(key) == ["parked", "tidying", "ran"]
    assert tale(result.handle) == [
        "workflow_started",
        "side_effect_recorded value=1",
        "cancel_requested reason='revoked'",
        "side_effect_recorded value=2",
        f"activity_scheduled activity='{HERE}.plain'",
        "activity_started activity=3",
        "activity_completed activity=3 result=2",
        "workflow_canceled reason='revoked'",
    ]
    eventually(lambda: events.of(result.id)[-1:], lambda last: last == ["revoked"])


def test_nothing_is_left_in_the_workers_memory(flows: Any, ledger: Ledger, key: str) -> None:
    result = flows.parked.delay(key)
    ledger.has(key, 1)
    by_stranger(flows, result.id)
    with pytest.raises(TaskRevokedError):
        result.get(timeout=20)
    revoked = flows.app.control.inspect(timeout=2).revoked()
    assert all(result.id not in ids for ids in revoked.values())


def test_a_revoke_that_reached_a_workers_memory_all_the_same_swallows_nothing(
    flows: Any, ledger: Ledger, key: str
) -> None:
    result = flows.parked.delay(key)
    ledger.has(key, 1)
    # As by a worker that could not ask its store: the id is among those whose messages it throws away.
    flows.app.control.broadcast("edge_forget", arguments={"task_id": result.id}, reply=True, timeout=2)
    result.signal("go", "on")
    assert result.get(timeout=20) == "on"


def test_one_that_catches_it_goes_on(flows: Any, ledger: Ledger, key: str) -> None:
    result = flows.told.delay(f"{HERE}.gated", [key])
    ledger.has(key, 1)
    result.revoke()
    assert result.get(timeout=20) == "canceled"
    assert result.state == "SUCCESS"
    ledger.redis.rpush(f"gate:{key}", "go")


def test_one_that_is_over_stays_as_it_is(flows: Any) -> None:
    result = flows.double.delay(4)
    assert result.get(timeout=20) == 8
    result.revoke()
    assert result.state == "SUCCESS"
    assert result.handle.status() == "completed"


def test_a_start_that_nobody_has_recorded_is_revoked_as_ever(
    flows: Any, start_worker: Any, ledger: Ledger, key: str
) -> None:
    with Celery("stranger", broker=flows.app.conf.broker_url, backend=flows.app.conf.result_backend) as stranger:
        result = stranger.send_task(f"{HERE}.parked", (key,), queue="revoking")
        worker = start_worker("-Q", "nothing", concurrency=1)
        result.revoke()
        eventually(
            lambda: flows.app.control.inspect(timeout=1).revoked(),
            lambda found: any(result.id in ids for ids in found.values()),
        )
        flows.app.control.add_consumer("revoking", destination=[f"{worker.name}@here"], reply=True)
        worker.says(f"Discarding revoked task: {HERE}.parked[{result.id}]")
        assert result.state == "REVOKED"
        assert ledger.read(key) == []


def test_the_rest_of_a_chain_is_told(flows: Any, ledger: Ledger, key: str) -> None:
    result = chain(flows.parked.s(key), flows.report.s()).apply_async(link_error=flows.letter.s())
    ledger.has(key, 1)
    result.parent.revoke()
    with pytest.raises(TaskRevokedError):
        result.parent.get(timeout=20)
    assert ledger.has(f"letter:{result.parent.id}", 1) == ["sorry"]


def test_its_chord_is_told(flows: Any, ledger: Ledger, key: str) -> None:
    result = chord([flows.parked.s(key), flows.prepare.s(1)])(flows.total.s())
    ledger.has(key, 1)
    result.parent.results[0].revoke()
    with pytest.raises(Exception, match="canceled: revoked"):
        result.get(timeout=20)


def test_others_are_revoked_as_ever(flows: Any, key: str) -> None:
    result = flows.plain.apply_async((key, 1), countdown=1)
    result.revoke()
    with pytest.raises(TaskRevokedError):
        result.get(timeout=20)


def test_nothing_went_wrong_behind_the_scenes(worker: Worker) -> None:
    assert worker.troubles() == []
