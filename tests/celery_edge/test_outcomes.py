"""The outcome table: what becomes of an activity that ends in this way or that, under prefork."""

from __future__ import annotations

import time
import uuid
from typing import Any

import pytest

from celeriac import WorkflowFailedError
from tests.celery_edge.harness import Events, Ledger, Worker, eventually, tale


@pytest.fixture(scope="module", autouse=True)
def worker(start_worker: Any) -> Worker:
    worker: Worker = start_worker()
    return worker


class Run:
    """One workflow of one activity, run to its end."""

    def __init__(
        self, flows: Any, ledger: Ledger, events: Events, activity: str, *args: Any, flow: str = "one"
    ) -> None:
        self.key = uuid.uuid4().hex[:8]
        name = f"tests.celery_edge.flows.{activity}"
        self.started = getattr(flows, flow).delay(name, [self.key, *args])
        self.activity_id = f"{self.started.run_id}-1"
        self.events_heard, self.ledger = events, ledger
        self.handle = self.started.handle

    def result(self) -> Any:
        return self.handle.result(timeout=40)

    @property
    def notes(self) -> list[str]:
        return self.ledger.read(self.key)

    @property
    def tale(self) -> list[str]:
        return tale(self.handle)

    def shown(self, *kinds: str) -> None:
        """Wait until the activity's events are these, the last one last.

        What a worker sends after an attempt crosses with what is sent of the next.
        """
        wanted = sorted(kinds)
        heard = eventually(lambda: self.events_heard.of(self.activity_id), lambda heard: sorted(heard) == wanted)
        assert heard[-1] == kinds[-1]


@pytest.fixture
def run(flows: Any, ledger: Ledger, events: Events) -> Any:
    return lambda *args, **more: Run(flows, ledger, events, *args, **more)


STARTED = "workflow_started"


def scheduled(activity: str) -> str:
    return f"activity_scheduled activity='tests.celery_edge.flows.{activity}'"


def completed(activity: str, result: Any, attempt: int = 1) -> list[str]:
    """The history of a run whose one activity brought a result."""
    tried = f" attempt={attempt}" if attempt > 1 else ""
    return [
        STARTED,
        scheduled(activity),
        f"activity_started activity=1{tried}",
        f"activity_completed activity=1 result={result!r}",
        f"workflow_completed result={result!r}",
    ]


def failed(activity: str, failure: str, attempts: int = 1, *, started: bool = True) -> list[str]:
    """The history of a run, of ``told``, whose one activity ended without a result."""
    tried = f" attempt={attempts}" if attempts > 1 else ""
    made = f" attempts={attempts}" if attempts > 1 else ""
    kind, _, message = failure.partition(": ")
    result = {"type": kind, "attempts": attempts, "message": message}
    return [
        STARTED,
        scheduled(activity),
        *([f"activity_started activity=1{tried}"] if started else []),
        f"activity_failed activity=1{made} {failure}",
        f"workflow_completed result={result!r}",
    ]


ONCE = ("sent", "received", "started", "succeeded")
RETRIED = ("sent", "received", "started", "retried")


# -- it returns, it raises -------------------------------------------------------------------------------------------


def test_returns(run: Any) -> None:
    it = run("plain", 41)
    assert it.result() == 42
    assert it.notes == ["ran"]
    assert it.tale == completed("plain", 42)
    it.shown(*ONCE)
    assert it.started.get(timeout=20) == 42
    assert it.started.state == "SUCCESS"


def test_a_declared_one_returns(run: Any) -> None:
    it = run("charge", 41)
    assert it.result() == {"cents": 41}
    assert it.notes == ["attempt 1"]
    assert it.tale == completed("charge", {"cents": 41})
    it.shown(*ONCE)


def test_raises_and_is_tried_again(run: Any) -> None:
    it = run("failing", 2)
    assert it.result() == "yes 3"
    assert it.notes == ["ran", "ran", "ran"]
    assert it.tale == completed("failing", "yes 3", attempt=3)
    it.shown(*RETRIED, *RETRIED, *ONCE)


def test_raises_until_its_attempts_are_used_up(run: Any) -> None:
    it = run("failing", 99, flow="told")
    assert it.result() == {"type": "ValueError", "attempts": 3, "message": "no 3"}
    assert it.notes == ["ran", "ran", "ran"]
    assert it.tale == failed("failing", "ValueError: no 3", attempts=3)
    it.shown(*RETRIED, *RETRIED, "sent", "received", "started", "failed")


def test_a_declared_one_raises(run: Any) -> None:
    it = run("declining", 1)
    assert it.result() == "accepted 2"
    assert it.notes == ["attempt 1", "attempt 2"]
    assert it.tale == completed("declining", "accepted 2", attempt=2)
    it.shown(*RETRIED, *ONCE)


def test_a_failed_activity_fails_the_workflow_and_its_task(run: Any) -> None:
    it = run("declining", 2)
    with pytest.raises(WorkflowFailedError, match="ValueError: declined 2"):
        it.result()
    assert it.notes == ["attempt 1", "attempt 2"]
    with pytest.raises(WorkflowFailedError, match="ValueError: declined 2"):
        it.started.get(timeout=20)
    assert it.started.state == "FAILURE"
    it.shown(*RETRIED, "sent", "received", "started", "failed")


def test_refuses_another_attempt(run: Any) -> None:
    it = run("refusing", flow="told")
    assert it.result() == {"type": "NonRetryable", "attempts": 1, "message": "card stolen"}
    assert it.notes == ["ran"]
    assert it.tale == failed("refusing", "NonRetryable: card stolen")
    it.shown("sent", "received", "started", "failed")


# -- it retries itself -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("countdown", [0, 1])
def test_retries_itself_within_one_attempt(run: Any, countdown: int) -> None:
    it = run("retrying", 2, countdown)
    assert it.result() == "round 2"
    assert it.notes == ["retries 0", "retries 1", "retries 2"]
    assert it.tale == completed("retrying", "round 2")
    it.shown(*RETRIED, *RETRIED, *ONCE)


def test_a_declared_one_retries_itself_within_its_only_attempt(run: Any) -> None:
    it = run("patient", 3)
    assert it.result() == "patient"
    assert it.notes == [f"attempt 1 retries {n}" for n in range(4)]
    assert it.tale == completed("patient", "patient")
    it.shown(*RETRIED, *RETRIED, *RETRIED, *ONCE)


def test_gives_its_own_retries_up_and_so_fails_the_attempt(run: Any) -> None:
    it = run("giving_up", flow="told")
    assert it.result() == {"type": "KeyError", "attempts": 3, "message": "'never'"}
    assert it.notes == ["retries 0", "retries 1"] * 3
    assert it.tale == failed("giving_up", "KeyError: 'never'", attempts=3)


def test_autoretry_owns_the_retries(run: Any) -> None:
    it = run("autoretrying", 2)
    assert it.result() == "up 3"
    assert it.notes == ["ran", "ran", "ran"]
    assert it.tale == completed("autoretrying", "up 3")
    it.shown(*RETRIED, *RETRIED, *ONCE)


def test_autoretry_that_gives_up_has_been_the_only_attempt(run: Any) -> None:
    it = run("autoretrying", 99, flow="told")
    assert it.result() == {"type": "ConnectionError", "attempts": 1, "message": "down 3"}
    assert it.notes == ["ran", "ran", "ran"]
    assert it.tale == failed("autoretrying", "ConnectionError: down 3")
    it.shown(*RETRIED, *RETRIED, "sent", "received", "started", "failed")


# -- it gives its message back -----------------------------------------------------------------------------------------


def test_ignores(run: Any) -> None:
    it = run("ignoring", flow="told")
    why = "activity 'tests.celery_edge.flows.ignoring' raised Ignore, which leaves no result"
    assert it.result() == {"type": "Ignore", "attempts": 1, "message": why}
    assert it.notes == ["ran"]
    assert it.tale == failed("ignoring", f"Ignore: {why}")


def test_rejects(run: Any) -> None:
    it = run("rejecting", flow="told")
    why = "activity 'tests.celery_edge.flows.rejecting' raised Reject without requeue, which leaves no result: not mine"
    assert it.result() == {"type": "Reject", "attempts": 1, "message": why}
    assert it.notes == ["ran"]
    assert it.tale == failed("rejecting", f"Reject: {why}")


@pytest.mark.parametrize("activity", ["requeueing", "requeueing_early"])
def test_rejects_for_later(run: Any, activity: str) -> None:
    it = run(activity)
    assert it.result() == "second time"
    assert it.notes == ["ran", "ran"]
    assert it.tale == completed(activity, "second time")


# -- it is replaced ----------------------------------------------------------------------------------------------------


def test_is_replaced(run: Any) -> None:
    it = run("replaced", "simple")
    assert it.result() == 2
    assert it.notes == ["ran", "ran"]
    assert it.tale == completed("replaced", 2)


def test_is_replaced_by_a_chain(run: Any) -> None:
    it = run("replaced", "chain")
    assert it.result() == 12
    assert it.notes == ["ran", "ran", "added"]
    assert it.tale == completed("replaced", 12)


def test_is_replaced_by_a_task_that_fails(run: Any) -> None:
    it = run("replaced", "failing", flow="told")
    assert it.result() == {"type": "ValueError", "attempts": 3, "message": "no 6"}
    assert it.notes == ["ran"] * 6
    assert it.tale == failed("replaced", "ValueError: no 6", attempts=3)


def test_is_replaced_by_a_task_that_takes_longer_than_a_lease(run: Any) -> None:
    it = run("replaced", "slow")
    assert it.result() == "slept"
    assert it.notes == ["ran", "ran", "over"]
    assert it.tale == completed("replaced", "slept")


def test_a_declared_one_is_replaced(run: Any) -> None:
    it = run("deputised")
    assert it.result() == 42
    assert it.notes == ["ran", "ran"]
    assert it.tale == completed("deputised", 42)


# -- its time is up ----------------------------------------------------------------------------------------------------


def test_hits_the_soft_time_limit(run: Any) -> None:
    it = run("soft", 1)
    assert it.result() == "quick 2"
    assert it.notes == ["ran", "ran"]
    assert it.tale == completed("soft", "quick 2", attempt=2)
    it.shown(*RETRIED, *ONCE)


def test_catches_the_soft_time_limit(run: Any) -> None:
    it = run("soft_caught")
    assert it.result() == "cut short"
    assert it.tale == completed("soft_caught", "cut short")


def test_hits_the_hard_time_limit(run: Any) -> None:
    it = run("hard", 1)
    assert it.result() == "quick 2"
    assert it.notes == ["ran", "ran"]
    assert it.tale == completed("hard", "quick 2", attempt=2)


def test_hits_the_hard_time_limit_in_every_attempt(run: Any) -> None:
    it = run("hard", 99, flow="told")
    message = "attempt 3 took longer than 1 s"
    assert it.result() == {"type": "ActivityTimeoutError", "attempts": 3, "message": message}
    assert it.notes == ["ran"] * 3


def test_takes_longer_than_its_timeout(run: Any) -> None:
    it = run("hanging", 99, flow="told")
    message = "attempt 2 took longer than 1 s"
    assert it.result() == {"type": "ActivityTimeoutError", "attempts": 2, "message": message}
    assert it.notes == ["ran"] * 2


def test_its_process_is_killed(run: Any) -> None:
    it = run("killed", 1)
    assert it.result() == "survived 2"
    assert it.notes == ["ran", "ran"]
    assert it.tale == completed("killed", "survived 2", attempt=2)


def test_autoretry_does_not_own_what_becomes_of_its_process(run: Any) -> None:
    it = run("autoretrying_killed", 1)
    assert it.result() == "survived 2"
    assert it.tale == completed("autoretrying_killed", "survived 2", attempt=2)


def test_its_process_is_killed_each_time(run: Any) -> None:
    it = run("killed", 99, flow="told")
    message = "the worker w0@here was lost while it ran the activity"
    assert it.result() == {"type": "WorkerLostError", "attempts": 3, "message": message}
    assert it.notes == ["ran"] * 3
    assert it.tale == failed("killed", f"WorkerLostError: {message}", attempts=3)


# -- what else a task may be -------------------------------------------------------------------------------------------


def test_is_bound(run: Any) -> None:
    it = run("bound", 7)
    assert it.result() == "tests.celery_edge.flows.bound 7"
    assert it.notes == [it.activity_id]


def test_takes_and_returns_pydantic_models(run: Any) -> None:
    it = run("modelled", {"id": "A", "cents": 1})
    assert it.result() == {"id": "A", "cents": 2}
    assert it.notes == ["Order"]
    assert it.tale == completed("modelled", {"id": "A", "cents": 2})


def test_a_declared_one_takes_and_returns_pydantic_models(run: Any) -> None:
    it = run("model_activity", {"id": "A", "cents": 1})
    assert it.result() == {"id": "A", "cents": 2}
    assert it.notes == ["Order"]


def test_has_a_class_with_a_call_of_its_own(run: Any) -> None:
    it = run("loud")
    assert it.result() == "loud"
    assert it.notes == ["called", "ran"]
    assert it.tale == completed("loud", "loud")


def test_what_a_call_of_its_own_makes_of_the_result_is_not_the_outcome(run: Any) -> None:
    it = run("shouting")
    assert it.result() == "ho!"


def test_is_async(run: Any) -> None:
    it = run("awaiting", 0.1)
    assert it.result() == "awaited"
    assert it.notes == ["running True"]
    it.shown(*ONCE)


def test_is_limited_in_its_rate(flows: Any, run: Any, ledger: Ledger) -> None:
    began = time.monotonic()
    key = uuid.uuid4().hex[:8]
    started = flows.many.delay("tests.celery_edge.flows.limited", [[key, n] for n in range(8)])
    assert started.handle.result(timeout=40) == list(range(8))
    assert time.monotonic() - began > 3
    assert sorted(ledger.read(key)) == [str(n) for n in range(8)]


def test_nothing_went_wrong_behind_the_scenes(worker: Worker) -> None:
    assert worker.troubles() == []
