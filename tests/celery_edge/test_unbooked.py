"""Messages that are hints are not booked in Redis, and none is lost for that; all others are booked as ever."""

from __future__ import annotations

import json
import signal
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from kombu import Connection, Consumer, Queue

from celeriac.embedded import EmbeddedRedis
from celeriac.executors.celery.headers import HEADER, TURN_TASK, ActivityTicket, StartTicket, WorkflowTicket
from celeriac.executors.celery.unbooked import HintQoS, is_hint, keep_no_books
from tests.celery_edge.harness import Ledger, Worker, eventually

HERE = "tests.celery_edge.flows"


@pytest.fixture(scope="module")
def own_redis() -> Iterator[EmbeddedRedis]:
    """One that no other worker writes to, for counting."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def broker(own_redis: EmbeddedRedis) -> Iterator[redis.Redis]:
    client: redis.Redis = redis.Redis.from_url(own_redis.url, decode_responses=True)
    client.flushdb()
    yield client
    client.close()


@pytest.fixture
def consume(own_redis: EmbeddedRedis) -> Iterator[Callable[..., list[Any]]]:
    """Publish messages with these headers to a queue, receive as many, and those that came again; return them unacknowledged."""
    with Connection(own_redis.url) as connection:
        queue = Queue("q", routing_key="q")

        def consume(*headers: dict[str, Any], again: int = 0) -> list[Any]:
            with connection.Producer() as producer:
                for place, each in enumerate(headers):
                    producer.publish({"place": place}, headers=each, routing_key="q", exchange="", declare=[queue])
            received: list[Any] = []
            channel = connection.channel()
            keep_no_books(channel)
            consumer = Consumer(channel, [queue], callbacks=[lambda _, message: received.append(message)])
            consumer.consume()
            while len(received) < len(headers) + again:
                connection.drain_events(timeout=10)
            consumer.cancel()
            return received

        yield consume


ACTIVITY = {HEADER: ActivityTicket("run", 1, 1).header()}
START = {HEADER: WorkflowTicket("run").header()}
UNRECORDED = {HEADER: StartTicket({"id": "w"}).header()}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (ACTIVITY, True),
        (START, True),
        ({HEADER: WorkflowTicket("run", finish=True).header()}, True),
        ({"task": TURN_TASK}, True),
        (UNRECORDED, False),
        ({"task": "shop.charge"}, False),
        ({HEADER: "strange"}, False),
        ({}, False),
    ],
)
def test_what_stands_in_the_store_is_a_hint(headers: dict[str, Any], expected: bool) -> None:
    class Message:
        pass

    Message.headers = headers  # type: ignore[attr-defined]
    assert is_hint(Message) is expected


def test_only_what_is_no_hint_is_written_down_until_it_is_acknowledged(consume: Any, broker: redis.Redis) -> None:
    hint, other, start, unrecorded = consume(ACTIVITY, {"task": "shop.charge"}, START, UNRECORDED)
    assert isinstance(hint.channel.qos, HintQoS)
    assert sorted(broker.hkeys("unacked")) == sorted([other.delivery_tag, unrecorded.delivery_tag])
    assert sorted(broker.zrange("unacked_index", 0, -1)) == sorted(broker.hkeys("unacked"))
    for each in (hint, other, start):
        each.ack()
    assert broker.hkeys("unacked") == [unrecorded.delivery_tag]
    assert list(hint.channel.qos._delivered) != []
    assert hint.channel.qos.can_consume()
    unrecorded.ack()
    hint.channel.close()
    assert broker.llen("q") == 0
    assert broker.keys("unacked*") == []


def test_what_is_rejected_goes_back_to_the_front_or_is_gone(consume: Any, broker: redis.Redis) -> None:
    first, second = consume(ACTIVITY, START)
    first.reject()
    second.requeue()
    assert broker.llen("q") == 1
    (again,) = consume(again=1)
    assert again.payload == {"place": 1}
    assert again.delivery_info["redelivered"] is True
    again.ack()
    first.channel.close()


def test_what_was_not_acknowledged_goes_back_when_the_channel_closes(consume: Any, broker: redis.Redis) -> None:
    done, *_ = consume(START, ACTIVITY, {"task": "shop.charge"}, ACTIVITY)
    done.ack()
    done.channel.close()
    assert broker.llen("q") == 3
    assert broker.keys("unacked*") == []
    again = consume(again=3)
    assert sorted(each.payload["place"] for each in again) == [1, 2, 3]
    for each in again:
        each.ack()
    again[0].channel.close()


def test_the_prefetch_count_holds_for_hints_too(own_redis: EmbeddedRedis, broker: redis.Redis) -> None:
    with Connection(own_redis.url) as connection, connection.Producer() as producer:
        queue = Queue("few", routing_key="few")
        for _ in range(5):
            producer.publish({}, headers=ACTIVITY, routing_key="few", exchange="", declare=[queue])
        received: list[Any] = []
        channel = connection.channel()
        channel.basic_qos(0, 2, False)
        keep_no_books(channel)
        consumer = Consumer(channel, [queue], callbacks=[lambda _, message: received.append(message)])
        with consumer:
            for _ in range(2):
                connection.drain_events(timeout=10)
            with pytest.raises(TimeoutError):
                connection.drain_events(timeout=0.2)
            assert len(received) == 2
            received[0].ack()
            connection.drain_events(timeout=10)
        assert len(received) == 3
        for each in received[1:]:
            each.ack()
        channel.close()
        assert broker.llen("few") == 2


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_run_writes_no_books_and_another_task_does(
    pool: str, flows: Any, own_redis: EmbeddedRedis, broker: redis.Redis, start_worker: Any
) -> None:
    """Counted by the server: one in each book and out of it for the task that is nobody's, none for a workflow's 13 messages.

    Additions to sorted sets are not counted, for kombu makes some of its own for the queue of remote control.
    """
    queue = f"counted-{pool}"
    worker: Worker = start_worker("-Q", f"{queue},celery", pool=pool, concurrency=1, EDGE_BROKER=own_redis.url)
    with flows.app.connection_for_write(own_redis.url) as connection, connection.Producer() as producer:
        broker.config_resetstat()
        flows.plain.apply_async((uuid.uuid4().hex, 1), queue=queue, producer=producer)
        eventually(lambda: calls(broker, "hset"), lambda count: count == 1)
        eventually(lambda: calls(broker, "hdel"), lambda count: count == 1)
        broker.config_resetstat()
        started = flows.many.apply_async(
            (f"{HERE}.plain", [[uuid.uuid4().hex, n] for n in range(10)]), queue=queue, producer=producer
        )
        assert started.handle.result(timeout=40) == [n + 1 for n in range(10)]
    worker.stop()
    assert {name: calls(broker, name) for name in ("hset", "zrem", "hdel")} == {"hset": 0, "zrem": 0, "hdel": 0}


def calls(broker: redis.Redis, command: str) -> int:
    """How often a command was called since the counters were reset."""
    found: dict[str, Any] = broker.info("commandstats")
    return int(found.get(f"cmdstat_{command}", {}).get("calls", 0))


def test_a_worker_that_stops_puts_back_the_hints_that_it_has_not_come_to(
    flows: Any, edge_env: dict[str, str], start_worker: Any, ledger: Ledger
) -> None:
    """Ten at once, one process, four held in advance: the first ends, the others are taken by the next worker from the queue.

    No relay is there that would publish them again.
    """
    key, queue = uuid.uuid4().hex, "put-back"
    first: Worker = start_worker("-Q", queue, "--without-celeriac", concurrency=1)
    started = flows.many.apply_async((f"{HERE}.gated", [[key]] * 10, {"queue": queue}), queue=queue)
    ledger.has(key, 1)
    broker: redis.Redis = redis.Redis.from_url(edge_env["EDGE_BROKER"], decode_responses=True)
    eventually(lambda: broker.llen(queue), lambda waiting: waiting == 5)  # one runs, four are held
    first.process.send_signal(signal.SIGTERM)
    first.says("Warm shutdown")
    ledger.redis.rpush(f"gate:{key}", *["go"] * 10)
    first.stop()
    waiting = Counter(json.loads(each)["headers"]["task"] for each in broker.lrange(queue, 0, -1))
    assert waiting == {f"{HERE}.gated": 9, TURN_TASK: 1}
    start_worker("-Q", queue, "--without-celeriac", concurrency=1)
    assert started.handle.result(timeout=40) == ["through"] * 10
    assert len(ledger.read(key)) == 10
