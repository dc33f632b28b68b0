"""A process's connections to one store: opened when needed, kept, looked at before each use, never carried
over a fork.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Final

from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool, PoolProxiedConnection

from celeriac.errors import StoreUnavailable
from celeriac.stores.sql import forks
from celeriac.stores.sql.drivers import Driver

_BEFORE_A_FORK: Final = 6.0
"""Seconds that a fork waits for the transactions of other threads: longer than one may wait for a lock."""
_PATIENCE: Final = 30.0
"""Seconds that a thread waits for a connection which others use."""


class Connections:
    """Hands connections out, one thread each.

    An engine of our own has no pool: its few connections are kept here, which takes a tenth of the time.
    Those of an engine that the application shares with us come from its pool and go back there after each
    use.

    A thread that takes one while it has one is in the handler of a signal, which struck while the other was at work: Celery's
    solo pool runs tasks in the handler of a cold shutdown. It would wait for itself, so that it gets one beyond the limit.

    :param size: how many connections of our own engine there may be.
    """

    def __init__(self, engine: Engine, driver: Driver, size: int) -> None:
        self.engine = engine
        self._driver = driver
        self._keeps = isinstance(engine.pool, NullPool)
        self._size = size
        self._begin_anew()
        forks.guard(self)

    def _begin_anew(self) -> None:
        self._held = 0
        self._of_thread = _OfThread()
        self._beyond: set[int] = set()
        self._idle: list[PoolProxiedConnection] = []
        self._room = threading.Semaphore(self._size)

    def take(self) -> PoolProxiedConnection:
        """Return a connection that is alive as far as can be told without asking the server.

        :raises StoreUnavailable: all are in use, for too long.
        :raises Exception: whatever the driver says when it can't connect.
        """
        if not self._keeps:
            return self._take_pooled()
        own = self._of_thread
        own.taken += 1
        try:
            if own.taken <= 1:  # less after a fork that struck while its thread had one
                return self._take_kept()
            pooled = self.engine.raw_connection()
            self._beyond.add(id(pooled))
        except BaseException:
            own.taken -= 1
            raise
        return pooled

    def _take_kept(self) -> PoolProxiedConnection:
        if not self._room.acquire(timeout=_PATIENCE):
            raise StoreUnavailable(f"all {self._size} connections to the store were in use for {_PATIENCE:g} s")
        try:
            while self._idle:
                pooled = self._idle.pop()
                if self._driver.alive(pooled.dbapi_connection):
                    return pooled
                _discard(pooled)
            return self.engine.raw_connection()
        except BaseException:
            self._room.release()
            raise

    def _take_pooled(self) -> PoolProxiedConnection:
        # As many dead ones as a pool may hold, after a restart of the server; a pool that has none left opens
        # one.
        while True:
            pooled = self.engine.raw_connection()
            if self._driver.alive(pooled.dbapi_connection):
                return pooled
            _discard(pooled)

    def give(self, pooled: PoolProxiedConnection) -> None:
        """Take a connection back that is fit for further use."""
        if not self._keeps:
            pooled.close()
        elif not self._was_beyond(pooled):
            self._idle.append(pooled)
            self._room.release()

    def drop(self, pooled: PoolProxiedConnection) -> None:
        """Take a connection back that nobody should use any more."""
        if not self._keeps:
            _discard(pooled)
        elif not self._was_beyond(pooled):
            _discard(pooled)
            self._room.release()

    def _was_beyond(self, pooled: PoolProxiedConnection) -> bool:
        """Note that a connection is taken back; close it if there was no room for it."""
        self._of_thread.taken -= 1
        if id(pooled) not in self._beyond:
            return False
        self._beyond.remove(id(pooled))
        _discard(pooled)
        return True

    def close(self) -> None:
        """Close what is idle. A connection that is needed afterwards is opened anew."""
        while self._idle:
            _discard(self._idle.pop())
        self.engine.dispose()

    def pause(self) -> None:
        """Have no SQLite connection open while the process forks: waits for transactions of other threads.

        SQLite keeps the locks of a process in its memory, by file. A child that inherits them takes what its parent had
        locked at that moment for locked for ever, and takes no lock of its own on what its parent has open.
        """
        if not (self._driver.in_process and self._keeps):
            return
        deadline = time.monotonic() + _BEFORE_A_FORK
        for _ in range(self._size):
            if not self._room.acquire(timeout=max(deadline - time.monotonic(), 0.0)):
                return
            self._held += 1
        while self._idle:
            _discard(self._idle.pop())

    def resume(self) -> None:
        """Let the others go on."""
        while self._held:
            self._held -= 1
            self._room.release()

    def forget(self) -> Any:
        """Begin with none, in a child process; returns those of the parent."""
        old = (self._idle, self._room, self.engine.pool)
        self._begin_anew()
        self.engine.dispose(close=False)
        return old


class _OfThread(threading.local):
    taken = 0
    """How many connections this thread has taken and not given back."""


def _discard(pooled: PoolProxiedConnection) -> None:
    try:
        pooled.invalidate()
    finally:
        pooled.close()
