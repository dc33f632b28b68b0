"""The tables of the store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy
from celery import Celery
from click.testing import CliRunner, Result

from celeriac import Celeriac
from celeriac.cli import workflow
from celeriac.embedded import free_port
from celeriac.stores.memory import InMemoryStore

Run = Callable[..., Result]


def commands(store: Any) -> Run:
    """Return what runs ``celery workflow ...`` on an app with this store."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    Celeriac(app, store=store)

    def run(*words: str) -> Result:
        return CliRunner().invoke(workflow, words, obj=SimpleNamespace(app=app, no_color=False))

    return run


def test_tables_are_created_once(postgres_url: str) -> None:
    run = commands(postgres_url)
    missing = run("migrate", "--check")
    assert (missing.exit_code, missing.stderr) == (
        1,
        "Error: the tables are of version (no tables), this celeriac needs 0002: run workflow migrate\n",
    )
    assert json.loads(run("migrate", "--check", "--json").stdout)["version"] is None
    first = run("migrate")
    assert first.exit_code == 0
    assert first.stdout.startswith("migrated SqlStore('postgresql+psycopg://")
    assert first.stdout.endswith("from (no tables) to version 0002\n")
    assert run("migrate").stdout == "the tables are up to date (version 0002)\n"
    assert run("migrate", "--check").stdout == "the tables are up to date (version 0002)\n"
    assert json.loads(run("migrate", "--json").stdout) == {
        "before": "0002",
        "version": "0002",
        "message": "the tables are up to date (version 0002)",
    }


def test_the_password_is_not_shown(postgres_url: str) -> None:
    url = sqlalchemy.make_url(postgres_url).set(password="s3cret").render_as_string(hide_password=False)
    assert "s3cret" not in commands(url)("migrate").output


def test_a_store_without_tables_is_told_so(postgres_url: str) -> None:
    listed = commands(postgres_url)("list")
    assert listed.exit_code == 1
    assert "workflow migrate" in listed.stderr


def test_the_statements_do_what_migrate_does(postgres_url: str) -> None:
    run = commands(postgres_url)
    statements = run("migrate", "--sql").stdout
    engine = sqlalchemy.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for each in statements.split(";\n"):  # one after the other, as psql does
            if each.strip():
                connection.exec_driver_sql(each)
    engine.dispose()
    assert run("migrate", "--check").exit_code == 0
    assert run("list").stdout == "no runs\n"
    assert run("migrate", "--sql").stdout == "-- The tables are up to date (version 0002).\n"


def test_the_statements_for_a_database_that_is_away() -> None:
    run = commands(f"postgresql+psycopg://127.0.0.1:{free_port()}/shop")
    statements = run("migrate", "--sql")
    assert statements.exit_code == 0
    assert statements.stdout.startswith(
        "-- The database could not be reached. These statements are for one without our tables.\n"
    )
    assert "CREATE TABLE celeriac_runs" in statements.stdout
    refused = run("migrate")
    assert refused.exit_code == 1
    assert "can't be reached" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_sqlite_needs_no_migration(tmp_path: Path) -> None:
    run = commands(f"sqlite:///{tmp_path / 'shop.db'}")
    assert run("list").stdout == "no runs\n"
    assert run("migrate", "--check").exit_code == 0


def test_memory_has_no_tables() -> None:
    assert commands(InMemoryStore())("migrate").stdout == "InMemoryStore keeps no tables; there is nothing to migrate\n"


def test_two_wishes_at_once_are_refused() -> None:
    refused = commands(InMemoryStore())("migrate", "--check", "--sql")
    assert refused.exit_code == 2
    assert "take one of them" in refused.stderr


@pytest.mark.parametrize("command", ["list", "migrate"])
def test_an_unreadable_url_is_an_error_in_a_sentence(command: str) -> None:
    refused = commands("postgrsql://localhost/shop")(command)
    assert refused.exit_code == 1
    assert refused.stderr.startswith(
        "Error: no store is known for URLs that begin postgrsql://. Did you mean 'postgresql'?"
    )
