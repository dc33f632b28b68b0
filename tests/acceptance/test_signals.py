"""A signal that was accepted is recorded, once, whenever it comes and however many hear it."""

from __future__ import annotations

import pytest

from tests.acceptance.stage import Stage, process, until
from tests.acceptance.stories import completed, signal, started
from tests.acceptance.test_redis import publish

on_servers = pytest.mark.parametrize("store_url", ["postgresql", "mariadb"], indirect=True)


@on_servers
def test_signals_before_the_first_turn(stage: Stage) -> None:
    result = stage.shop.collect.delay(3)
    result.signal("parcel", "one")
    result.signal("parcel", "two", key="the same")
    result.signal("parcel", "two", key="the same")
    result.handle.signal("parcel", "three")

    stage.worker()

    stage.results([result], ["one", "two", "three"])
    assert stage.story(result) == [
        started("collect", 3),
        signal("one", early=True),
        signal("two", early=True),
        signal("three", early=True),
        completed(1, ["one", "two", "three"]),
    ]
    stage.at_rest()


def test_signals_while_no_worker_runs(stage: Stage) -> None:
    worker = stage.worker()
    result = stage.shop.collect.delay(2)
    until("it waits", lambda: stage.run(result).turns)
    worker.kill("SIGTERM")
    assert process(worker).wait(20) == 0

    result.signal("parcel", "one")
    result.signal("parcel", "two")
    stage.worker()

    stage.results([result], ["one", "two"])
    assert stage.story(result) == [
        started("collect", 2),
        signal("one"),
        signal("two"),
        completed(1, ["one", "two"]),
    ]
    stage.at_rest()


@on_servers
def test_a_message_on_the_channel_is_recorded_once_though_all_hear_it(stage: Stage) -> None:
    first, second, third = (stage.launch(concurrency=1) for _ in range(3))
    stage.open(first, second, third)
    stage.listening(3)
    result = stage.shop.collect.delay(4)
    until("it waits", lambda: stage.run(result).turns)

    for _ in range(3):
        publish(stage, result, "with an id", id="parcel 1", sender_id="the postman")
    until("it has come", lambda: len(stage.story(result)) >= 2)
    publish(stage, result, "with an id", id="parcel 1", sender_id="the postman")  # once more, now that it is consumed
    publish(stage, result, "without one")
    until("that too", lambda: len(stage.story(result)) >= 3)
    publish(stage, result, "with another", id="parcel 2")
    publish(stage, result, "the last")

    expected = ["with an id", "without one", "with another", "the last"]
    stage.results([result], expected)
    assert stage.story(result) == [
        started("collect", 4),
        signal("with an id", sender_id="the postman"),
        signal("without one"),
        signal("with another"),
        signal("the last"),
        completed(1, expected),
    ]
    stage.at_rest()


def test_a_message_on_the_channel_for_nobody_harms_nobody(stage: Stage) -> None:
    worker = stage.worker()
    stage.listening(1)
    for text in (
        "not JSON",
        "[]",
        '{"workflow_id": 1, "name": "parcel"}',
        '{"workflow_id": "unknown", "name": "parcel"}',
    ):
        stage.redis.publish("celeriac:shop:signals", text)
    result = stage.shop.collect.delay(1)
    until("it waits", lambda: stage.run(result).turns)
    publish(stage, result, "for somebody")

    stage.results([result], ["for somebody"])
    assert stage.story(result) == [started("collect", 1), signal("for somebody"), completed(1, ["for somebody"])]
    assert worker.logs().count("is no signal") == 3
    assert worker.logs().count("was not taken") == 1
