"""Local activities in real workers: killed between two of them, a run calls again what it had not committed, and no more."""

from __future__ import annotations

import time

import pytest

from tests.acceptance.stage import Stage, until
from tests.acceptance.stories import Story, completed, started


def story_of_calls(count: int) -> Story:
    calls = [
        (
            "local_activity_completed",
            {"command": number + 1, "activity": "step", "result": number * number, "args": [number]},
        )
        for number in range(count)
    ]
    return [started("nearby", count), *calls, completed(count + 1, [number * number for number in range(count)])]


@pytest.mark.parametrize("store_url", ["postgresql", "sqlite"], indirect=True)
def test_a_worker_killed_between_two_calls(stage: Stage) -> None:
    stage.two()
    stage.hold("after step 1", "before step 3")
    result = stage.shop.nearby.delay(4)
    slow = stage.reached("after step 1")
    until("a turn has lasted a second", lambda: time.monotonic() - slow.at > 1.0)
    stage.release("after step 1")  # what was done so far is committed
    there = stage.reached("before step 3")
    recorded = stage.story(result)

    struck = stage.strike(stage.worker_of(there.pid))
    stage.release("before step 3")

    stage.results([result], [0, 1, 4, 9])
    assert recorded == story_of_calls(4)[:3]
    assert stage.story(result) == story_of_calls(4)
    assert stage.times_done(result) == [1, 1, 2, 1]
    stage.one_at_a_time({there.pid: struck})
    stage.redeliver()
    stage.at_rest()
