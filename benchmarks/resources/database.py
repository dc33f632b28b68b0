"""What a database was asked for: statements and transactions, counted by the database itself."""

from __future__ import annotations

from typing import Protocol

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.engine import URL, Engine
from sqlalchemy.pool import StaticPool

Counts = dict[str, float]


class Counter(Protocol):
    """Counts from somewhere, as they stand now."""

    def read(self) -> Counts:
        """Return the counts so far."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class PostgresCounter:
    """Statements of one database from ``pg_stat_statements``, exact at once; writing transactions from the cluster's counter.

    ``pg_stat_database`` is not asked, because each connection reports to it a second late. A statement is what a client
    sends, ``BEGIN`` and ``COMMIT`` included; several may share a round trip.

    :param url: of the database that is looked at. The counter connects to ``postgres``, so that it does not count itself.
    """

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self._database = parsed.database
        self._engine = create_engine(
            parsed.set(database="postgres"), poolclass=StaticPool, isolation_level="AUTOCOMMIT"
        )
        self._counts_statements = bool(
            self._scalar("SELECT count(*) FROM pg_extension WHERE extname = 'pg_stat_statements'")
        )

    def read(self) -> Counts:
        """Return ``statements`` of the database, ``writing_transactions`` and ``wal_bytes`` of the cluster."""
        counts = {
            "writing_transactions": self._scalar("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"),
            "wal_bytes": self._scalar("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"),
        }
        if self._counts_statements:
            counts["statements"] = self._scalar(
                "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid"
                " WHERE datname = :name",
                name=self._database,
            )
        return counts

    def count(self, *, on: bool) -> None:
        """Have the server count statements, or not, where it can."""
        if self._counts_statements:
            count_statements(self._engine.url, on=on)

    def _scalar(self, statement: str, **values: object) -> float:
        return _scalar(self._engine, statement, values)

    def close(self) -> None:
        """Close the connection."""
        self._engine.dispose()


class MariaCounter:
    """``Questions`` and handlers' commits of a whole MariaDB server."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(make_url(url).set(database=""), poolclass=StaticPool, isolation_level="AUTOCOMMIT")
        self._own = 0

    def read(self) -> Counts:
        """Return ``statements`` and ``writing_transactions`` of the server."""
        with self._engine.connect() as connection:
            rows = connection.execute(text("SHOW GLOBAL STATUS WHERE Variable_name IN ('Questions', 'Com_commit')"))
            found = {name: float(value) for name, value in rows}
        self._own += 1
        return {"statements": found["Questions"] - self._own, "commits": found["Com_commit"]}

    def close(self) -> None:
        """Close the connection."""
        self._engine.dispose()


def count_statements(url: URL | str, *, on: bool) -> None:
    """Have a PostgreSQL server with ``pg_stat_statements`` count, or not; while it does not, the extension costs nothing.

    Connections take it up before their next statement.
    """
    engine = create_engine(url, poolclass=StaticPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"ALTER SYSTEM SET pg_stat_statements.track = '{'top' if on else 'none'}'"))
        connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()


def counter_for(url: str | None) -> PostgresCounter | MariaCounter | None:
    """Return a counter for the database at this URL; None where the database runs within its clients, as SQLite does."""
    if url is None or url.startswith("sqlite"):
        return None
    return PostgresCounter(url) if url.startswith("postgresql") else MariaCounter(url)


def _scalar(engine: Engine, statement: str, values: dict[str, object]) -> float:
    with engine.connect() as connection:
        return float(connection.execute(text(statement), values).scalar_one())
