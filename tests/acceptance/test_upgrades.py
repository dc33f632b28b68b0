"""A rolling deploy: tables first, then worker after worker, under load, with runs open all the while."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pytest_celery import CeleryTestWorker

from celeriac.stores.sql import current
from tests.acceptance.stage import Stage, process, until
from tests.acceptance.stories import result_of_steps, story_of_steps
from tests.releases import LATER, later, python

MIGRATE = "import sys; from celeriac.stores.sql import migrate; print(migrate(sys.argv[1]))"
STEPS = 3
AT_ONCE = 10


@contextmanager
def load(stage: Stage) -> Iterator[list[Any]]:
    """Keep runs open while the block runs; yields the results of all that were started so far."""
    results: list[Any] = []
    enough = threading.Event()
    failed: list[BaseException] = []

    def start() -> None:
        try:
            while not enough.wait(0.1):
                if stage.open_runs() < AT_ONCE:
                    results.append(stage.shop.steps.delay(STEPS))
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    try:
        yield results
    finally:
        enough.set()
        thread.join()
    assert failed == []


def more(stage: Stage, results: list[Any], count: int = 6) -> None:
    """Wait until so many runs more have been started than there are now, and have ended."""
    upto = len(results) + count
    until("runs are started", lambda: len(results) >= upto)
    for each in results[upto - count : upto]:
        until("it ends", lambda each=each: not stage.run(each).status.open)  # type: ignore[misc]


def replace(stage: Stage, old: CeleryTestWorker, **options: Any) -> CeleryTestWorker:
    """Stop a worker warmly, and start another one when it has gone."""
    process(old).kill(signal.SIGTERM)
    assert process(old).wait(60) == 0
    return stage.worker(**options)


@pytest.mark.slow
@pytest.mark.timeout(420)
@pytest.mark.parametrize("store_url", ["postgresql", "mariadb"], indirect=True)
def test_a_rolling_deploy_under_load(stage: Stage, store_url: str, tmp_path: Path) -> None:
    """Nothing is lost or done twice: not by old workers on new tables, not by both side by side, not by new ones on old runs."""
    release = later(tmp_path / "later")
    old = list(stage.two())
    waiting = stage.shop.collect.delay(2)
    stage.shop.durable.handle(waiting.workflow_id).signal("parcel", "before")
    until("it has the first parcel", lambda: any(kind == "signal_received" for kind, _ in stage.story(waiting)))

    with load(stage) as results:
        more(stage, results)
        migrating = python(release, MIGRATE, store_url)
        assert migrating.communicate(timeout=100) == (f"{LATER}\n", "")
        more(stage, results)  # the old ones, on the new tables
        new = [replace(stage, old[0], release=release)]
        more(stage, results)  # both side by side
        new.append(replace(stage, old[1], release=release))
        more(stage, results)
    stage.shop.durable.handle(waiting.workflow_id).signal("parcel", "after")

    assert waiting.handle.result(timeout=40) == ["before", "after"]
    stage.results(results, result_of_steps(STEPS))
    for result in results:
        assert stage.story(result) == story_of_steps(STEPS)
    ledger = stage.ledger()
    done = Counter(entry.activity for entry in ledger if entry.what == "done")
    assert len(done) == len(results) * STEPS
    assert set(done.values()) == {1}
    at_work = {os.getpgid(pid) for pid in {entry.pid for entry in ledger} if _is_there(pid)}
    assert at_work == {process(each).pid for each in new}
    assert current(store_url) == LATER
    stage.at_rest()


def _is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.slow
@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_a_worker_that_is_too_old_for_the_tables_says_so_and_takes_nothing(
    stage: Stage, store_url: str, tmp_path: Path
) -> None:
    release = later(tmp_path / "later", "9000")
    assert python(release, MIGRATE, store_url).communicate(timeout=60) == ("9000\n", "")
    old = stage.launch()
    told = "the store's tables are of version 9000, which this celeriac (up to "
    until("it says so", lambda: f"durable workflows wait for the store: {told}" in old.logs())
    until("it takes messages", lambda: " ready." in old.logs())
    # One that was started when the client knew the tables still; the old worker is the only one to hear of it.
    name, failed = python(release, START, store_url, stage.server.url).communicate(timeout=60)
    assert failed == ""
    until("its turn waits", lambda: "waits for the store: the store's tables are of version 9000" in old.logs())

    process(old).kill(signal.SIGTERM)
    assert process(old).wait(60) == 0
    assert stage.ledger() == []
    stage.open(stage.launch(release=release))
    until("its steps are done", lambda: len([each for each in stage.ledger() if each.what == "done"]) == STEPS)
    assert json.loads(until("its result", lambda: stage.redis.get(f"celery-task-meta-{name}")))["status"] == "SUCCESS"


START = f"""
import sys
from celery import Celery
from celeriac import Celeriac
app = Celery("shop", broker=sys.argv[2], backend=sys.argv[2])
durable = Celeriac(app, store=sys.argv[1])
@durable.workflow(name="steps")
async def steps(ctx, count: int) -> list: ...
print(steps.delay({STEPS}).id, end="")
"""
