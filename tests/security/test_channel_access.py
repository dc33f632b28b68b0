"""The channel with its doors shut: signed messages only, and Redis' own access control as the documentation has it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import NoPermissionError

from celeriac.embedded import EmbeddedRedis
from celeriac.signals.redis import RedisBus
from celeriac.signals.signing import sign_message
from tests.celery_edge.harness import Worker, eventually, stop_all
from tests.docs.pages import DOCS, blocks

PAGE = DOCS / "reference" / "channels.md"
SECRET = "the secret of the shop's worker"
OLD = "the secret that it had before"
CHANNEL = "celeriac:shop:signals"


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedRedis]:
    """A Redis with the users of the documentation."""
    with EmbeddedRedis() as server:
        with redis.Redis.from_url(server.url) as admin:
            for words in users():
                admin.execute_command("ACL", "SETUSER", *words)
        yield server


def users() -> list[list[str]]:
    """Return the users that the page lists, as ``ACL SETUSER`` takes them."""
    (listed,) = [each for each in blocks(PAGE, "text") if each.text.startswith("user ")]
    return [line.split()[1:] for line in listed.text.splitlines()]


@pytest.fixture
def url(server: EmbeddedRedis) -> Callable[[str], str]:
    """The URL of the Redis for one of the users."""
    return lambda user: server.url.replace("//", f"//shop-{user}:{user}-password@")


@pytest.fixture
def connected(url: Callable[[str], str]) -> Iterator[Callable[[str], Any]]:
    """Connect as one of the users."""
    made: list[redis.Redis] = []

    def connect(user: str) -> redis.Redis:
        made.append(redis.Redis.from_url(url(user)))
        return made[-1]

    yield connect
    for each in made:
        each.close()


def refused(client: Any, *words: str) -> str:
    with pytest.raises(NoPermissionError) as caught:
        client.execute_command(*words)
    return str(caught.value)


# -- access control ----------------------------------------------------------------------------------------------------


def test_a_sender_publishes_signals_and_does_nothing_else(connected: Callable[[str], Any]) -> None:
    sender = connected("sender")
    assert sender.execute_command("PUBLISH", CHANNEL, "{}") == 0
    for channel in ("celeriac:shop:closed", "celeriac:other:signals", "/0.celery.pidbox"):
        assert "permissions to access one of the channels" in refused(sender, "PUBLISH", channel, "x")
    for words in (
        ("SUBSCRIBE", CHANNEL),
        ("GET", "celery"),
        ("LPUSH", "celery", "a task"),
        ("KEYS", "*"),
        ("EVAL", "return 1", "0"),
        ("CONFIG", "GET", "*"),
        ("ACL", "LIST"),
        ("FLUSHALL",),
        ("SPUBLISH", CHANNEL, "x"),
    ):
        assert re.search(r"has no permissions to run the '[\w|]+' command", refused(sender, *words)), words


def test_the_bus_of_workers_hears_and_tells_and_has_no_keys(
    url: Callable[[str], str], connected: Callable[[str], Any]
) -> None:
    heard: list[tuple[str, str]] = []
    bus = RedisBus(url("bus"))
    stop = bus.listen([CHANNEL, "celeriac:shop:closed"], lambda *message: heard.append(message))
    sender = connected("sender")
    eventually(lambda: sender.execute_command("PUBLISH", CHANNEL, "a signal"))
    bus.publish("celeriac:shop:closed", "a run")
    eventually(lambda: len(heard) == 2)
    assert heard == [(CHANNEL, "a signal"), ("celeriac:shop:closed", "a run")]
    stop()
    bus.close()
    eventually(lambda: sender.execute_command("PUBLISH", CHANNEL, "a signal") == 0)
    client = connected("bus")
    assert "channel" in refused(client, "PUBLISH", "celeriac:other:signals", "x")
    assert "channel" in refused(client, "SUBSCRIBE", "celeriac:other:signals")
    for words in (("PSUBSCRIBE", "*"), ("GET", "celery"), ("LPUSH", "celery", "a task"), ("FLUSHALL",)):
        assert "no permissions to run" in refused(client, *words), words


def test_the_broker_of_workers_is_kept_off_what_is_not_theirs(connected: Callable[[str], Any]) -> None:
    broker = connected("broker")
    assert broker.execute_command("LLEN", "celery") == 0
    assert "channel" in refused(broker, "PUBLISH", CHANNEL, "{}")
    for words in (("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("SHUTDOWN",)):
        assert "no permissions to run" in refused(broker, *words), words


# -- signatures, with a real worker that has no other rights than those -----------------------------------------------------


@pytest.fixture
def worker(url: Callable[[str], str], tmp_path: Path) -> Iterator[Worker]:
    env = {
        "SHOP_BROKER": url("broker"),
        "SHOP_STORE": f"sqlite:///{tmp_path / 'shop.db'}",
        "CELERIAC_SIGNALS_URL": url("bus"),
        "CELERIAC_SIGNAL_SECRETS": f"{SECRET},{OLD}",
    }
    started = Worker(tmp_path, "tests.security.shop", concurrency=1, **env)
    with pytest.MonkeyPatch.context() as patched:
        for name, value in env.items():
            patched.setenv(name, value)
        yield started
    stop_all([started])


@pytest.fixture
def shop(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The worker's app in this process."""
    from tests.security.shop import make

    made = make()
    yield made
    made.durable.close()
    made.app.close()


def publish(client: Any, text: str) -> None:
    assert client.execute_command("PUBLISH", CHANNEL, text) == 1


def test_only_what_is_signed_is_taken(
    server: EmbeddedRedis, worker: Worker, shop: Any, connected: Callable[[str], Any]
) -> None:
    sender = connected("sender")
    with redis.Redis.from_url(server.url) as admin:
        eventually(lambda: admin.pubsub_numsub(CHANNEL)[0][1] == 1)
    handle = shop.collect.apply_async((3,), workflow_id="order").handle
    good: dict[str, Any] = {"namespace": "shop", "workflow_id": "order", "name": "parcel"}
    forged = sign_message("a secret that the worker does not have", **good, payload="forged")
    mine = sign_message(SECRET, **good, payload="signed", id="1", sender_id="till 3")
    for text in (
        json.dumps({"workflow_id": "order", "name": "parcel", "payload": "unsigned", "id": "0"}),
        forged,
        json.dumps({**json.loads(mine), "payload_json": '"another"'}),
        sign_message(SECRET, **{**good, "namespace": "other"}, payload="another namespace's"),
        sign_message(SECRET, **good, payload="stale", sent_at=1_000_000_000),
        "not even JSON",
        mine,
        mine,  # caught by somebody, and sent again
        sign_message(OLD, **good, payload="by the old secret"),
    ):
        publish(sender, text)
    assert by_the_shell(server, connected) == b"1\n"
    assert handle.result(timeout=40) == ["signed", "by the old secret", True]

    received = [each.data for each in handle.history() if each.type == "signal_received"]
    assert [(each["payload"], each.get("sender_id", "")) for each in received] == [
        ("signed", "till 3"),
        ("by the old secret", ""),
        (True, ""),
    ]
    assert worker.log.count(" was refused: ") == 1
    assert f"a message on {CHANNEL} was refused: it is not signed (signal 'parcel' for workflow 'order')" in worker.log
    for unsaid in (SECRET, OLD, "bus-password", "Traceback"):
        assert unsaid not in worker.log
    (stats,) = shop.app.control.inspect(destination=["w@here"], timeout=20).stats().values()
    assert stats["celeriac"] == {"signals_refused": {"unsigned": 1, "forged": 3, "stale": 1, "unreadable": 1}}


def by_the_shell(server: EmbeddedRedis, connected: Callable[[str], Any]) -> bytes:
    """Publish a signal as the page's shell script does, and return what Redis answers."""
    (script,) = blocks(PAGE, "sh")
    text = script.text.replace("workflow_id=order-A-17", "workflow_id=order").replace("name=approved", "name=parcel")
    env = {**os.environ, "SECRET": SECRET, "REDIS_URL": server.url.replace("//", "//shop-sender:sender-password@")}
    done = subprocess.run(["sh", "-eu", "-c", text], env=env, capture_output=True, check=True, timeout=30)
    return done.stdout
