"""The connection that a process keeps for its messages."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery.exceptions import SoftTimeLimitExceeded
from kombu.transport.redis import PrefixedStrictRedis

from celeriac.executors.celery.wire import Wire


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def wire(client: Any) -> Iterator[Wire]:
    found = Wire.of(client)
    assert found is not None
    yield found
    if found._connection is not None:  # else it is closed some time, while the next test counts
        found._connection.disconnect()


def pushed(client: Any) -> list[str]:
    return [*reversed(client.lrange("wire", 0, -1))]


def test_texts_arrive_in_their_order_on_one_connection(client: Any, wire: Wire) -> None:
    before = client.info("clients")["connected_clients"]
    assert wire.push("wire", ["ä\r\n$3", ""])
    assert wire.push("wire", ["c"])
    assert pushed(client) == ["ä\r\n$3", "", "c"]
    assert client.info("clients")["connected_clients"] == before + 1


def test_one_that_the_server_has_ended_is_made_anew(client: Any, wire: Wire) -> None:
    assert wire.push("wire", ["a"])
    client.client_kill_filter(_type="normal", skipme=True)
    assert wire.push("wire", ["b"])
    assert pushed(client) == ["a", "b"]


def test_a_refusal_is_raised_and_the_next_one_is_heard_for_itself(client: Any, wire: Wire) -> None:
    client.set("no list", "x")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        wire.push("no list", ["a"])
    assert wire.push("wire", ["b"])
    assert pushed(client) == ["b"]


def test_an_answer_that_was_not_read_is_nobodys(client: Any, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wire.push("wire", ["a"])
    kind = type(wire._connection)
    with monkeypatch.context() as patch:

        def struck(*_: Any, **__: Any) -> None:
            raise KeyboardInterrupt

        patch.setattr(kind, "read_response", struck)
        with pytest.raises(KeyboardInterrupt):
            wire.push("wire", ["b"])
    client.set("no list", "x")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        wire.push("no list", ["c"])
    assert pushed(client)[0] == "a"


def test_it_is_for_one_thread_at_a_time(client: Any, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, go_on = threading.Event(), threading.Event()
    assert wire.push("wire", ["a"])
    kind = type(wire._connection)
    read = kind.read_response

    def slowly(self: Any, *args: Any, **kwargs: Any) -> Any:
        inside.set()
        assert go_on.wait(10)
        return read(self, *args, **kwargs)

    monkeypatch.setattr(kind, "read_response", slowly)
    thread = threading.Thread(target=wire.push, args=("wire", ["b"]))
    thread.start()
    assert inside.wait(10)
    assert wire.push("wire", ["c"]) is False
    go_on.set()
    thread.join()
    monkeypatch.undo()
    assert pushed(client) == ["a", "b"]


def test_a_forked_process_has_its_own(client: Any, wire: Wire) -> None:
    assert wire.push("wire", ["parent"])
    child = multiprocessing.get_context("fork").Process(target=wire.push, args=("wire", ["child"]))
    child.start()
    child.join(10)
    assert child.exitcode == 0
    assert wire.push("wire", ["parent again"])
    assert pushed(client) == ["parent", "child", "parent again"]


def test_clients_that_somebody_has_a_hand_in_are_left_alone(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Wire.of(PrefixedStrictRedis(global_keyprefix="p", connection_pool=client.connection_pool)) is None

    def traced(*_: Any) -> None: ...

    monkeypatch.setattr(redis.Redis, "execute_command", traced)
    assert Wire.of(client) is None


def test_a_limit_that_strikes_before_anything_is_pushed_leaves_it_to_the_next(client: Any, wire: Wire) -> None:
    """However early: between taking the lock and what would give it back."""
    taken = wire._lock

    class Struck:
        def acquire(self, *, blocking: bool) -> bool:
            assert taken.acquire(blocking=blocking)
            wire._lock = taken
            raise SoftTimeLimitExceeded

    wire._lock = Struck()  # type: ignore[assignment]
    with pytest.raises(SoftTimeLimitExceeded):
        wire.push("wire", ["a"])
    assert wire.push("wire", ["b"])
    assert pushed(client) == ["b"]


def test_it_takes_no_place_of_the_client_s_connections(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True, max_connections=1) as client:
        wire = Wire.of(client)
        assert wire is not None
        for number in range(3):
            assert wire.push("wire", [str(number)])
            client.set("no list", "x")
            with pytest.raises(redis.ResponseError):
                wire.push("no list", ["dropped"])
        assert pushed(client) == ["0", "1", "2"]
