"""The same under every pool."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.celery_edge.harness import Ledger, Worker, eventually, tale

HERE = "tests.celery_edge.flows"


@pytest.fixture(scope="module", params=["prefork", "threads", "gevent", "solo"])
def pool(request: pytest.FixtureRequest, flows: Any, edge_env: Any, tmp_path_factory: Any) -> Iterator[Worker]:
    with _worker(tmp_path_factory.mktemp(request.param), request.param) as worker:
        yield worker
        troubles = worker.troubles()
    assert troubles == []


def _worker(folder: Path, pool: str) -> Worker:
    if pool == "gevent":
        pytest.importorskip("gevent")
    return Worker(folder, HERE, pool=pool, concurrency=4, name=pool, CELERIAC_TURN_CPU_LIMIT="0.5")


@pytest.mark.parametrize("flow", ["varied", "varied_plainly"])
def test_a_workflow_of_all_sorts(pool: Worker, flows: Any, ledger: Ledger, key: str, flow: str) -> None:
    result = getattr(flows, flow).delay(key)
    ledger.has(key, 3)
    result.signal("go", "went")
    assert result.get(timeout=30) == [2, "awaited", {"cents": 5}, "went"]
    assert sorted(ledger.read(key)) == ["attempt 1", "ran", "running True"]


def test_one_that_does_not_yield_is_held_and_others_go_on(pool: Worker, flows: Any) -> None:
    result = flows.stuck.delay()
    others = [flows.double.delay(n) for n in range(5)]
    assert [each.get(timeout=30) for each in others] == [0, 2, 4, 6, 8]
    run = eventually(result.handle.describe, lambda run: run.status == "blocked")
    assert run.blocked["reason"] == "TurnAbandoned"
    assert f"{flows.__file__}:" in run.blocked["message"]
    assert tale(result.handle) == ["workflow_started"]
    result.handle.terminate("it is stuck")
    assert flows.double.delay(5).get(timeout=30) == 10


def test_many_at_once_that_log(pool: Worker, flows: Any) -> None:
    count = 50 if pool.name == "gevent" else 10
    results = [flows.chatty.delay(n) for n in range(count)]
    assert [each.handle.result(timeout=60) for each in results] == [8 * n for n in range(count)]


def test_local_activities(pool: Worker, flows: Any, ledger: Ledger, key: str) -> None:
    result = flows.nearby.delay(key)

    assert result.handle.result(timeout=30) == [0, 1, 2, "toiling", 2, 3, "yes 8"]
    assert ledger.read(key) == ["fetched 0", "fetched 1", "fetched 2", "toiled", *["ran"] * 4]
    assert [each.type for each in result.handle.history()] == [
        "workflow_started",
        *["local_activity_completed"] * 4,
        "activity_scheduled",
        "activity_started",
        "activity_completed",
        *["local_activity_completed"] * 2,
        "workflow_completed",
    ]


def test_one_that_is_canceled(pool: Worker, flows: Any, ledger: Ledger, key: str) -> None:
    result = flows.parked.delay(key)
    ledger.has(key, 1)
    result.revoke()
    eventually(lambda: result.state, lambda state: state == "REVOKED")
    assert ledger.read(key) == ["parked", "tidying", "ran"]


def test_coroutines_at_once_each_with_its_own_request(pool: Worker, flows: Any, key: str) -> None:
    started = flows.many.delay(f"{HERE}.naming", [[key]] * 8)
    ids = [f"{started.run_id}-{seq}" for seq in range(1, 9)]
    assert started.handle.result(timeout=30) == [[each, each, f"{HERE}.naming"] for each in ids]


def test_a_coroutine_that_is_canceled(pool: Worker, flows: Any, ledger: Ledger, key: str) -> None:
    if pool.name == "solo":
        pytest.skip("one thread does one thing at a time: the signal would wait for the activity")
    started = flows.giving_up_soon.delay(f"{HERE}.sleeping", [key, 600], True)
    ledger.has(key, 1)
    started.signal("enough")
    assert started.handle.result(timeout=30) == "gave up"
    assert ledger.has(key, 2) == ["ran", "canceled"]


@pytest.mark.parametrize("pool_name", ["prefork", "threads", "gevent", "solo"])
def test_it_stops_quickly(flows: Any, edge_env: Any, tmp_path: Path, pool_name: str) -> None:
    with _worker(tmp_path, pool_name) as worker:
        assert flows.double.delay(1).get(timeout=30) == 2
        assert worker.stop() < 15
        assert "Task was destroyed" not in worker.log
