"""What an earlier release has left behind is finished by this one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from celeriac.stores.sql import current
from celeriac.stores.sql.versioning import HEAD
from tests.acceptance.left_behind import FOLDER, bring_back, leave, write_down
from tests.acceptance.stage import Stage
from tests.acceptance.stories import result_of_steps, story_of_steps

RECORD = "LEAVE_BEHIND"
"""The environment variable that has the file of these tables written: to the folder of a release that plays, or to ``.``."""


@pytest.mark.skipif(RECORD not in os.environ, reason=f"writes a file, for {RECORD} only")
@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_write_down_what_is_left_behind(stage: Stage) -> None:
    release = os.environ[RECORD]
    leave(stage, None if release == "." else Path(release).resolve())
    write_down(stage.store.db.engine)


@pytest.mark.slow
@pytest.mark.parametrize("left", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
@pytest.mark.parametrize("store_url", ["postgresql", "mariadb", "sqlite"], indirect=True)
def test_runs_that_an_earlier_release_has_left_open_are_finished(stage: Stage, left: Path) -> None:
    bring_back(stage.store.db.engine, left)
    assert current(stage.store.db.engine) == HEAD
    stage.worker()
    handle = stage.shop.durable.handle
    handle("waiting").signal("parcel", 2)
    handle("several").signal("parcel", "late")

    expected: dict[str, Any] = {
        "closed": [0, 1],
        "waiting": [0, 1, 2],
        "sleeping": "slept",
        "several": [0, "late", 1],
        "in a step": result_of_steps(2),
        "not begun": result_of_steps(2, "row"),
    }
    for name, result in expected.items():
        assert handle(name).result(timeout=40) == result, name
        if name != "closed":  # its result was Celery's, in a Redis that is gone
            assert stage.shop.app.AsyncResult(name).get(timeout=40) == result, name
    assert stage.story(handle("in a step")) == story_of_steps(2, attempts={1: 2})
    assert stage.story(handle("not begun")) == story_of_steps(2, workflow="row")
    parcels = [data["payload"] for kind, data in stage.story(handle("waiting")) if kind == "signal_received"]
    assert parcels == [0, 1, 2]
    done = sorted(
        (entry.activity.rpartition("-")[2], entry.attempt) for entry in stage.ledger() if entry.what == "done"
    )
    assert done == [("1", 1), ("2", 1), ("2", 2), ("3", 1)]
    stage.at_rest()
