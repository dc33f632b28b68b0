"""Tables that are a version ahead, and how they get there while others go on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

from celeriac.errors import SchemaMismatch
from celeriac.stores.sql import SqlStore, current, migrate
from celeriac.stores.sql.versioning import HEAD
from celeriac.testing.contract.world import World, wait_until_passed
from tests.releases import LATER, later, python
from tests.servers import PostgresServer
from tests.stores.mariadb import MariaServer

MIGRATE = """
import sys, time
from celeriac.stores.sql import migrate
from celeriac.stores.sql.migrations import locking
sleep = time.sleep
locking.time.sleep = lambda pause: (pause != locking._LOOK and print("gave way", flush=True), sleep(pause))
print(migrate(sys.argv[1]), flush=True)
"""
"""Says so whenever it gives way."""


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return later(tmp_path / "later")


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/store.db"
        return
    fixture = {"postgresql": "postgres_server", "mariadb": "mariadb_server"}[request.param]
    server: PostgresServer | MariaServer = request.getfixturevalue(fixture)
    server.start()
    url = server.create_database()
    yield url
    server.drop_database(url)


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = create_engine(url)
    yield engine
    engine.dispose()


def has_what_came_later(engine: Engine) -> bool:
    found = inspect(engine)
    columns = [{each["name"] for each in found.get_columns(f"celeriac_{table}")} for table in ("runs", "tasks")]
    return all("later" in each for each in columns) and all(
        found.has_index(f"celeriac_{table}", f"celeriac_{table}_later") for table in ("runs", "tasks")
    )


def test_a_later_version_of_the_tables_is_worked_with(
    release: Path, url: str, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    migrate(url)
    assert python(release, MIGRATE, url).communicate(timeout=60) == (f"{LATER}\n", "")
    assert has_what_came_later(engine)

    store = SqlStore(url)
    with caplog.at_level("INFO", "celeriac.store"):
        store.check()
    assert caplog.messages == [
        f"the store's tables are of version {LATER}; this celeriac knows {HEAD} and works with them"
    ]
    world = World(store, store, wait_until_passed)
    run = world.scheduled()
    assert world.claim(run).run.run_id == run.run_id
    store.close()
    assert (migrate(url), current(url)) == (LATER, LATER)


def test_tables_that_this_code_is_too_old_for_are_not_touched(tmp_path: Path, url: str) -> None:
    """Whoever is told to use them is told so, not only who checks."""
    generation = f"{int(HEAD[:2]) + 1:02}00"
    migrate(url)
    done = python(later(tmp_path / "later", generation), MIGRATE, url).communicate(timeout=60)
    assert done == (f"{generation}\n", "")

    store = SqlStore(url)
    world = World(store, store, wait_until_passed)
    for call in (store.check, world.start, lambda: migrate(url)):
        with pytest.raises(SchemaMismatch) as caught:
            call()
        assert str(caught.value) == (
            f"the store's tables are of version {generation}, which this celeriac (up to {HEAD}) does not know; upgrade celeriac"
        )
    store.close()


def gave_way(migrating: subprocess.Popen[str]) -> None:
    """Wait until a migration has given way."""
    assert migrating.stdout is not None
    assert migrating.stderr is not None
    said = migrating.stdout.readline()
    assert said == "gave way\n", said or migrating.stderr.read()


@pytest.mark.parametrize("url", ["postgresql", "mariadb"], indirect=True)
def test_a_migration_gives_way_to_those_who_work(release: Path, url: str, engine: Engine) -> None:
    """A transaction that stays open holds up the migration, and nobody behind it."""
    migrate(url)
    worker = SqlStore(url)
    world = World(worker, worker, wait_until_passed)
    with engine.connect() as reader:
        reader.execute(text("SELECT count(*) FROM celeriac_runs")).all()
        migrating = python(release, MIGRATE, url)
        for _ in range(2):
            gave_way(migrating)
            assert world.start() is not None
        assert migrating.poll() is None
        assert not has_what_came_later(engine)
    out, err = migrating.communicate(timeout=60)
    assert (out.splitlines()[-1], err) == (LATER, "")
    assert has_what_came_later(engine)
    worker.close()


@pytest.mark.parametrize("url", ["postgresql", "mariadb"], indirect=True)
def test_of_two_migrations_one_waits(release: Path, url: str, engine: Engine) -> None:
    migrate(url)
    with engine.connect() as reader:
        reader.execute(text("SELECT count(*) FROM celeriac_runs")).all()
        first = python(release, MIGRATE, url)
        gave_way(first)
        second = python(release, MIGRATE, url)
        gave_way(first)
    assert first.communicate(timeout=60)[0].splitlines()[-1] == LATER
    assert second.communicate(timeout=60) == (f"{LATER}\n", "")  # it found all done, and never had to give way


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_an_index_whose_building_was_cut_off_is_built_anew(release: Path, url: str, engine: Engine) -> None:
    """PostgreSQL leaves an index that is there by name only."""
    migrate(url)
    bare = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as reader, bare.connect() as builder:
        reader.execute(text("LOCK TABLE celeriac_runs IN ROW EXCLUSIVE MODE"))
        builder.execute(text("SET statement_timeout = '200ms'"))
        with pytest.raises(OperationalError, match="statement timeout"):
            builder.execute(
                text("CREATE INDEX CONCURRENTLY celeriac_runs_later ON celeriac_runs (namespace, updated_at)")
            )
    bare.dispose()
    assert valid(engine) == [False]
    assert python(release, MIGRATE, url).communicate(timeout=60) == (f"{LATER}\n", "")
    assert valid(engine) == [True]


def valid(engine: Engine) -> list[bool]:
    query = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('celeriac_runs_later')"
    with engine.connect() as connection:
        return [row[0] for row in connection.execute(text(query))]
