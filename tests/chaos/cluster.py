"""The servers and the workers that faults strike."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from celeriac.stores.sql import migrate
from tests.acceptance.processes import REPOSITORY, LocalProcess
from tests.acceptance.shop import FOLDER, LEDGER
from tests.chaos.brokers import BROKERS
from tests.chaos.clocks import jump, wrong_clock
from tests.chaos.earlier import earlier_release
from tests.chaos.members import CREW, Diary, Member, Post, Span, send
from tests.servers import PostgresServer
from tests.stores.mariadb import MariaServer

LEASE: Final = 2.0
"""Seconds."""


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


class Cluster:
    """Broker, database and workers in a folder of their own; a context manager.

    :param earlier: the code of worker six, as git names it; None looks for it.
    """

    def __init__(self, store: str = "postgresql", broker: str = "redis", earlier: str | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="celeriac-chaos-"))
        self.broker = BROKERS[broker]()
        self.database: PostgresServer | MariaServer = STORES[store]()
        self.members: list[Member] = []
        self.diary = Diary()
        self.store = ""
        self.broker_down = self.database_down = False
        self.keep = False
        """Leave the folder behind."""
        self.left_out: list[str] = []
        """What this machine can't do."""
        self.earlier = ""
        self._starter = ThreadPoolExecutor(1)
        self._wanted = earlier

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

    def clock(self, member: Member) -> Path:
        """Return the file that says how wrong a worker's clock is."""
        return self.folder / f"{member.name}.clock"

    def set_clock_right(self, member: Member) -> None:
        """Let a worker have the right time again."""
        if self.clock(member).exists():
            jump(self.clock(member), 0)

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:
            self.close()
            raise
        return self

    def _begin(self) -> None:
        self.broker.start()
        self.database.start()
        self.store = self.database.create_database()
        migrate(self.store)
        self.earlier = earlier_release(self.folder / "earlier", self.environment, self._wanted)
        if not self.earlier:
            self.left_out.append("a worker with earlier code: the history has none that works with these tables")
        for post in CREW:
            self.members.append(Member(post, self._launch(post)))

    def _launch(self, post: Post) -> LocalProcess:
        options = ["-n", f"{post.name}@chaos", "-P", post.pool, "-c", str(post.concurrency), "-Q", post.queues]
        quiet = ["-l", "INFO", "--without-mingle", "--without-gossip", "--without-heartbeat"]
        argv = [sys.executable, "-m", "celery", "-A", "tests.chaos.shop", "worker", *options, *quiet]
        code = self.folder / "earlier" if post.earlier and self.earlier else REPOSITORY
        environment = {**self.environment, "PYTHONPATH": str(code), "CHAOS_SOFT": str(post.soft)}
        if post.clock:
            lies = wrong_clock(self.folder / f"{post.name}.clock")
            if lies is None:
                self.left_out.append("clocks that jump: there is no C compiler (apt install gcc libc6-dev)")
            environment |= lies or {}
        return LocalProcess(post.name, argv, environment, self.folder, post.name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.keep = self.keep or error is not None
        self.close()

    def close(self) -> None:
        """End everything, and remove what nobody wants to see."""
        self._starter.shutdown()
        for member in self.members:
            member.process.remove()
        self.broker.remove()
        self.database.remove()
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def supervise(self) -> list[str]:
        """Start again who has ended without a fault that sees to it, and return who, and how it ended."""
        ended = [each for each in self.members if not each.up and not each.busy]
        told = [f"{each.name} ({each.pool}), exit code {each.process.exit_code}" for each in ended]
        for member in ended:
            # What kills the process that it runs in kills all of a worker without processes of its own.
            self.keep = self.keep or member.process.exit_code != -signal.SIGKILL
            self.revive(member)
        return told

    def revive(self, member: Member) -> None:
        """Start a worker again."""
        member.begin_anew()

    # -- faults of servers -----------------------------------------------------------------------------------------------

    def crash_broker(self) -> None:
        """Stop the broker by SIGKILL."""
        self.broker_down = True
        self.broker.crash()

    def start_broker(self, *, empty: bool) -> Future[None]:
        """Begin to start it again, with or without what it held. RabbitMQ takes its time; other faults must not wait for that."""
        return self._starter.submit(self._start_broker, empty=empty)

    def _start_broker(self, *, empty: bool) -> None:
        if empty:
            self.broker.forget()
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
            send(pid, signal.SIGSTOP)
        return at

    def resume(self, pids: list[int], since: float) -> None:
        """Let them go on."""
        for pid in pids:
            send(pid, signal.SIGCONT)
        self.diary.stops.append(Span(since, time.monotonic(), frozenset(pids)))
