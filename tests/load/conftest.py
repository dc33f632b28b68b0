"""Stores of these tests: each on its own database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from celeriac.stores.sql import SqlStore
from celeriac.stores.sql.migrations import migrate
from tests.stores.mariadb import MariaServer


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlStore]:
    """An empty store on each database."""
    server: MariaServer | None = None
    if request.param == "mariadb":
        server = request.getfixturevalue("mariadb_server")
        url = server.create_database()
    else:
        url = f"sqlite:///{tmp_path}/flows.db" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    migrate(url)
    store = SqlStore(url)
    yield store
    store.close()
    if server is not None:
        server.drop_database(url)
