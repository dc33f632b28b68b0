"""The broker holds no promise: emptied or restarted at any moment, it costs nothing but time."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.acceptance.stage import Stage, process, until
from tests.acceptance.stories import (
    completed,
    done,
    outcome,
    result_of_steps,
    scheduled,
    signal,
    started,
    story_of_steps,
)


def publish(stage: Stage, result: Any, payload: Any, **more: Any) -> None:
    """Publish a parcel with Redis' own command, as any program may."""
    message = {"workflow_id": result.workflow_id, "name": "parcel", "payload": payload, **more}
    port = stage.server.url.rpartition(":")[2].partition("/")[0]
    command = ["redis-cli", "-p", port, "PUBLISH", "celeriac:shop:signals", json.dumps(message)]
    assert subprocess.run(command, check=True, capture_output=True, timeout=10).stdout.strip() != b"0"


def lose_everything(stage: Stage, how: str) -> None:
    """Empty the broker."""
    if how == "restarted":
        stage.server.restart()
    else:
        stage.redis.flushall()


@pytest.mark.parametrize("how", ["restarted", "flushed"])
def test_runs_in_every_state_survive_an_empty_broker(stage: Stage, how: str) -> None:
    worker = stage.worker(concurrency=1)
    asleep, waiting = stage.shop.nap.delay(1), stage.shop.collect.delay(2)
    until("both have had their first turn", lambda: stage.run(asleep).turns and stage.run(waiting).turns)
    stage.hold("before step 0")
    stepping = stage.shop.steps.delay(2)
    stage.reached("before step 0")
    queued = stage.shop.row.delay(1)  # no process is free to take it
    waiting.signal("parcel", "before")  # nor the turn for this

    lose_everything(stage, how)
    stage.release("before step 0")

    stage.listening(1)
    publish(stage, waiting, "after")
    stage.results([asleep], "slept")
    stage.results([waiting], ["before", "after"])
    stage.results([stepping], result_of_steps(2))
    stage.results([queued], result_of_steps(1, "row"))
    assert stage.story(waiting) == [
        started("collect", 2),
        signal("before"),
        signal("after"),
        completed(1, ["before", "after"]),
    ]
    assert stage.story(stepping) == story_of_steps(2)
    assert stage.story(queued) == story_of_steps(1, workflow="row")
    assert stage.times_done(stepping) == [1, 1]
    assert stage.times_done(queued) == [1]
    stage.one_at_a_time()
    assert process(worker).status == "running"
    stage.at_rest()


def test_a_broker_that_is_emptied_again_and_again(stage: Stage) -> None:
    stage.two()
    results = []
    for _ in range(10):
        results += [stage.shop.row.delay(3) for _ in range(2)]
        stage.redis.flushall()
    until("all have closed", lambda: all(not stage.run(each).status.open for each in results), within=80)

    for result in results:
        assert result.handle.result(timeout=1) == result_of_steps(3, "row")
        assert stage.story(result) == story_of_steps(3, workflow="row")
        assert stage.times_done(result) == [1, 1, 1]
    stage.one_at_a_time()
    stage.at_rest()


def test_a_broker_that_is_away_for_a_while(stage: Stage) -> None:
    """Starts and signals are taken meanwhile, and outcomes are recorded: those need the store only."""
    stage.two()
    stage.hold("after step 0")
    everything = stage.shop.everything.delay(0.5)
    stage.reached("after step 0")
    until("it waits", lambda: stage.run(everything).turns)

    stage.server.stop()
    started_meanwhile = stage.shop.steps.delay(1)
    everything.signal("parcel", "meanwhile")
    stage.release("after step 0")
    until(
        "the outcome is recorded",
        lambda: "activity" not in {each.kind for each in stage.store.tasks(everything.run_id)},
    )
    stage.server.start()

    stage.results([everything], [0, "meanwhile", 1])
    stage.results([started_meanwhile], [0])
    found = stage.story(everything)
    assert found[:3] == [started("everything", 0.5), scheduled(1, 0), ("timer_started", {"command": 2})]
    assert sorted(map(str, found[3:7])) == sorted(
        map(str, [*outcome(1, 0), signal("meanwhile"), ("timer_fired", {"timer": 2})])
    )
    assert found[7:] == [*done(3, 1), completed(4, [0, "meanwhile", 1])]
    assert stage.times_done(everything) == [1, 1]
    assert stage.story(started_meanwhile) == story_of_steps(1)
    stage.at_rest()
