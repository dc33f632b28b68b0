"""Everything that a test of the whole product acts on: store, broker, workers, holds, and the ledger of what was done."""

from __future__ import annotations

import functools
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import pytest
import redis
from pytest_celery import CeleryTestWorker
from sqlalchemy import func, select

from celeriac.embedded import EmbeddedRedis
from celeriac.errors import StoreUnavailable
from celeriac.orchestrator.model import Run, RunFilter
from celeriac.orchestrator.status import OPEN
from celeriac.stores.sql import SqlStore
from tests.acceptance.processes import LocalProcess, LocalWorker
from tests.acceptance.shop import ARRIVALS, FOLDER, LEDGER, WARES, Shop
from tests.acceptance.stories import Story, story

T = TypeVar("T")
Measured = Callable[[str, float], None]
"""Notes a number under a name, for the report at the end."""

PATIENCE: Final = 40.0
"""Seconds that a fact may be waited for; for a loaded machine, not a measure of anything."""
LOOK: Final = 0.02
"""Seconds between two looks."""
QUEUE: Final = "celery"


def until(what: str, look: Callable[[], T], within: float = PATIENCE, look_every: float = LOOK) -> T:
    """Look until there is something, and return it; a store that is away for a moment has nothing."""
    deadline = time.monotonic() + within
    while True:
        try:
            found = look()
        except (StoreUnavailable, redis.ConnectionError):
            pass
        else:
            if found:
                return found
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within:g} s: {what}")
        time.sleep(look_every)


def slack() -> float:
    """Return how many seconds late things may be where time is what matters: 1.5, and more on an overloaded machine."""
    return 1.5 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


@dataclass(frozen=True)
class Entry:
    """A line of the ledger, or of the arrivals."""

    pid: int
    at: float
    """Seconds by the machine's monotonic clock."""
    what: str = ""
    run: str = ""
    activity: str = ""
    attempt: int = 0
    point: str = ""


class Stage:
    """One test's store, broker, folder and workers.

    :param shop: the app, as a client has it.
    :param env: the environment of workers.
    :param content: the files of workers.
    """

    def __init__(
        self,
        shop: Shop,
        server: EmbeddedRedis,
        folder: Path,
        env: Mapping[str, str],
        content: Mapping[str, bytes],
    ) -> None:
        self.shop = shop
        self.server = server
        self.redis: redis.Redis = redis.Redis.from_url(server.url)
        self.folder = folder
        self.workers: list[CeleryTestWorker] = []
        self._env = {**env, FOLDER: str(folder)}
        self._content = content

    @property
    def lease(self) -> float:
        """How long a claim holds, in seconds."""
        return self.shop.durable.settings.lease.total_seconds()

    @property
    def republish_after(self) -> float:
        """After how many seconds a lost message is made up for."""
        return self.shop.durable.settings.republish_after.total_seconds()

    @property
    def store(self) -> SqlStore:
        """The store, as the client has it."""
        found = self.shop.durable.runtime.store
        assert isinstance(found, SqlStore)
        return found

    # -- workers -------------------------------------------------------------------------------------------------------

    def launch(
        self,
        *,
        concurrency: int = 2,
        queues: str = QUEUE,
        wares: Sequence[str] = (),
        release: Path | None = None,
        **settings: Any,
    ) -> CeleryTestWorker:
        """Start a worker and return at once.

        :param wares: the workflows that it has; all of them unless given.
        :param release: a folder with the code of another release of celeriac.
        :param settings: settings of celeriac that it has from its environment.
        """
        argv = LocalWorker.command(f"--concurrency={concurrency}", "--without-mingle", "--without-gossip")
        argv[argv.index("-Q") + 1] = queues
        env = {**self._env, **({WARES: ",".join(wares)} if wares else {})}
        env |= {"PYTHONPATH": str(release)} if release else {}
        env |= {f"CELERIAC_{name.upper()}": str(value) for name, value in settings.items()}
        container = LocalWorker.launch(f"worker{len(self.workers) + 1}", argv, env, self._content)
        worker = CeleryTestWorker(container, self.shop.app)
        self.workers.append(worker)
        return worker

    def open(self, *workers: CeleryTestWorker) -> None:
        """Wait until workers take messages, and their relays work."""
        for worker in workers:
            until(f"{worker.name()} is ready", functools.partial(_ready, worker))

    def worker(self, **options: Any) -> CeleryTestWorker:
        """Start a worker and wait until it takes messages; see :meth:`launch`."""
        worker = self.launch(**options)
        self.open(worker)
        return worker

    def two(self, **options: Any) -> tuple[CeleryTestWorker, CeleryTestWorker]:
        """Start two workers and wait until both take messages."""
        first, second = self.launch(**options), self.launch(**options)
        self.open(first, second)
        return first, second

    def listening(self, count: int) -> None:
        """Wait until so many workers listen to signals."""
        channel = "celeriac:shop:signals"
        until(f"{count} workers listen", lambda: self.redis.pubsub_numsub(channel)[0][1] == count)

    def worker_of(self, pid: int) -> CeleryTestWorker:
        """Return the worker that a process belongs to."""
        group = os.getpgid(pid)
        return next(each for each in self.workers if process(each).pid == group)

    def strike(self, worker: CeleryTestWorker) -> float:
        """Kill a worker and all its processes, and return when that was."""
        at = time.monotonic()
        worker.kill()
        return at

    # -- holds ---------------------------------------------------------------------------------------------------------

    def hold(self, *points: str) -> None:
        """Have whoever comes to these points wait there."""
        for point in points:
            (self.folder / f"hold {point}").touch()

    def release(self, *points: str) -> None:
        """Let those who wait go on."""
        for point in points:
            (self.folder / f"hold {point}").unlink()

    def reached(self, point: str, count: int = 1) -> Entry:
        """Wait until somebody has come to a point, ``count`` times so far, and return who came last."""
        arrived = lambda: [each for each in self._read(ARRIVALS) if each.point == point]  # noqa: E731
        return until(f"{point!r} is reached {count} times", lambda: arrived()[count - 1 :])[-1]

    # -- what was done ---------------------------------------------------------------------------------------------------

    def ledger(self, run: str | None = None) -> list[Entry]:
        """Return what activities have done, in order: of one run, or all of it."""
        return [each for each in self._read(LEDGER) if run in {None, each.run}]

    def _read(self, book: str) -> list[Entry]:
        path = self.folder / book
        if not path.exists():
            return []
        return [Entry(**json.loads(line)) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def times_done(self, result: Any) -> list[int]:
        """Return how often each activity of a run has had its effect, in order of the activities."""
        counts = Counter(each.activity for each in self.ledger(result.run_id) if each.what == "done")
        return [counts[each] for each in sorted(counts, key=lambda name: int(name.rpartition("-")[2]))]

    def one_at_a_time(self, dead: Mapping[int, float] | None = None) -> None:
        """Check that no activity was ever run twice at once.

        :param dead: processes that were killed or stopped, and when: from then on they do nothing.
        """
        under_way: dict[str, Entry] = {}
        for entry in self.ledger():
            holder = under_way.get(entry.activity)
            if entry.what == "begun":
                assert holder is None or (dead or {}).get(holder.pid, entry.at) < entry.at, (holder, entry)
                under_way[entry.activity] = entry
            elif entry.what == "left" and holder is not None and holder.pid == entry.pid:
                del under_way[entry.activity]

    # -- what was recorded -----------------------------------------------------------------------------------------------

    def run(self, result: Any) -> Run:
        """Return the run's row."""
        found = self.store.find_run("shop", run_id=result.run_id)
        assert found is not None
        return found

    def story(self, result: Any) -> Story:
        """Return the run's history as it can be compared."""
        return story(self.store.history(result.run_id))

    def count(self, table: str) -> int:
        """Return how many rows a table has."""
        rows = select(func.count()).select_from(getattr(self.store.db.tables, table))
        with self.store.db.engine.connect() as connection:
            return int(connection.scalar(rows) or 0)

    def open_runs(self) -> int:
        """Return how many runs have not closed."""
        runs = self.store.db.tables.runs
        with self.store.db.engine.connect() as connection:
            return int(connection.scalar(select(func.count()).where(runs.c.open_id.is_not(None))) or 0)

    def at_rest(self) -> None:
        """Wait until nothing is left to be done: no task, no inbox row, no message."""
        until("no task rows are left", lambda: self.count("tasks") == 0)
        assert self.count("inbox") == 0
        until("no messages are left", lambda: self.messages() == {})

    def messages(self, *queues: str) -> dict[str, int]:
        """Return the messages that the broker holds, waiting or not acknowledged, where there are any."""
        found = {name: self.redis.llen(name) for name in (queues or (QUEUE,))}
        found["unacked"] = self.redis.hlen("unacked")
        return {name: int(count) for name, count in found.items() if count}

    def redeliver(self) -> None:
        """Have the broker deliver again what dead workers had taken, as it would after its visibility timeout."""
        with self.shop.app.connection_for_read() as connection, connection.channel() as channel:
            for tag in self.redis.hkeys("unacked"):
                channel.qos.restore_by_tag(tag.decode())

    def results(self, results: Iterable[Any], expected: Any) -> None:
        """Check results in both ways of asking for them."""
        for result in results:
            assert result.handle.result(timeout=PATIENCE) == expected
            assert result.get(timeout=PATIENCE) == expected

    # -- life ----------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End all workers, whatever state they are in, and let go of connections."""
        for worker in self.workers:
            worker.teardown()
        self.redis.close()
        self.shop.durable.close()
        self.shop.app.close()

    def state(self) -> str:
        """Return what is known of runs that have not closed, for whoever looks into a failure."""
        lines = [f"now {self.store.now()}, messages {self.messages()}"]
        for run in self.store.list("shop", RunFilter(statuses=tuple(OPEN), limit=10)):
            lines += [str(run), *map(str, self.store.tasks(run.run_id)), *map(str, self.store.history(run.run_id))]
        return "\n".join(lines)

    def logs(self) -> str:
        """Return what the workers have printed."""
        return "\n".join(f"--- {each.name()}\n{each.logs()}" for each in self.workers)


def process(worker: CeleryTestWorker) -> LocalProcess:
    """Return a worker's process."""
    found: LocalProcess = worker.container.process
    return found


def _ready(worker: CeleryTestWorker) -> bool:
    log = worker.logs()
    return " ready." in log and "store ready" in log


def never(what: str) -> NoReturn:
    """Say that what must not happen has."""
    pytest.fail(what)
