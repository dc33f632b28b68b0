"""Kill any process at any moment: within the lease another goes on, and what was done is not done again."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.acceptance.stage import Entry, Measured, Stage, process, slack, until
from tests.acceptance.stories import result_of_steps, story_of_steps

on_all_stores = pytest.mark.parametrize("store_url", ["postgresql", "mariadb", "sqlite"], indirect=True)


def next_begun(stage: Stage, after: float) -> Entry:
    """Return what was begun first after a moment."""
    return until("a step goes on", lambda: [e for e in stage.ledger() if e.what == "begun" and e.at > after])[0]


@on_all_stores
@pytest.mark.parametrize(("point", "times"), [("before step 1", [1, 1, 1]), ("after step 1", [1, 2, 1])])
def test_a_worker_killed_in_a_step(stage: Stage, point: str, times: list[int], measured: Measured) -> None:
    stage.two()
    stage.hold(point)
    result = stage.shop.steps.delay(3)
    there = stage.reached(point)

    struck = stage.strike(stage.worker_of(there.pid))
    stage.release(point)

    recovered = next_begun(stage, struck).at - struck
    measured("recovery in seconds", recovered)
    assert recovered < stage.lease + slack()
    stage.results([result], result_of_steps(3))
    assert stage.story(result) == story_of_steps(3, attempts={1: 2})
    assert stage.times_done(result) == times
    stage.one_at_a_time({there.pid: struck})
    stage.redeliver()
    stage.at_rest()


@on_all_stores
@pytest.mark.parametrize("point", ["turn 0", "turn 1", "last turn"])
def test_a_worker_killed_in_a_turn(stage: Stage, point: str, measured: Measured) -> None:
    stage.two(inline_turns="never")
    stage.hold(point)
    result = stage.shop.steps.delay(2)
    there = stage.reached(point)

    struck = stage.strike(stage.worker_of(there.pid))
    stage.release(point)

    stage.results([result], result_of_steps(2))
    measured("kill to result in seconds", time.monotonic() - struck)
    stage.redeliver()
    stage.at_rest()
    assert stage.story(result) == story_of_steps(2)
    assert stage.times_done(result) == [1, 1]
    stage.one_at_a_time()


def test_a_worker_killed_in_a_turn_that_it_took_with_the_step(stage: Stage) -> None:
    """The outcome and the turn are one commit there: neither is recorded, and the step is done again."""
    stage.two()
    stage.hold("turn 1")
    result = stage.shop.steps.delay(2)
    there = stage.reached("turn 1")

    struck = stage.strike(stage.worker_of(there.pid))
    stage.release("turn 1")

    stage.results([result], result_of_steps(2))
    assert stage.story(result) == story_of_steps(2, attempts={0: 2})
    assert stage.times_done(result) == [2, 1]
    stage.one_at_a_time({there.pid: struck})
    stage.at_rest()


@on_all_stores
def test_all_workers_killed_at_once(stage: Stage) -> None:
    workers = stage.two()
    stage.hold("before step 1", "turn 0")
    stepping = stage.shop.steps.delay(3)
    stage.reached("turn 0")
    stage.release("turn 0")
    in_step = stage.reached("before step 1")
    stage.hold("turn 0")
    turning = stage.shop.steps.delay(2)
    stage.reached("turn 0", 2)
    waiting, asleep = stage.shop.collect.delay(1), stage.shop.nap.delay(0.5)
    waiting.signal("parcel", "sent to nobody")

    struck = [stage.strike(worker) for worker in workers][-1]
    stage.release("before step 1", "turn 0")
    stage.two()

    stage.results([stepping], result_of_steps(3))
    stage.results([turning], result_of_steps(2))
    stage.results([waiting], ["sent to nobody"])
    stage.results([asleep], "slept")
    stage.redeliver()
    stage.at_rest()
    assert stage.story(stepping) == story_of_steps(3, attempts={1: 2})
    assert stage.story(turning) == story_of_steps(2)
    assert stage.times_done(stepping) == [1, 1, 1]
    assert stage.times_done(turning) == [1, 1]
    stage.one_at_a_time({in_step.pid: struck})


def test_a_worker_that_comes_after_many_died(stage: Stage) -> None:
    """The dead hold all places at the relays' table; the living must not wait for those longer than for a lease."""
    workers = [stage.launch(concurrency=1) for _ in range(3)]
    stage.open(*workers)
    stage.hold("before step 0")
    result = stage.shop.steps.delay(1)
    stage.reached("before step 0")
    heir = stage.worker(concurrency=1, queues="celery")

    struck = [stage.strike(worker) for worker in workers][-1]
    stage.release("before step 0")

    assert next_begun(stage, struck).at - struck < stage.lease + slack()
    stage.results([result], result_of_steps(1))
    assert stage.story(result) == story_of_steps(1, attempts={0: 2})
    assert stage.ledger()[-1].pid != process(heir).pid
    stage.at_rest()


@pytest.mark.parametrize(("point", "times"), [("before step 0", [1, 1]), ("after step 0", [2, 1])])
def test_a_child_killed_in_a_step(stage: Stage, point: str, times: list[int], measured: Measured) -> None:
    worker = stage.worker()
    stage.hold(point)
    result = stage.shop.steps.delay(2)
    there = stage.reached(point)

    struck = time.monotonic()
    os.kill(there.pid, signal.SIGKILL)
    stage.release(point)

    recovered = next_begun(stage, struck).at - struck
    measured("recovery in seconds", recovered)
    assert recovered < stage.lease + slack()
    stage.results([result], result_of_steps(2))
    assert stage.story(result) == story_of_steps(2, attempts={0: 2})
    assert stage.times_done(result) == times
    stage.one_at_a_time({there.pid: struck})
    assert process(worker).status == "running"
    stage.at_rest()


def test_a_parent_killed_takes_its_children_along(stage: Stage) -> None:
    stage.hold("before step 0")
    struck_down = stage.worker()
    result = stage.shop.steps.delay(2)
    there = stage.reached("before step 0")
    other = stage.worker()

    struck = time.monotonic()
    os.kill(process(struck_down).pid, signal.SIGKILL)
    process(struck_down).wait(10)
    stage.release("before step 0")

    stage.results([result], result_of_steps(2))
    assert stage.story(result) == story_of_steps(2, attempts={0: 2})
    assert stage.times_done(result) == [1, 1]
    assert {os.getpgid(e.pid) for e in stage.ledger() if e.pid != there.pid} == {process(other).pid}
    stage.one_at_a_time({there.pid: struck})
    stage.at_rest()
