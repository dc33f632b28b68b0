"""Promises kept in an SQL database: PostgreSQL, MariaDB, MySQL, SQLite."""

from celeriac.stores.sql.migrations import current, migrate
from celeriac.stores.sql.schema import include_object
from celeriac.stores.sql.store import SqlStore

__all__ = ["SqlStore", "current", "include_object", "migrate"]
