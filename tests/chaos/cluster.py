"""The servers and the workers that faults strike."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import redis
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from celeriac.embedded import EmbeddedRedis
from celeriac.stores.sql import migrate
from tests.acceptance.processes import REPOSITORY, LocalProcess
from tests.acceptance.shop import FOLDER, LEDGER
from tests.servers import PostgresServer
from tests.stores.mariadb import MariaServer

LEASE: Final = 2.0
"""Seconds."""
QUEUES: Final = "celery,steps"
CREW: Final = (
    ("one", "prefork", 2, QUEUES),
    ("two", "prefork", 2, "steps"),
    ("three", "threads", 4, QUEUES),
    ("four", "prefork", 2, QUEUES),
)
"""Name, pool, concurrency and queues of each worker."""


STORES: Final[dict[str, Callable[[], PostgresServer | MariaServer]]] = {
    "postgresql": PostgresServer,
    "mariadb": MariaServer,
}
_POSTGRES: Final = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
_MARIADB: Final = "SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()"
_CUTTING: Final = {
    "postgresql": (f"{_POSTGRES} AND random() < :share", "SELECT pg_terminate_backend({})"),
    "mariadb": (f"{_MARIADB} AND rand() < :share", "KILL {}"),
}
"""How each database lists its connections, and how it ends one."""


@dataclass(frozen=True, slots=True)
class Span:
    """A time during which something was the matter, by the monotonic clock."""

    begun: float
    ended: float
    pids: frozenset[int] = frozenset()

    def meets(self, begun: float, ended: float) -> bool:
        """Whether the two have a moment in common."""
        return self.begun <= ended and begun <= self.ended


@dataclass
class Member:
    """A worker, which is started again whenever it has ended."""

    name: str
    pool: str
    process: LocalProcess
    busy: bool = False
    """A fault has not been made good yet."""
    deaths: int = 0

    @property
    def up(self) -> bool:
        """Whether it runs."""
        return self.process.status == "running"

    def pids(self) -> list[int]:
        """Return its processes, the first one first."""
        return sorted(_group(self.process.pid), key=lambda pid: pid != self.process.pid)

    def children(self) -> list[int]:
        """Return the processes of its pool."""
        return self.pids()[1:] if self.pool == "prefork" else []


@dataclass
class Diary:
    """When what was the matter, as far as the verdict has to know."""

    stops: list[Span] = field(default_factory=list)
    outages: list[Span] = field(default_factory=list)
    """Of the database, crashes all of them."""


class Cluster:
    """Broker, database and workers in a folder of their own; a context manager."""

    def __init__(self, store: str = "postgresql") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="celeriac-chaos-"))
        self.broker = EmbeddedRedis()
        self.database: PostgresServer | MariaServer = STORES[store]()
        self.members: list[Member] = []
        self.diary = Diary()
        self.store = ""
        self.broker_down = self.database_down = False
        self.keep = False
        """Leave the folder behind."""

    @property
    def environment(self) -> dict[str, str]:
        """What workers and clients find in their environment."""
        return {
            "CHAOS_BROKER": self.broker.url,
            "CELERIAC_STORE": self.store,
            "CELERIAC_LEASE": str(LEASE),
            "CELERIAC_REPUBLISH_AFTER": "2",
            "CELERIAC_REPUBLISH_MAX": "8",
            FOLDER: str(self.folder),
        }

    @property
    def ledger(self) -> Path:
        """The file that activities write to."""
        return self.folder / LEDGER

    def __enter__(self) -> Self:
        self.broker.start()
        self.database.start()
        self.store = self.database.create_database()
        migrate(self.store)
        for name, pool, concurrency, queues in CREW:
            options = ["-n", f"{name}@chaos", "-P", pool, "-c", str(concurrency), "-Q", queues, "-l", "INFO"]
            quiet = ["--without-mingle", "--without-gossip", "--without-heartbeat"]
            argv = [sys.executable, "-m", "celery", "-A", "tests.chaos.shop", "worker", *options, *quiet]
            environment = {**self.environment, "PYTHONPATH": str(REPOSITORY)}
            process = LocalProcess(name, argv, environment, self.folder, name)
            self.members.append(Member(name, pool, process))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in self.members:
            member.process.remove()
        self.broker.stop()
        self.database.remove()
        if error is None and not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def supervise(self) -> None:
        """Start again who has ended without a fault that sees to it."""
        for member in self.members:
            if not member.up and not member.busy:
                self.revive(member)

    def revive(self, member: Member) -> None:
        """Start a worker again."""
        member.deaths += 1
        member.busy = False
        member.process.start()

    # -- faults of servers -----------------------------------------------------------------------------------------------

    def flush_broker(self) -> None:
        """Empty the broker."""
        with redis.Redis.from_url(self.broker.url) as client:
            client.flushall()

    def stop_broker(self) -> None:
        """Stop the broker, which keeps nothing."""
        self.broker_down = True
        self.broker.stop()

    def start_broker(self) -> None:
        """Start it, empty."""
        self.broker.start()
        self.broker_down = False

    def crash_database(self) -> None:
        """Stop the database without a shutdown checkpoint."""
        self.database_down = True
        self._down_since = time.monotonic()
        self.database.stop(crash=True)

    def start_database(self) -> None:
        """Start it; it recovers."""
        self.database.start()
        self.diary.outages.append(Span(self._down_since, time.monotonic()))
        self.database_down = False

    def cut_connections(self, share: float) -> None:
        """End some of the connections to the store, on the server's side."""
        engine = create_engine(self.store, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        listed, end = _CUTTING[engine.dialect.name]
        with engine.connect() as connection:
            for (pid,) in connection.execute(text(listed), {"share": share}).all():
                with suppress(DBAPIError):  # it may have gone by itself
                    connection.execute(text(end.format(pid)))

    # -- faults of workers -----------------------------------------------------------------------------------------------

    def stop(self, pids: list[int]) -> float:
        """Stop processes where they are, and return when that was."""
        at = time.monotonic()
        for pid in pids:
            _send(pid, signal.SIGSTOP)
        return at

    def resume(self, pids: list[int], since: float) -> None:
        """Let them go on."""
        for pid in pids:
            _send(pid, signal.SIGCONT)
        self.diary.stops.append(Span(since, time.monotonic(), frozenset(pids)))


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _group(leader: int) -> list[int]:
    """Return the processes of a group, from /proc."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            with suppress(OSError, ValueError):
                fields = (each / "stat").read_text().rpartition(")")[2].split()
                if int(fields[2]) == leader and fields[0] != "Z":
                    found.append(int(each.name))
    return found
