"""The benchmark of the database alone takes real steps."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import create_engine, func, select

from benchmarks.store import steps_per_second
from celeriac.stores.sql import migrate
from celeriac.stores.sql.schema import make_tables


def test_steps_are_taken_by_as_many_as_were_asked_for(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'bench.db'}"
    migrate(url)
    rate = steps_per_second(url, 2, 0.5)
    tables = make_tables()
    engine = create_engine(url)
    with engine.connect() as connection:
        completed = connection.scalar(
            select(func.count()).select_from(tables.events).where(tables.events.c.type == "activity_completed")
        )
        runs = connection.scalar(select(func.count()).select_from(tables.runs))
    engine.dispose()
    assert (runs, completed) == (2, round(rate * 0.5))
