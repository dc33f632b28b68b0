"""The servers of one benchmark: a Redis, a PostgreSQL with fsync, a MariaDB, a folder for SQLite. Each starts when first asked for."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import redis
from sqlalchemy import create_engine, text

from benchmarks.resources.database import count_statements
from celeriac.embedded import EmbeddedRedis
from tests.servers import PostgresServer, find_postgres
from tests.stores.mariadb import MariaServer

STORES: Final = ("postgresql", "sqlite", "mariadb")
_DATABASES: Final = 16  # of a Redis server, by default
_POSTGRES: Final = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
_MARIADB: Final = ("version", "innodb_flush_log_at_trx_commit", "sync_binlog", "innodb_buffer_pool_size")
"""What is said of a server: what durability rests on."""


@dataclass(frozen=True)
class Place:
    """A database of one's own: where it is and which process serves it.

    :param pid: None where there is none, as with SQLite.
    """

    url: str
    pid: int | None


class Servers:
    """Servers shared by all peers of a run, each peer with databases of its own; a context manager."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._free = [*range(_DATABASES)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @cached_property
    def folder(self) -> Path:
        """A folder for files and logs, gone at the end."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="celeriac-bench-")))

    @cached_property
    def _redis(self) -> EmbeddedRedis:
        return self._stack.enter_context(EmbeddedRedis())

    @cached_property
    def _postgres(self) -> PostgresServer:
        counting = _counting()
        server = self._stack.enter_context(PostgresServer(settings=counting))
        if counting:
            count_statements(server.url, on=False)
            _run(server.url, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        return server

    @cached_property
    def _maria(self) -> MariaServer:
        return self._stack.enter_context(MariaServer())

    def broker(self) -> Place:
        """Return an empty Redis database that nobody has; :meth:`release` gives it back.

        :raises RuntimeError: all sixteen are taken.
        """
        if not self._free:
            raise RuntimeError(f"the Redis server has {_DATABASES} databases, and all are taken")
        return Place(f"{self._redis.url.rpartition('/')[0]}/{self._free.pop(0)}", self._redis.pid)

    def release(self, broker: Place) -> None:
        """Empty a Redis database that is no longer needed, and have it for others."""
        with redis.Redis.from_url(broker.url) as client:
            client.flushdb()
        self._free.append(int(broker.url.rpartition("/")[2]))

    def database(self, kind: str) -> Place:
        """Return an empty database of this kind, one of :data:`STORES`."""
        if kind == "postgresql":
            return Place(self._postgres.create_database(), self._postgres.pid)
        if kind == "mariadb":
            return Place(self._maria.create_database(), self._maria.pid)
        file = Path(tempfile.mkdtemp(dir=self.folder), "bench.db")
        return Place(f"sqlite:///{file}", None)

    def said(self) -> dict[str, str]:
        """Return how the servers that run are configured, in a line each."""
        said: dict[str, str] = {}
        if "_redis" in self.__dict__:
            said["Redis"] = "a server for all peers, a database each; no snapshots, no append-only file"
        if "_postgres" in self.__dict__:
            shown = ", ".join(f"{name} {_run(self._postgres.url, f'SHOW {name}')}" for name in _POSTGRES)
            said["PostgreSQL"] = f"a server for all peers, a database each; {shown}"
        if "_maria" in self.__dict__:
            url = f"mariadb+pymysql://root@127.0.0.1:{self._maria.port}/"
            said["MariaDB"] = ", ".join(f"{name} {_run(url, f'SELECT @@{name}')}" for name in _MARIADB)
        return said


def _counting() -> dict[str, str]:
    """Return the settings that let PostgreSQL count statements when asked to, where its extension is installed."""
    programs = find_postgres()
    if programs is None or not any(programs.parent.glob("lib/**/pg_stat_statements.*")):
        return {}
    return {"shared_preload_libraries": "pg_stat_statements"}


def _run(url: str, statement: str) -> Any:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            result = connection.execute(text(statement))
            return result.scalar_one() if result.returns_rows else None
    finally:
        engine.dispose()
