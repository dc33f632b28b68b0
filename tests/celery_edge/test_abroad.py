"""Activities that workers without celeriac carry out."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from tests.celery_edge.harness import Ledger, Worker, eventually, tale

HERE = "tests.celery_edge.abroad"
ABROAD = {"queue": "abroad", "timeout": 3}


@pytest.fixture(scope="module", autouse=True)
def workers(start_worker: Any) -> tuple[Worker, Worker]:
    return start_worker(concurrency=1), start_worker("-Q", "abroad", app=HERE, concurrency=2)


def test_its_result_comes_back(flows: Any, ledger: Ledger, key: str) -> None:
    started = flows.one.delay(f"{HERE}.add", [key, 1, 2], ABROAD)
    assert started.handle.result(timeout=30) == 3
    assert ledger.read(key) == ["ran"]
    assert tale(started.handle) == [
        "workflow_started",
        f"activity_scheduled activity='{HERE}.add'",
        "activity_started activity=1",
        "activity_completed activity=1 result=3",
        "workflow_completed result=3",
    ]


def test_its_failures_are_attempts(flows: Any, ledger: Ledger, key: str) -> None:
    started = flows.one.delay(f"{HERE}.flaky", [key, 2], ABROAD)
    assert started.handle.result(timeout=30) == "yes 3"
    assert ledger.read(key) == ["ran"] * 3
    assert tale(started.handle)[2] == "activity_started activity=1 attempt=3"


def test_its_last_failure_is_the_failure(flows: Any, ledger: Ledger, key: str) -> None:
    started = flows.told.delay(f"{HERE}.flaky", [key, 99], ABROAD)
    assert started.handle.result(timeout=30) == {"type": "ValueError", "attempts": 3, "message": "no 3"}
    assert ledger.read(key) == ["ran"] * 3


def test_one_whose_result_is_not_kept_fails_without_a_reason(flows: Any, ledger: Ledger, key: str) -> None:
    started = flows.told.delay(f"{HERE}.silent", [key], ABROAD)
    # The request overrides the task: results of activities abroad are asked for.
    assert started.handle.result(timeout=30) == {"type": "ValueError", "attempts": 3, "message": "nobody will know"}


def test_without_a_timeout_it_is_refused(flows: Any, ledger: Ledger, key: str) -> None:
    started = flows.told.delay(f"{HERE}.add", [key, 1, 2], {"queue": "abroad"})
    name = f"{HERE}.add"
    assert started.handle.result(timeout=30) == {
        "type": "InvalidCall",
        "attempts": 1,
        "message": (
            f"task {name!r} is not one of this app's, so it is taken for one of workers without celeriac, and those need a "
            f"timeout: durable.options({name!r}, timeout=...). If workers with celeriac have it, import its module here, or "
            f"say so: durable.options({name!r}, foreign=False)"
        ),
    }
    assert ledger.read(key) == []


def test_one_that_takes_too_long_is_tried_again_and_its_late_outcome_refused(
    flows: Any, ledger: Ledger, key: str
) -> None:
    started = flows.told.delay(f"{HERE}.slow", [key, 2.5], {"queue": "abroad", "timeout": 1})
    message = "attempt 3 took longer than 1 s"
    assert started.handle.result(timeout=30) == {"type": "ActivityTimeoutError", "attempts": 3, "message": message}
    eventually(lambda: ledger.read(key).count("over"), lambda count: count >= 2)


def test_the_result_backend_is_asked_where_the_link_was_lost(
    flows: Any, start_worker: Any, edge_env: Any, ledger: Ledger, key: str
) -> None:
    # The outcome goes to the queue of the run, and is lost there: nobody serves it while it comes, and it is emptied.
    started = flows.one.apply_async((f"{HERE}.slow", [key, 1.0], ABROAD), queue="lossy")
    first = start_worker("-Q", "lossy", concurrency=1)
    ledger.has(key, 1)
    first.stop()
    with redis.Redis.from_url(edge_env["EDGE_BROKER"], decode_responses=True) as client:
        eventually(
            lambda: client.lrange("lossy", 0, -1), lambda messages: any("celeriac.outcome" in m for m in messages)
        )
        client.delete("lossy")
    start_worker("-Q", "lossy", concurrency=1)
    assert started.handle.result(timeout=30) == "slept"
    assert ledger.read(key) == ["ran", "over"]
    assert tale(started.handle)[2:4] == ["activity_started activity=1", "activity_completed activity=1 result='slept'"]


def test_a_worker_with_celeriac_may_have_it_too(flows: Any, ledger: Ledger, key: str) -> None:
    started = flows.one.delay("tests.celery_edge.flows.plain", [key, 1], {"foreign": True, "timeout": 5})
    assert started.handle.result(timeout=30) == 2
    assert ledger.read(key) == ["ran"]


def test_nothing_went_wrong_behind_the_scenes(workers: tuple[Worker, Worker]) -> None:
    assert workers[0].troubles() == []
    assert workers[1].troubles() == []
