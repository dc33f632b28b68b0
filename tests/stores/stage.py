"""A stage for two or three calls that wait for the same row: who waits first is decided here, not by luck."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, ClassVar, Self

from sqlalchemy import text
from sqlalchemy.engine import Connection, Engine

_LIMIT = 20.0  # seconds
# Seconds between two looks. InnoDB's table of transactions is renewed only when nobody has looked for 0.1 s.
_POLL = {"sqlite": 0.005, "postgresql": 0.005, "mysql": 0.11, "mariadb": 0.11}

_WAITING = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    "mysql": "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
    "mariadb": "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
}


class Stage:
    """Holds a row's lock while calls line up behind it, in the order in which they were sent there.

    :param engine: an engine of the test's own, to hold the lock and to watch.
    :param hold: the statement that takes the lock; what it changes is committed at the end.
    """

    waiting_in_process: ClassVar[Callable[[], int]] = staticmethod(lambda: 0)
    """Counts the calls that wait for SQLite's one lock, of which nobody but those calls knows."""

    def __init__(self, engine: Engine, hold: str, **values: Any) -> None:
        self._engine = engine
        self._hold = text(hold)
        self._values = values
        self._threads = ThreadPoolExecutor(8)
        self._sent: list[Future[Any]] = []

    def __enter__(self) -> Self:
        self._holder: Connection = self._engine.connect()
        if self._engine.dialect.name == "sqlite":
            self._holder.exec_driver_sql("BEGIN IMMEDIATE")
        if "FOR UPDATE" not in self._hold.text or self._engine.dialect.name != "sqlite":
            self._holder.execute(self._hold, self._values)
        self._watcher = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._holder.close()
        self._watcher.close()
        self._threads.shutdown()

    def send(self, call: Callable[[], Any]) -> None:
        """Make a call in a thread and return when it waits for the lock."""
        self._sent.append(self._threads.submit(call))
        give_up = time.monotonic() + _LIMIT
        while True:
            time.sleep(_POLL[self._engine.dialect.name])  # the first time too: what is told may be older than the call
            if self._waiting() >= len(self._sent):
                return
            if self._sent[-1].done():
                raise AssertionError(f"the call did not wait: {self._sent[-1].result()!r}")
            if time.monotonic() > give_up:
                raise TimeoutError("the call neither waits nor ends")

    def _waiting(self) -> int:
        if self._engine.dialect.name == "sqlite":
            return Stage.waiting_in_process()
        return int(self._watcher.scalar(text(_WAITING[self._engine.dialect.name])) or 0)

    def lift(self) -> list[Any]:
        """Let go of the lock and return what the calls returned, in the order in which they were sent."""
        self._holder.commit()
        return [future.result(_LIMIT) for future in self._sent]
