"""A process that is ended at a workflow's own message is no end of the workflow's task: the run goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, states

from tests.celery_edge.harness import Events, Ledger, Worker, eventually, tale

HERE = "tests.celery_edge.flows"

ONCE_MORE = [
    "workflow_started",
    "local_activity_completed activity='faltering' result='done'",
    "workflow_completed result='done'",
]


@pytest.fixture(scope="module", autouse=True)
def worker(start_worker: Any) -> Worker:
    worker: Worker = start_worker(concurrency=2)
    return worker


@pytest.fixture
def watched(flows: Any) -> Iterator[Any]:
    """Look at a task's stored state all the time; returns the states that were seen."""
    over, threads = threading.Event(), []

    def watch(task_id: str) -> list[str]:
        seen: list[str] = []

        def look() -> None:
            while not over.wait(0.02):
                state = flows.app.AsyncResult(task_id).state
                if not seen or seen[-1] != state:
                    seen.append(state)

        threads.append(threading.Thread(target=look))
        threads[-1].start()
        return seen

    yield watch
    over.set()
    for each in threads:
        each.join()


def linked(flows: Any, key: str) -> dict[str, Any]:
    """Return the options of a task that notes down whether its links or its errbacks have run."""
    return {"link": flows.letter.si(f"well {key}"), "link_error": flows.letter.si(f"ill {key}")}


def told_once(ledger: Ledger, key: str) -> bool:
    """Whether the links have run once, and no errback has."""
    ledger.has(f"letter:well {key}", 1)
    return ledger.read(f"letter:well {key}") == ["sorry"] and ledger.read(f"letter:ill {key}") == []


def test_a_hard_time_limit_on_a_start_is_no_failure(
    worker: Worker, flows: Any, ledger: Ledger, events: Events, watched: Any, key: str
) -> None:
    started = flows.faltering_once.apply_async((key, "hangs"), time_limit=1, **linked(flows, key))
    seen = watched(started.id)
    assert started.handle.result(timeout=40) == "done"
    assert eventually(lambda: seen[-1], lambda state: state == states.SUCCESS)
    assert set(seen) <= {states.PENDING, states.STARTED, states.SUCCESS}
    assert told_once(ledger, key)
    assert ledger.read(key) == ["begun", "begun"]
    assert tale(started.handle) == ONCE_MORE
    assert "failed" not in events.of(started.id)
    said = f"Hard time limit (1s) exceeded for {HERE}.faltering_once[{started.id}]; the run goes on"
    assert worker.log.count(said) == 1


def test_nor_on_one_from_a_program_without_celeriac(
    worker: Worker, edge_env: Any, flows: Any, ledger: Ledger, events: Events, watched: Any, key: str
) -> None:
    with Celery("stranger", broker=edge_env["EDGE_BROKER"], set_as_current=False) as stranger:
        started = stranger.send_task(f"{HERE}.faltering_once", (key, "hangs"), time_limit=1, **linked(flows, key))
    seen = watched(started.id)
    assert eventually(lambda: seen and seen[-1], lambda state: state == states.SUCCESS)
    assert set(seen) <= {states.PENDING, states.STARTED, states.SUCCESS}
    assert told_once(ledger, key)
    assert tale(flows.durable.handle(started.id)) == ONCE_MORE
    assert "failed" not in events.of(started.id)
    assert f"[{started.id}]; the start is put back" in worker.log


def test_a_hard_time_limit_on_the_last_message_is_no_failure(
    worker: Worker, flows: Any, ledger: Ledger, events: Events, watched: Any, key: str
) -> None:
    started = flows.faltering_at_last.apply_async((key,), **linked(flows, key))
    seen = watched(started.id)
    assert eventually(lambda: seen and seen[-1], lambda state: state == states.SUCCESS)
    assert set(seen) <= {states.PENDING, states.STARTED, states.SUCCESS}
    assert told_once(ledger, key)
    assert ledger.read(f"last:{started.id}") == ["came", "came"]
    assert "failed" not in events.of(started.id)
    assert eventually(lambda: not flows.durable.runtime.store.tasks(started.run_id))


@pytest.mark.parametrize("flow", ["faltering_once", "faltering_early"])
def test_a_process_that_is_killed_at_a_start_is_no_failure(
    flows: Any, ledger: Ledger, events: Events, watched: Any, key: str, flow: str
) -> None:
    """Whether its message comes again, or was acknowledged before."""
    started = getattr(flows, flow).apply_async((key, "killed"), **linked(flows, key))
    seen = watched(started.id)
    assert started.handle.result(timeout=40) == "done"
    assert eventually(lambda: seen[-1], lambda state: state == states.SUCCESS)
    assert set(seen) <= {states.PENDING, states.STARTED, states.SUCCESS}
    assert told_once(ledger, key)
    assert tale(started.handle) == ONCE_MORE
    assert "failed" not in events.of(started.id)


def test_a_process_that_is_terminated_by_a_stamp_is_no_end(
    flows: Any, ledger: Ledger, events: Events, watched: Any, key: str
) -> None:
    """Only by its id a workflow is canceled."""
    start = flows.faltering_once.s(key, "hangs")
    start.stamp(order=key)
    started = start.apply_async()
    seen = watched(started.id)
    ledger.has(key, 1)
    flows.app.control.revoke_by_stamped_headers({"order": [key]}, terminate=True)
    assert started.handle.result(timeout=40) == "done"
    assert eventually(lambda: seen[-1], lambda state: state == states.SUCCESS)
    assert set(seen) <= {states.PENDING, states.STARTED, states.SUCCESS}
    assert ledger.read(key) == ["begun", "begun"]
    assert not {"failed", "revoked"} & {*events.of(started.id)}


def test_nothing_went_wrong_behind_the_scenes(worker: Worker) -> None:
    told = ("Hard time limit", "Process ")
    assert [each for each in worker.troubles() if not each.startswith(told)] == []
