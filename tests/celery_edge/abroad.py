"""An app that has never heard of celeriac, and its tasks."""

from __future__ import annotations

import os
import time

import redis
from celery import Celery

app = Celery("abroad", broker=os.environ["EDGE_BROKER"], backend=os.environ["EDGE_BROKER"])
app.conf.update(task_default_queue="abroad", broker_connection_retry_on_startup=True)
LEDGER: redis.Redis = redis.Redis.from_url(os.environ["EDGE_LEDGER"], decode_responses=True)


@app.task
def add(key: str, x: int, y: int) -> int:
    LEDGER.rpush(f"ledger:{key}", "ran")
    return x + y


@app.task
def flaky(key: str, times: int) -> str:
    count = LEDGER.rpush(f"ledger:{key}", "ran")
    if count <= times:  # type: ignore[operator]
        raise ValueError(f"no {count}")
    return f"yes {count}"


@app.task(ignore_result=True)
def silent(key: str) -> str:
    LEDGER.rpush(f"ledger:{key}", "ran")
    raise ValueError("nobody will know")


@app.task
def slow(key: str, seconds: float) -> str:
    LEDGER.rpush(f"ledger:{key}", "ran")
    time.sleep(seconds)
    LEDGER.rpush(f"ledger:{key}", "over")
    return "slept"
