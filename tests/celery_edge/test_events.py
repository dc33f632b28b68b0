"""Events of workflows come and go with those of other tasks, also where remote control begins and ends them, as Flower does."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.celery_edge.harness import Events, Worker, eventually

HERE = "tests.celery_edge.flows"
NODE = "w0@here"


@pytest.fixture(params=["prefork", "threads", "solo"])
def worker(request: pytest.FixtureRequest, flows: Any, start_worker: Any) -> Iterator[Worker]:
    """A worker that was not told to send events; one at a time, for each has the same name."""
    yield from _hearing(flows, start_worker, events="", pool=request.param)


@pytest.fixture
def telling_worker(flows: Any, start_worker: Any) -> Iterator[Worker]:
    """A worker that was told to."""
    yield from _hearing(flows, start_worker)


def _hearing(flows: Any, start_worker: Any, **options: Any) -> Iterator[Worker]:
    """Start a worker, and wait until it hears: a worker that is ready has yet to subscribe to what remote control publishes."""
    worker: Worker = start_worker(concurrency=1, name="w0", **options)
    try:
        eventually(lambda: flows.app.control.ping(destination=[NODE], timeout=1, limit=1), bool)
        yield worker
    finally:
        worker.stop()


def run(flows: Any) -> str:
    """Have a workflow run to its end, and return its task id."""
    started = flows.one.delay(f"{HERE}.plain", [uuid.uuid4().hex[:8], 1])
    assert started.get(timeout=40) == 2
    return str(started.id)


def told(flows: Any, command: str) -> str:
    """Tell the worker something, and return its answer."""
    (answer,) = flows.app.control.broadcast(command, destination=[NODE], reply=True, timeout=20, limit=1)
    return str(answer[NODE]["ok"])


def test_events_begun_and_ended_by_remote_control(flows: Any, worker: Worker, events: Events) -> None:
    early = run(flows)
    for _ in range(2):
        assert told(flows, "enable_events") == "task events enabled"
        seen = run(flows)
        eventually(lambda: set(events.of(seen)), {"sent", "received", "started", "waiting", "succeeded"}.__eq__)  # noqa: B023
        assert told(flows, "disable_events") == "task events disabled"
    unseen = [run(flows) for _ in range(3)]
    assert [events.of(each) for each in unseen] == [["sent"]] * 3
    # A result is there before the worker says so, and it may have been told to speak in between.
    assert {"received", "started", "waiting"}.isdisjoint(events.of(early))


def test_a_worker_told_at_its_start_goes_on(flows: Any, telling_worker: Worker, events: Events) -> None:
    """Celery has no group to leave out then, says so, and sends all as before."""
    assert told(flows, "disable_events") == "task events already disabled"
    seen = run(flows)
    eventually(lambda: set(events.of(seen)), {"sent", "received", "started", "waiting", "succeeded"}.__eq__)
