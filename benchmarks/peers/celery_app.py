"""The steps as tasks of Celery's own canvas, which records nothing but results."""

from __future__ import annotations

import os

from celery import Celery, chain, chord, group
from celery.canvas import Signature

_BROKER = os.environ["BENCH_BROKER"]
_DATABASE = os.environ.get("BENCH_DATABASE")
app = Celery("bench", broker=_BROKER, backend=f"db+{_DATABASE}" if _DATABASE else _BROKER)
app.conf.update(
    broker_connection_retry_on_startup=True,
    result_chord_retry_interval=0.05,  # seconds; by default 1, where the backend can't count
)


@app.task
def step(value: int = 0) -> int:
    """A step."""
    return value + 1


@app.task
def total(values: list[int]) -> int:
    """What comes after a group."""
    return sum(values)


def chain_of(length: int) -> Signature:
    """Return a chain of so many steps."""
    return chain(step.s(0), *(step.s() for _ in range(length - 1)))


def fan_out(width: int) -> Signature:
    """Return a chord."""
    return chord(group(step.s(0) for _ in range(width)), total.s())
