"""Messages are hints: twice is once, and a lost one is made up for."""

from __future__ import annotations

import time

import pytest
from celery import Celery
from celery.result import AsyncResult

from celeriac.errors import WorkflowTerminatedError
from tests.acceptance.stage import PATIENCE, QUEUE, Stage, process, slack, until
from tests.acceptance.stories import result_of_steps, scheduled, started, story_of_steps

STEPS = "steps"
"""The queue of steps, in tests that have one."""


def copies(stage: Stage, queue: str, count: int) -> None:
    """Put further copies of the one message in a queue beside it."""
    (message,) = stage.redis.lrange(queue, 0, -1)
    stage.redis.lpush(queue, *[message] * count)


def lose(stage: Stage, queue: str) -> float:
    """Lose the messages of a queue, of which there are some, and return when that was."""
    assert stage.redis.llen(queue) > 0
    stage.redis.delete(queue)
    return time.monotonic()


def made_up_for(stage: Stage, queue: str, lost: float) -> None:
    """Wait for the message that takes the lost one's place: not later than it has to come."""
    until(f"a message in {queue!r}", lambda: stage.redis.llen(queue) == 1)
    assert time.monotonic() - lost < stage.republish_after + slack()


# -- twice -----------------------------------------------------------------------------------------------------------------


def test_a_start_delivered_three_times_is_one_run(stage: Stage) -> None:
    result = stage.shop.steps.delay(2)
    copies(stage, QUEUE, 2)

    stage.two()

    stage.results([result], result_of_steps(2))
    assert stage.story(result) == story_of_steps(2)
    assert stage.times_done(result) == [1, 1]
    assert stage.count("runs") == 1
    stage.one_at_a_time()
    stage.at_rest()


def test_a_start_from_a_program_without_celeriac_delivered_three_times_is_one_run(stage: Stage) -> None:
    stranger = Celery("stranger", broker=stage.server.url, backend=stage.server.url, set_as_current=False)
    sent: AsyncResult = stranger.send_task("steps", (2,))
    copies(stage, QUEUE, 2)

    first, second = stage.two()

    assert sent.get(timeout=PATIENCE) == result_of_steps(2)
    stranger.close()
    handle = stage.shop.durable.handle(sent.id)
    assert handle.result(timeout=1) == result_of_steps(2)
    assert stage.count("runs") == 1
    assert stage.story(handle) == story_of_steps(2)
    assert stage.times_done(handle) == [1, 1]
    stage.at_rest()
    assert "Traceback" not in first.logs() + second.logs()


@pytest.mark.parametrize("step_queue", [STEPS])
def test_an_activity_delivered_three_times_is_done_once(stage: Stage) -> None:
    stage.worker()
    result = stage.shop.steps.delay(1)
    until("the step is published", lambda: stage.redis.llen(STEPS))
    copies(stage, STEPS, 2)
    (message, *_) = stage.redis.lrange(STEPS, 0, -1)

    stage.hold("before step 0")
    worker = stage.worker(queues=STEPS)
    stage.reached("before step 0")
    until("the copies are delivered", lambda: worker.logs().count("Task step[") >= 3)
    until("the copies are dealt with", lambda: stage.messages(QUEUE, STEPS) == {})
    stage.release("before step 0")

    stage.results([result], result_of_steps(1))
    stage.redis.lpush(STEPS, message)  # and once more, long after
    until("that is dealt with", lambda: stage.messages(QUEUE, STEPS) == {})
    until("it was delivered", lambda: worker.logs().count("received") >= 4)
    assert stage.story(result) == story_of_steps(1)
    assert stage.times_done(result) == [1]
    stage.one_at_a_time()
    stage.at_rest()


# -- lost ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_queue", [STEPS])
def test_lost_messages_are_made_up_for(stage: Stage) -> None:
    """A worker that serves no queue of ours has a relay all the same."""
    stage.worker(queues="another", concurrency=1)
    result = stage.shop.steps.delay(1)
    made_up_for(stage, QUEUE, lose(stage, QUEUE))  # the start

    turner = stage.worker(concurrency=1)
    until("the step is published", lambda: stage.redis.llen(STEPS))
    made_up_for(stage, STEPS, lose(stage, STEPS))  # the activity

    turner.kill("SIGTERM")
    assert process(turner).wait(20) == 0
    stage.worker(queues=STEPS, concurrency=1)
    until("the turn is published", lambda: stage.redis.llen(QUEUE))
    assert stage.story(result) == [started("steps", 1), scheduled(1, 0)]
    made_up_for(stage, QUEUE, lose(stage, QUEUE))  # the turn

    stage.worker(concurrency=1)
    stage.results([result], result_of_steps(1))
    assert stage.story(result) == story_of_steps(1)
    assert stage.times_done(result) == [1]
    stage.one_at_a_time()
    stage.at_rest()


@pytest.mark.parametrize("step_queue", [STEPS])
def test_a_lost_last_message_is_made_up_for(stage: Stage) -> None:
    stage.worker(queues="another", concurrency=1)
    turner = stage.worker(concurrency=1)
    result = stage.shop.steps.delay(1)
    until("the step is published", lambda: stage.redis.llen(STEPS))
    turner.kill("SIGTERM")
    assert process(turner).wait(20) == 0

    result.handle.terminate("no longer wanted")
    made_up_for(stage, QUEUE, lose(stage, QUEUE))
    stage.worker(concurrency=1)

    with pytest.raises(WorkflowTerminatedError, match="no longer wanted"):
        result.get(timeout=PATIENCE)
    with pytest.raises(WorkflowTerminatedError, match="no longer wanted"):
        result.handle.result(timeout=1)
    assert stage.story(result) == [
        started("steps", 1),
        scheduled(1, 0),
        ("workflow_terminated", {"reason": "no longer wanted"}),
    ]
    stage.redis.delete(STEPS)
    stage.at_rest()
