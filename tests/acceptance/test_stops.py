"""Workers that are stopped: for a while, longer than they may be, or for good and in order."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.acceptance.stage import Stage, process, until
from tests.acceptance.stories import result_of_steps, story_of_steps


def test_a_worker_stopped_in_a_step_beyond_its_lease(stage: Stage) -> None:
    """The other does the step; what the first brings when it goes on comes too late."""
    stage.two()
    stage.hold("after step 0")
    result = stage.shop.steps.delay(2)
    there = stage.reached("after step 0")
    worker = stage.worker_of(there.pid)

    stopped = time.monotonic()
    process(worker).kill_group(signal.SIGSTOP)
    stage.release("after step 0")
    stage.results([result], result_of_steps(2))
    told = stage.story(result)
    process(worker).kill_group(signal.SIGCONT)

    until("the late outcome is refused", lambda: "a late outcome of activity step (attempt 1)" in worker.logs())
    assert told == stage.story(result) == story_of_steps(2, attempts={0: 2})
    assert stage.times_done(result) == [2, 1]
    stage.one_at_a_time({there.pid: stopped})
    again = stage.shop.steps.delay(1)
    stage.results([again], result_of_steps(1))
    stage.at_rest()


def test_a_worker_stopped_in_a_turn_beyond_its_lease(stage: Stage) -> None:
    """The other takes the turn; what the first decides when it goes on is discarded."""
    stage.two(inline_turns="never")
    stage.hold("turn 1")
    result = stage.shop.steps.delay(2)
    there = stage.reached("turn 1")
    worker = stage.worker_of(there.pid)

    process(worker).kill_group(signal.SIGSTOP)
    stage.release("turn 1")
    stage.results([result], result_of_steps(2))
    process(worker).kill_group(signal.SIGCONT)

    assert process(worker).status == "running"
    again = [stage.shop.steps.delay(1) for _ in range(8)]  # enough for the worker that goes on to get some
    stage.results(again, result_of_steps(1))
    assert stage.story(result) == story_of_steps(2)
    assert stage.times_done(result) == [1, 1]
    stage.one_at_a_time()
    stage.at_rest()


def test_a_worker_stopped_for_less_than_its_lease_goes_on_as_if_nothing_had_been(stage: Stage) -> None:
    stage.two()
    stage.hold("before step 0")
    result = stage.shop.steps.delay(2)
    worker = stage.worker_of(stage.reached("before step 0").pid)

    process(worker).kill_group(signal.SIGSTOP)
    time.sleep(stage.lease / 4)
    process(worker).kill_group(signal.SIGCONT)
    stage.release("before step 0")

    stage.results([result], result_of_steps(2))
    assert stage.story(result) == story_of_steps(2)
    assert stage.times_done(result) == [1, 1]


@pytest.mark.parametrize("store_url", ["postgresql", "sqlite"], indirect=True)
def test_a_warm_shutdown_in_the_middle_loses_nothing(stage: Stage) -> None:
    leaving, staying = stage.two()
    stage.hold("before step 0")
    results = [stage.shop.steps.delay(4) for _ in range(20)]
    stage.reached("before step 0", 3)  # so that at least one is with the one that leaves
    until("the one that leaves is in a step", lambda: any(_is_of(e.pid, leaving) for e in stage.ledger()))

    leaving.kill("SIGTERM")
    stage.release("before step 0")

    assert process(leaving).wait(25) == 0
    assert process(staying).status == "running"
    stage.results(results, result_of_steps(4))
    for result in results:
        assert stage.story(result) == story_of_steps(4)
        assert stage.times_done(result) == [1, 1, 1, 1]
    stage.one_at_a_time()
    stage.at_rest()


def _is_of(pid: int, worker: object) -> bool:
    return os.getpgid(pid) == process(worker).pid
