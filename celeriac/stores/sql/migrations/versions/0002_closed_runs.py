"""An index for purging: closed runs by the time they closed. Without it a purge reads every run to find those old enough."""

from __future__ import annotations

import sqlalchemy as sa

from celeriac.stores.sql.migrations.online import add_index

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index."""
    closed = sa.text("closed_at IS NOT NULL")
    add_index("runs_closed", "runs", ["namespace", "closed_at"], postgresql_where=closed, sqlite_where=closed)
