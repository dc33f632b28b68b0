"""``python -m tests.leaks``: what workers hold while thousands of workflows pass, and what they cost while all sleep.

Real Redis, real PostgreSQL. ``growth`` samples after a warm-up and fails where threads, descriptors or processes have grown at all,
or memory by more than a byte count a workflow that is told; ``idle`` measures queries and processor time with so many runs asleep.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import redis
from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine

from celeriac.embedded import EmbeddedRedis
from celeriac.stores.sql import migrate
from tests.celery_edge.harness import Worker, eventually
from tests.leaks.crowd import multiply
from tests.leaks.watch import Held
from tests.servers import PostgresServer

APP = "tests.leaks.app"
ALLOWED = 1_000
"""Bytes of memory that a workflow may leave in all processes of a worker: allocators keep what they had at their busiest."""


class Place:
    """Servers, workers and a client."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        broker = stack.enter_context(EmbeddedRedis())
        server = stack.enter_context(PostgresServer())
        url = server.create_database()
        migrate(url)
        os.environ.update(LEAKS_BROKER=broker.url, LEAKS_STORE=url)
        from tests.leaks import app

        self.app: Any = app
        self.engine: Engine = create_engine(url)
        stack.callback(self.engine.dispose)
        self.redis: redis.Redis = stack.enter_context(redis.Redis.from_url(broker.url, decode_responses=True))
        self._stack, self._folder = stack, folder

    def worker(self, name: str, pool: str, concurrency: int = 2) -> Worker:
        """Start a worker; it is stopped at the end."""
        return self._stack.enter_context(Worker(self._folder, APP, name=name, pool=pool, concurrency=concurrency))

    def workflows(self, count: int) -> None:
        """Have so many chains of two activities pass, a hundred at a time, and get each result."""
        for first in range(0, count, 100):
            results = [self.app.steps.delay(2) for _ in range(first, min(first + 100, count))]
            for each in results:
                assert each.get(timeout=120) == 2
                each.forget()

    def count(self, table: str) -> int:
        """Return how many rows a table has."""
        with self.engine.connect() as connection:
            return int(connection.scalar(text(f"SELECT count(*) FROM celeriac_{table}")) or 0)  # noqa: S608

    def transactions(self) -> int:
        """Return how many transactions the database has seen; those who ask count too, about two each time."""
        with self.engine.connect() as connection:
            connection.execute(text("SELECT pg_stat_clear_snapshot()"))
            query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
            return int(connection.scalar(text(query)) or 0)


@contextmanager
def place() -> Iterator[Place]:
    """Start the servers; all is stopped and removed at the end."""
    with ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        yield Place(stack, Path(folder))


def growth(at: Place, pool: str, workflows: int, *, allowed: float = ALLOWED) -> list[str]:
    """Have workflows pass and return what has grown that must not have, worker and client.

    :param allowed: bytes of memory a workflow.
    """
    pid = at.worker(pool, pool).process.pid
    at.workflows(max(workflows // 3, 100))
    eventually(lambda: at.count("tasks"), lambda rows: rows == 0)  # which opens the connection that looks
    found: list[str] = []
    before = _held(pid)
    for _ in range(2):  # what is opened once, late, is no leak: it does not grow again
        at.workflows(workflows)
        eventually(lambda: at.count("tasks"), lambda rows: rows == 0)
        after = _held(pid)
        found = [f"{pool} {each}" for who in after for each in _grown(who, before[who], after[who], workflows, allowed)]
        if not found:
            break
        before = after
    if rows := at.count("inbox"):
        found.append(f"{rows} rows in the inbox")
    return found


def _held(pid: int) -> dict[str, Held]:
    return {"worker": Held.by(pid), "client": Held.by(os.getpid(), alone=True)}


def _grown(who: str, first: Held, last: Held, workflows: int, allowed: float) -> Iterator[str]:
    each = (last.memory - first.memory) * 1024 / workflows
    click.echo(f"{who} after {workflows} workflows: {first} -> {last}, {each:.0f} bytes a workflow")
    for name in ("processes", "threads", "descriptors"):
        if getattr(last, name) > getattr(first, name):
            yield f"{who}: {getattr(first, name)} {name} have become {getattr(last, name)}"
    if each > allowed:
        yield f"{who}: {each:.0f} bytes a workflow"


def idle(at: Place, sleepers: int, workers: int, seconds: float) -> None:
    """Put so many runs to sleep and tell what a while of it costs."""
    members = [at.worker(f"idle{number}", "threads") for number in range(workers)]
    if sleepers:
        handle = at.app.durable.client.handle(at.app.sleeper.delay().id)
        eventually(lambda: handle.describe().waits, patience=60)
        multiply(at.engine, at.app.durable.client.store.db.tables, handle.describe().run_id, sleepers - 1)
    time.sleep(30)  # the pollers slow down by and by
    held, queries, begun = [Held.by(each.process.pid) for each in members], at.transactions(), time.monotonic()
    time.sleep(seconds)
    spent, passed = at.transactions() - queries, time.monotonic() - begun
    busy = sum(Held.by(each.process.pid).busy - first.busy for each, first in zip(members, held, strict=True))
    click.echo(
        f"{sleepers} runs asleep, {workers} workers, {passed:.0f} s: {spent / passed:.2f} transactions/s, "
        f"{100 * busy / passed / workers:.2f} % of a core a worker, {at.count('runs')} runs"
    )


@click.command()
@click.option("--workflows", default=10_000, show_default=True, help="How many pass; 0 for none.")
@click.option("--pool", "pools", multiple=True, default=("prefork", "threads"), show_default=True)
@click.option("--sleepers", multiple=True, type=int, help="Measure with so many runs asleep; may be repeated.")
@click.option("--workers", default=2, show_default=True, help="How many workers watch over those who sleep.")
@click.option("--seconds", default=30.0, show_default=True, help="For how long.")
def main(*, workflows: int, pools: tuple[str, ...], sleepers: tuple[int, ...], workers: int, seconds: float) -> None:
    """Watch workers while workflows pass and while they sleep."""
    found: list[str] = []
    for pool in pools if workflows else ():
        with place() as at:
            found += growth(at, pool, workflows)
    for count in sleepers:
        with place() as at:
            idle(at, count, workers, seconds)
    for each in found:
        click.echo(each)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
