"""What Alembic runs to upgrade: everything comes from :func:`celeriac.stores.sql.migrations.migrate`."""

from __future__ import annotations

from alembic import context

given = context.config.attributes
context.configure(
    connection=given["connection"],
    version_table=f"{given['prefix']}alembic_version",
    version_table_schema=given["schema"],
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
