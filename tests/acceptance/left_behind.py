"""A store as a release leaves it behind in the middle of things: written down as JSON, and brought back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, insert, select

from celeriac.stores.sql import current, migrate, migrations
from celeriac.stores.sql.migrations.locking import changing
from celeriac.stores.sql.schema import DEFAULT_PREFIX, make_tables
from celeriac.stores.sql.versioning import version_table
from tests.acceptance.stage import Stage, process, until

FOLDER: Final = Path(__file__).with_name("golden")
"""A file for each version of the tables. They only ever grow in number."""
SECONDS: Final = 30.0
"""What the sleepers sleep, long enough for them to sleep when they are written down."""


def leave(stage: Stage, release: Path | None = None) -> None:
    """Play until there are runs in each state that a run can be found in, and kill the worker."""
    shop = stage.shop
    worker = stage.worker(concurrency=2, release=release)
    closed = shop.nearby.apply_async((2,), task_id="closed")
    closed.handle.result(timeout=40)
    waiting = shop.collect.apply_async((3,), task_id="waiting")
    shop.durable.handle("waiting").signal("parcel", 0)
    sleeping = shop.nap.apply_async((SECONDS,), task_id="sleeping")
    several = shop.everything.apply_async((SECONDS,), task_id="several")
    for run, event in ((waiting, "signal_received"), (sleeping, "timer_started"), (several, "activity_completed")):
        until("it waits", lambda run=run, event=event: event in [kind for kind, _ in stage.story(run)])  # type: ignore[misc]
    stage.hold("before step 1")
    shop.steps.apply_async((2,), task_id="in a step")
    stage.reached("before step 1")
    process(worker).kill()
    shop.durable.handle("waiting").signal("parcel", 1)
    shop.row.apply_async((2,), task_id="not begun")
    stage.release("before step 1")


def write_down(engine: Engine, folder: Path = FOLDER) -> Path:
    """Write a store's rows down and return the file."""
    tables, version = make_tables(), current(engine)
    with engine.connect() as connection:
        rows = {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in tables.metadata.sorted_tables
        }
    folder.mkdir(exist_ok=True)
    path = folder / f"{version}.json"
    path.write_text(json.dumps({"version": version, "rows": rows}, indent=1) + "\n")
    return path


def bring_back(engine: Engine, path: Path) -> None:
    """Make tables of the version that was written down, with those rows and no others, and migrate."""
    told: dict[str, Any] = json.loads(path.read_text())
    tables = make_tables()
    tables.metadata.drop_all(engine)
    version_table(DEFAULT_PREFIX, None).drop(engine, checkfirst=True)
    with changing(engine) as connection:
        migrations.run(connection, DEFAULT_PREFIX, None, to=told["version"])
    with engine.begin() as connection:
        for table in tables.metadata.sorted_tables:
            if told["rows"][table.name]:
                connection.execute(insert(table), told["rows"][table.name])
    assert current(engine) == told["version"]
    migrate(engine)
