"""``workflow migrate``: the tables of an SQL store."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from celeriac.cli.access import durable
from celeriac.cli.options import json_option
from celeriac.cli.screen import Screen
from celeriac.errors import StoreUnavailable

if TYPE_CHECKING:
    from celeriac.stores.sql import SqlStore

_EMPTY: Final = "(no tables)"


@click.command("migrate")
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 unless the tables are up to date.")
@click.option("--sql", is_flag=True, help="Change nothing; print the statements, for those who run them by hand.")
@json_option
@click.pass_context
def migrate(ctx: click.Context, *, check: bool, sql: bool, as_json: bool) -> None:
    """Create the store's tables, or bring them up to date. Done twice is done once."""
    if check and sql:
        raise click.UsageError("--check and --sql are two different things; take one of them")
    from celeriac.stores.sql import SqlStore  # noqa: PLC0415 - the other commands need no SQL

    store = durable(ctx, check=False).client.store
    screen = Screen.of(ctx)
    if not isinstance(store, SqlStore):
        store.check()
        _say(
            screen,
            f"{type(store).__name__} keeps no tables; there is nothing to migrate",
            as_json=as_json,
        )
    elif sql:
        statements = statements_for(store)
        screen.json({"sql": statements}) if as_json else click.echo(statements, nl=False)
    elif check:
        _check(ctx, screen, store, as_json=as_json)
    else:
        _upgrade(screen, store, as_json=as_json)


def _check(ctx: click.Context, screen: Screen, store: SqlStore, *, as_json: bool) -> None:
    from celeriac.stores.sql.versioning import HEAD, difference, is_fit, is_strange  # noqa: PLC0415 - as above

    found = version_of(store)
    if is_fit(found):
        _say(screen, f"the tables are up to date (version {found})", version=found, as_json=as_json)
        return
    message = (
        difference(found)
        if is_strange(found)
        else f"the tables are of version {found or _EMPTY}, this celeriac needs {HEAD}: run workflow migrate"
    )
    if as_json:
        screen.json({"version": found, "needs": HEAD, "message": message})
        ctx.exit(1)
    raise click.ClickException(message)


def _upgrade(screen: Screen, store: SqlStore, *, as_json: bool) -> None:
    from celeriac.stores.sql import migrate as run  # noqa: PLC0415 - as above

    before = version_of(store)
    tables = store.db.tables
    after = run(store.db.engine, table_prefix=tables.prefix, schema=tables.schema)
    said = f"the tables are up to date (version {after})"
    if before != after:
        said = f"migrated {store!r} from {before or _EMPTY} to version {after}"
    _say(screen, said, before=before, version=after, as_json=as_json)


def version_of(store: SqlStore) -> str | None:
    """Return the version of the tables, or None where there are none.

    :raises StoreUnavailable: the database can't be reached.
    """
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - as above

    from celeriac.stores.sql import current  # noqa: PLC0415 - as above

    tables = store.db.tables
    try:
        return current(store.db.engine, table_prefix=tables.prefix, schema=tables.schema)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip()
        raise StoreUnavailable(f"{store!r} can't be reached: {reason}") from error


def statements_for(store: SqlStore) -> str:
    """Return the SQL that ``migrate`` would run. Where the database is away: on one without our tables."""
    from alembic.config import Config  # noqa: PLC0415 - slow to import
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415 - as above
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - as above

    from celeriac.stores.sql import migrations  # noqa: PLC0415 - as above
    from celeriac.stores.sql.versioning import is_fit  # noqa: PLC0415 - as above

    try:
        found, remark = version_of(store), ""
    except StoreUnavailable:
        found, remark = (
            None,
            "-- The database could not be reached. These statements are for one without our tables.\n",
        )
    if is_fit(found):
        return f"-- The tables are up to date (version {found}).\n"
    tables, dialect = store.db.tables, store.db.engine.dialect.name
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.attributes.update(connection=None, prefix=tables.prefix, schema=tables.schema)
    script, written = ScriptDirectory.from_config(config), io.StringIO()
    with EnvironmentContext(
        config,
        script,
        fn=lambda version, _: script._upgrade_revs("head", version),  # noqa: SLF001 - as Alembic's own command does
        as_sql=True,
        starting_rev=found,
        destination_rev="head",
    ) as environment:
        environment.configure(
            dialect_name=dialect,
            version_table=f"{tables.prefix}alembic_version",
            version_table_schema=tables.schema,
            output_buffer=written,
        )
        with environment.begin_transaction():
            environment.run_migrations()
    return remark + written.getvalue()


def _say(screen: Screen, message: str, *, as_json: bool, **facts: str | None) -> None:
    if as_json:
        screen.json({**facts, "message": message})
    else:
        screen.say(message)
