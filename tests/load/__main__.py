"""``python -m tests.load --minutes 3``: more than the workers can do, for minutes; latency may grow, and nothing else.

Real Redis, real PostgreSQL, one worker of two processes. Runs are started twice as fast as the worker was seen to finish them, with
poison among them: activities that fail for ever, workflows that are held. What has ended is purged meanwhile. Then the starts end, and
all must be drained. Fails where a
run is lost or ends otherwise, where messages are published again and again, or where what waits takes memory in the worker.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import click
import redis
from rich.console import Console
from rich.progress import Progress
from sqlalchemy import create_engine, text

from celeriac.embedded import EmbeddedRedis
from celeriac.orchestrator.relay import SPARE
from celeriac.stores.sql import migrate
from tests.celery_edge.harness import Worker, eventually
from tests.leaks.watch import Held
from tests.servers import PostgresServer

STEPS: Final = 2
MESSAGES: Final = STEPS + 1
"""Of one run: its start and its activities; its end takes none."""
POISONED: Final = 20
"""Runs of each kind that never end well."""
KEPT: Final = 5.0
"""Seconds for which runs are kept after their end."""
ALLOWED: Final = 400
"""Bytes that the worker may grow by for each run that waits or has passed."""
CACHED: Final = 120_000_000
"""Bytes for caches of live runs, for what awaits the garbage collector, and for pages that children no longer share."""


class Overload:
    """Servers, a worker, and what is seen of them."""

    def __init__(self, stack: ExitStack) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        broker = stack.enter_context(EmbeddedRedis())
        url = stack.enter_context(PostgresServer()).create_database()
        migrate(url)
        os.environ.update(LOAD_BROKER=broker.url, LOAD_STORE=url)
        from tests.load import app

        self.app: Any = app
        self.engine = create_engine(url)
        stack.callback(self.engine.dispose)
        self.redis: Any = stack.enter_context(redis.Redis.from_url(broker.url, decode_responses=True))
        self.purged = 0
        self.worker = stack.enter_context(Worker(folder, "tests.load.app", concurrency=2))

    def statuses(self, name: str) -> Counter[str]:
        """Return how many runs of a workflow have which status."""
        with self.engine.connect() as connection:
            query = text("SELECT status, count(*) FROM celeriac_runs WHERE name = :name GROUP BY status")
            return Counter({str(status): int(count) for status, count in connection.execute(query, {"name": name})})

    def passed(self) -> int:
        """Return how many runs of steps have ended well, with those that are purged: nothing else ever closes."""
        return self.statuses("tests.load.app.steps")["completed"] + self.purged

    def purge(self) -> None:
        """Purge what has ended a while ago."""
        self.purged += self.app.durable.client.purge(KEPT)

    def orphans(self) -> int:
        """Return how many events there are of runs that are not."""
        with self.engine.connect() as connection:
            of_none = "NOT EXISTS (SELECT FROM celeriac_runs r WHERE r.run_id = e.run_id)"
            return int(connection.scalar(text(f"SELECT count(*) FROM celeriac_events e WHERE {of_none}")) or 0)  # noqa: S608

    def taken(self) -> int:
        """Return how often the worker has asked for a message: for each that it got, and once a second while there was none.

        What was put into the queue can't be counted so, for one command puts many.
        """
        calls = self.redis.info("commandstats").get("cmdstat_brpop", {}).get("calls", 0)
        return int(calls)

    def attempts(self) -> int:
        """Return how many attempts of the poisoned activities there have been."""
        with self.engine.connect() as connection:
            query = text(
                "SELECT coalesce(sum(attempt), 0) FROM celeriac_tasks WHERE kind = 'activity' AND state <> 'done'"
            )
            return int(connection.scalar(query) or 0)

    def held(self) -> Held:
        """Look at the worker."""
        return Held.by(self.worker.process.pid)


def measure(at: Overload, seconds: float = 10.0) -> float:
    """Return how many runs a second the worker finishes."""
    at.app.steps.start_many([(STEPS,)] * 200)
    eventually(at.passed, lambda passed: passed == 200, patience=120)
    begun = time.monotonic()
    at.app.steps.start_many([(STEPS,)] * 300)
    eventually(at.passed, lambda passed: passed == 500, patience=120)
    return 300 / (time.monotonic() - begun)


def overload(at: Overload, minutes: float, console: Console) -> list[str]:
    """Start too much for so many minutes, have it drained, and return what is wrong."""
    rate = measure(at)
    console.print(f"the worker finishes {rate:.0f} runs a second; {2 * rate:.0f} are started")
    started, first, before = 500, at.held(), at.taken()
    at.app.poisoned.start_many([()] * POISONED)
    at.app.blocked.start_many([()] * POISONED)
    begun = time.monotonic()
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("too much", total=minutes * 60)
        while (passed := time.monotonic() - begun) < minutes * 60:
            wanted = 500 + int(passed * 2 * rate)
            at.app.steps.start_many([(STEPS,)] * max(wanted - started, 0))
            started = max(wanted, started)
            at.purge()
            bar.update(task, completed=passed)
            time.sleep(1.0)
    waiting, last, ended = started - at.passed(), at.held(), at.passed() - 500
    taken = time.monotonic() - begun
    console.print(f"{started} runs started; {waiting} of them wait; {ended / taken:.0f} a second ended meanwhile")
    console.print(f"{at.purged} of those that ended were purged")
    console.print(f"worker: {first} -> {last}; {at.redis.llen('celery')} messages wait")
    with console.status("draining"):
        eventually(at.passed, lambda passed: passed == started, patience=minutes * 60 * 4 + 120)
    drained = time.monotonic() - begun - taken
    again = at.taken() - before - MESSAGES * (started - 500) - at.attempts() - 3 * POISONED
    console.print(f"drained in {drained:.0f} s; about {max(again, 0)} messages more than needed; all told: {at.held()}")
    return _verdict(at, started, again, taken + drained, (last.memory - first.memory) * 1024)


def _verdict(at: Overload, started: int, again: int, seconds: float, grown: int) -> list[str]:
    found = []
    if at.statuses("tests.load.app.steps") != Counter(completed=started - at.purged):
        found.append(f"runs of steps: {at.statuses('tests.load.app.steps')}")
    if at.statuses("tests.load.app.poisoned") != Counter(running=POISONED):
        found.append(f"poisoned runs: {at.statuses('tests.load.app.poisoned')}")
    if at.statuses("tests.load.app.blocked") != Counter(blocked=POISONED):
        found.append(f"held runs: {at.statuses('tests.load.app.blocked')}")
    if at.orphans():
        found.append(f"{at.orphans()} events of runs that are purged")
    if again > (SPARE + 1) * (seconds + 1) + POISONED * seconds / 5:
        found.append(f"{again} messages were published again in {seconds:.0f} s")
    if grown > ALLOWED * started + CACHED:
        found.append(f"the worker has grown by {grown / 1e6:.0f} MB")
    return found


@click.command()
@click.option("--minutes", default=3.0, show_default=True, help="For how long too much is started.")
def main(minutes: float) -> None:
    """Overload real workers, and have them drain it."""
    console = Console(stderr=True)
    with ExitStack() as stack:
        found = overload(Overload(stack), minutes, console)
    for each in found:
        click.echo(each)
    click.echo("something is wrong" if found else "nothing lost, nothing flooded")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
