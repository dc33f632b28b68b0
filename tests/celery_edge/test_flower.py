"""What a stock Flower shows, asked through its own interface."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from celeriac.embedded import free_port
from celeriac.orchestrator.executor import WorkflowOptions
from tests.celery_edge.harness import Ledger, Worker, eventually

HERE = "tests.celery_edge.flows"

pytest.importorskip("flower")

Rows = Callable[[], dict[str, dict[str, Any]]]


@pytest.fixture(scope="module")
def flower(start_process: Any) -> str:
    port = free_port()
    process = start_process(
        "flower", "flower", f"--port={port}", "--address=127.0.0.1", FLOWER_UNAUTHENTICATED_API="true"
    )
    process.says("Connected to redis")
    return f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module", autouse=True)
def worker(flower: str, start_worker: Any) -> Iterator[Worker]:
    worker: Worker = start_worker(concurrency=2)
    return worker


@pytest.fixture
def rows(flower: str) -> Rows:
    def ask() -> dict[str, dict[str, Any]]:
        with urllib.request.urlopen(f"{flower}/api/tasks?limit=10000", timeout=10) as answer:  # noqa: S310
            found: dict[str, dict[str, Any]] = json.load(answer)
            return found

    return ask


def ended(rows: Rows, result: Any, state: str) -> list[dict[str, Any]]:
    """Wait until the workflow's row has this state, and return all rows of its tree, as they were received."""
    eventually(rows, lambda found: result.id in found and found[result.id]["state"] == state)

    def tree() -> list[dict[str, Any]]:
        found = [each for each in rows().values() if result.id in (each["uuid"], each["parent_id"])]
        return sorted(found, key=lambda each: each["uuid"] != result.id)

    return eventually(
        tree, lambda found: all(each["state"] not in {"PENDING", "RECEIVED", "STARTED"} for each in found)
    )


def shown(row: dict[str, Any]) -> tuple[str, str, str, str]:
    return row["name"].removeprefix(f"{HERE}."), row["args"], row["kwargs"], row["state"]


def test_a_row_for_the_workflow_from_start_to_end(flows: Any, rows: Rows, ledger: Ledger, key: str) -> None:
    result = flows.varied.delay(key)
    ledger.has(key, 3)
    eventually(rows, lambda found: found.get(result.id, {}).get("state") == "WAITING")
    result.signal("go", "went")
    assert result.get(timeout=20) == [2, "awaited", {"cents": 5}, "went"]
    workflow, *activities = ended(rows, result, "SUCCESS")
    assert shown(workflow) == ("varied", f"('{key}',)", "{}", "SUCCESS")
    assert workflow["result"] == "[2, 'awaited', {'cents': 5}, 'went']"
    assert {shown(each) for each in activities} == {
        ("plain", f"('{key}', 1)", "{}", "SUCCESS"),
        ("awaiting", f"('{key}', 0.05)", "{}", "SUCCESS"),
        ("charge", f"('{key}', 5)", "{}", "SUCCESS"),
    }
    assert {(each["parent_id"], each["root_id"]) for each in activities} == {(result.id, result.id)}


def test_children_of_a_workflow_with_an_id_of_its_own(flows: Any, rows: Rows, key: str) -> None:
    result = flows.double.apply_async(kwargs={"x": 4}, workflow_id=f"order {key}")
    assert result.get(timeout=20) == 8
    workflow, activity = ended(rows, result, "SUCCESS")
    assert shown(workflow) == ("double", "()", "{'x': 4}", "SUCCESS")
    assert (activity["parent_id"], activity["root_id"]) == (result.id, result.id)


def test_one_that_is_part_of_a_chain(flows: Any, rows: Rows) -> None:
    from celery import chain

    result = chain(flows.prepare.s(1), flows.double.s(), flows.report.s()).apply_async()
    assert result.get(timeout=20) == "report: 4"
    workflow, *children = ended(rows, result.parent, "SUCCESS")
    first = result.parent.parent.id
    assert (workflow["parent_id"], workflow["root_id"]) == (first, first)
    assert {(each["name"].removeprefix(f"{HERE}."), each["root_id"]) for each in children} == {
        ("doubled", first),
        ("report", first),
    }


def test_one_started_through_the_executor(flows: Any, rows: Rows, key: str) -> None:
    handle = flows.durable.executor.execute(flows.double, WorkflowOptions(id=key, args=(4,)))
    assert handle.result(timeout=20) == 8
    found = eventually(
        rows, lambda found: any(each["name"] == f"{HERE}.double" and each["args"] == "(4,)" for each in found.values())
    )
    assert found


def test_attempts(flows: Any, rows: Rows, key: str) -> None:
    result = flows.told.delay(f"{HERE}.failing", [key, 99])
    assert result.get(timeout=20)["attempts"] == 3
    _, activity = ended(rows, result, "SUCCESS")
    assert shown(activity) == ("failing", f"('{key}', 99)", "{}", "FAILURE")
    assert activity["retries"] == 2
    assert activity["exception"] == "ValueError('no 3')"


def test_a_failure_and_a_cancellation(flows: Any, rows: Rows, ledger: Ledger, key: str) -> None:
    failing, canceled = flows.stumbling.delay(4), flows.parked.delay(key)
    ledger.has(key, 1)
    canceled.revoke()
    ended(rows, failing, "FAILURE")
    ended(rows, canceled, "REVOKED")


def test_nothing_of_ours_is_shown(flows: Any, rows: Rows) -> None:
    assert flows.double.delay(4).get(timeout=20) == 8
    assert not [each for each in rows().values() if each["name"] is None or each["name"].startswith("celeriac")]
