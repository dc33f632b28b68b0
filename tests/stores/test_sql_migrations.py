"""The schema's versions: made once however often and by however many, and invisible to the application."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Integer, MetaData, Table, create_engine, inspect, text
from sqlalchemy.engine import Engine

from celeriac.errors import SchemaMismatch
from celeriac.orchestrator.model import RunFilter
from celeriac.stores.sql import SqlStore, current, include_object, migrate, migrations
from celeriac.stores.sql.schema import make_tables
from celeriac.testing.contract.world import World, wait_until_passed

_NAMES = ["alembic_version", "events", "inbox", "leases", "runs", "tasks"]
_MIGRATE = "import sys; from celeriac.stores.sql import migrate; print(migrate(sys.argv[1]))"
_CHECK = "import sys; from celeriac.stores.sql import SqlStore; SqlStore(sys.argv[1]).check(); print('0002')"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = create_engine(url)
    yield engine
    engine.dispose()


def test_the_head_is_the_last_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_current_head() == migrations.HEAD


def test_migrating_twice_is_migrating_once(url: str, engine: Engine) -> None:
    assert current(url) is None
    assert (migrate(url), migrate(url), migrate(engine), current(engine)) == ("0002",) * 4
    assert sorted(inspect(engine).get_table_names()) == [f"celeriac_{name}" for name in _NAMES]


def test_several_processes_migrate_at_once(url: str, engine: Engine) -> None:
    assert at_once(_MIGRATE, url) == [("0002\n", "", 0)] * 4
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM celeriac_alembic_version")) == 1


def test_several_processes_open_a_new_sqlite_file_at_once(tmp_path: Path) -> None:
    assert at_once(_CHECK, f"sqlite:///{tmp_path / 'store.db'}") == [("0002\n", "", 0)] * 4


def at_once(program: str, url: str) -> list[tuple[str, str, int]]:
    """Run a program in four processes and return what each said, and its exit code."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    return [(*each.communicate(timeout=60), each.returncode) for each in running]


def test_what_the_migration_makes_is_what_the_code_expects(engine: Engine) -> None:
    migrate(engine)
    with engine.connect() as connection:
        options = {"compare_type": True, "include_object": lambda *args: args[1] != "celeriac_alembic_version"}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, make_tables().metadata) == []


def test_the_application_s_autogenerate_does_not_see_the_tables(engine: Engine) -> None:
    migrate(engine)
    application = MetaData()
    Table("orders", application, Column("id", Integer, primary_key=True))
    application.create_all(engine)
    with engine.connect() as connection:
        blind = MigrationContext.configure(connection, opts={"include_object": include_object()})
        assert compare_metadata(blind, application) == []
        seeing = MigrationContext.configure(connection)
        removed = {change[1].name for change in compare_metadata(seeing, application) if change[0] == "remove_table"}
    assert removed == {f"celeriac_{name}" for name in _NAMES}


def test_two_prefixes_are_two_stores(url: str) -> None:
    first, second = SqlStore(url), SqlStore(url, table_prefix="other_")
    migrate(url)
    assert migrate(url, table_prefix="other_") == "0002"
    world = World(first, second, wait_until_passed)
    run = world.start()
    assert first.find_run(run.namespace, run_id=run.run_id) == run
    assert second.find_run(run.namespace, run_id=run.run_id) is None
    first.close()
    second.close()


def test_a_schema_of_its_own(postgres_url: str) -> None:
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text('CREATE SCHEMA "Work Flows"'))
    assert migrate(engine, schema="Work Flows") == "0002"
    assert inspect(engine).get_table_names() == []
    assert sorted(inspect(engine).get_table_names("Work Flows")) == [f"celeriac_{name}" for name in _NAMES]
    for fast_path in (True, False):
        store = SqlStore(engine, schema="Work Flows", fast_path=fast_path)
        store.check()
        world = World(store, store, wait_until_passed)
        run = world.scheduled()
        assert world.claim(run).run.run_id == run.run_id
    engine.dispose()


def test_a_check_makes_sqlite_s_tables_and_asks_for_others(tmp_path: Path, postgres_url: str) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'store.db'}")
    store.check()
    assert store.list("shop", RunFilter()) == []
    store.close()
    store = SqlStore(postgres_url)
    with pytest.raises(SchemaMismatch, match="run: celery -A yourapp workflow migrate"):
        store.check()
    migrate(postgres_url)
    store.check()
    store.close()


def test_tables_of_a_later_version_are_left_alone(url: str, engine: Engine) -> None:
    migrate(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE celeriac_alembic_version SET version_num = '9999'"))
    store = SqlStore(url)
    told = "the store's tables are of version 9999, which this celeriac (up to 0002) does not know; upgrade celeriac"
    for call in (store.check, lambda: migrate(url)):
        with pytest.raises(SchemaMismatch) as caught:
            call()
        assert str(caught.value) == told
    store.close()


def test_tables_without_a_version_are_not_there_yet(postgres_url: str) -> None:
    migrate(postgres_url)
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM celeriac_alembic_version"))
    with pytest.raises(SchemaMismatch) as caught:
        SqlStore(engine).check()
    assert str(caught.value) == "the store's tables are not there yet; run: celery -A yourapp workflow migrate"
    engine.dispose()
