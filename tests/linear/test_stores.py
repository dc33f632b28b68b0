"""The SQL stores are linearizable, run by run, also where answers are lost: threads of two processes at each of them.

Longer: ``python -m tests.linear --store postgresql --seconds 600``.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path

import pytest
from sqlalchemy import make_url

from celeriac.stores.sql import migrate
from tests.linear.session import Findings, processes_for, session
from tests.servers import PostgresServer
from tests.stores.mariadb import MariaServer
from tests.stores.proxy import Proxy


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        made = f"sqlite:///{tmp_path / 'store.db'}"
        migrate(made)
        yield made
        return
    server: PostgresServer | MariaServer = request.getfixturevalue(
        "postgres_server" if request.param == "postgresql" else "mariadb_server"
    )
    made = server.create_database()
    migrate(made)
    yield made
    server.drop_database(made)


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with processes_for(2) as pool:
        yield pool


@pytest.fixture
def proxy(url: str) -> Iterator[Proxy]:
    port = make_url(url).port
    assert port is not None
    with Proxy(port) as proxy:
        yield proxy


def judge(findings: Findings) -> None:
    assert findings.wrong == []
    assert findings.histories == 3
    assert findings.calls > 140


@pytest.mark.parametrize("url", ["sqlite", "postgresql", "mariadb"], indirect=True)
def test_what_clients_and_workers_see(url: str, pool: Executor) -> None:
    findings = session(url, 1, workflows=3, each=12, pool=pool)
    judge(findings)
    assert findings.unknown == 0


@pytest.mark.parametrize("url", ["postgresql", "mariadb"], indirect=True)
def test_what_they_see_when_answers_are_lost(url: str, proxy: Proxy, pool: Executor) -> None:
    through = make_url(url).set(port=proxy.port).render_as_string(hide_password=False)
    findings = session(through, 2, workflows=3, each=12, pool=pool, proxy=proxy)
    judge(findings)
    assert findings.unknown > 0


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_what_they_see_on_the_portable_path(url: str, pool: Executor) -> None:
    judge(session(url, 3, fast_path=False, workflows=3, each=12, pool=pool))
