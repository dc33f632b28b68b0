"""The accounting: nothing that was used is lost, nothing is counted that others used."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import redis
from sqlalchemy import create_engine, text

from benchmarks.resources import processor
from benchmarks.resources.broker import RedisCounter
from benchmarks.resources.database import PostgresCounter, counter_for
from benchmarks.resources.wire import Commands, Relay
from benchmarks.servers import Servers
from celeriac.embedded import EmbeddedRedis

BURNING = """
import os, subprocess, sys, time
burn = "import time\\nwhile time.process_time() < 0.3: pass"
subprocess.run([sys.executable, "-c", burn], check=True)
print("done", flush=True)
sys.stdin.read()
"""


def test_the_time_of_processes_that_have_ended_is_counted() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BURNING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"done\n"
        assert processor.seconds([parent.pid]) >= 0.3


def test_roles_are_apart() -> None:
    with subprocess.Popen([sys.executable, "-c", BURNING], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        used = processor.by_role({"workers": [parent.pid], "client": []})
        assert used["workers"] >= 0.3
        assert used["client"] == 0.0
        assert 0 < processor.memory([parent.pid]) < processor.memory([os.getpid()]) * 100


@pytest.mark.acceptance
def test_statements_of_one_database_are_counted_exactly() -> None:
    with Servers() as servers:
        ours, others = servers.database("postgresql"), servers.database("postgresql")
        counter = counter_for(ours.url)
        assert isinstance(counter, PostgresCounter)
        engines = [create_engine(each.url) for each in (ours, others)]
        counter.count(on=True)
        with engines[0].connect() as one, engines[1].connect() as other:
            before = counter.read()
            if "statements" not in before:
                pytest.skip("PostgreSQL has no pg_stat_statements here: apt install postgresql-contrib")
            one.execute(text("CREATE TABLE kept (number integer)"))
            one.execute(text("INSERT INTO kept VALUES (1)"))
            one.commit()
            other.execute(text("SELECT 1"))
            after = counter.read()
        for each in engines:
            each.dispose()
        counter.close()
    assert after["statements"] - before["statements"] == 4  # BEGIN, CREATE, INSERT, COMMIT
    assert after["writing_transactions"] - before["writing_transactions"] == 1
    assert after["wal_bytes"] > before["wal_bytes"]


def test_commands_and_messages_of_a_broker_are_counted() -> None:
    with EmbeddedRedis() as server, redis.Redis.from_url(server.url) as client:
        counter = RedisCounter(server.url)
        client.ping()
        before = counter.read()
        client.rpush("celery", "one", "two")
        client.hset("unacked", "tag", "three")
        client.set("celery-task-meta-1", "no message")
        after = counter.read()
        assert after["broker_commands"] - before["broker_commands"] == 3
        assert counter.messages() == 3
        counter.close()


@pytest.mark.parametrize("cut", [1, 7, 10_000])
def test_commands_are_read_out_of_chunks_of_any_size(cut: int) -> None:
    said = (
        b"*1\r\n$4\r\nPING\r\n*3\r\n$5\r\nLPUSH\r\n$6\r\ncelery\r\n$9\r\na\r\nlong*3\r\n*2\r\n$3\r\nGET\r\n$0\r\n\r\n"
    )
    commands = Commands()
    found = [each for at in range(0, len(said), cut) for each in commands.feed(said[at : at + cut])]
    assert found == [[b"PING"], [b"LPUSH", b"celery", b"a\r\nlong*3"], [b"GET", b""]]


def test_a_relay_counts_turns_of_the_conversation_and_messages() -> None:
    with EmbeddedRedis() as server:
        relay = Relay("broker", server.port, redis=True)
        try:
            with redis.Redis(port=relay.port) as client:
                client.ping()
                before = relay.read()
                client.lpush("celery", "four")
                with client.pipeline(transaction=True) as pipe:
                    pipe.lpush("celery", "fiver").lpush("celery", "sixsix").set("key", "value").execute()
                assert client.llen("celery") == 3
                after = relay.read()
        finally:
            relay.close()
    assert {name: after[name] - before[name] for name in before if name != "broker_bytes"} == {
        "broker_round_trips": 3,
        "messages": 3,
        "message_bytes": 15,
    }
    assert after["broker_bytes"] > before["broker_bytes"]
