"""A process dies at each named point of the code's path: the history is what it would have been, and effects are as few."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from celeriac.crashes import CrashPoint
from celeriac.stores.sql import SqlStore, current, migrate
from celeriac.stores.sql.schema import make_tables
from tests.acceptance.crash_points import Mines
from tests.acceptance.stage import Stage, process, until
from tests.acceptance.stories import completed, result_of_steps, slept, started, story_of_steps
from tests.acceptance.stories import signal as parcel
from tests.acceptance.test_redis import publish
from tests.servers import PostgresServer
from tests.stores.mariadb import MariaServer

on_all_stores = pytest.mark.parametrize("store_url", ["postgresql", "mariadb", "sqlite"], indirect=True)
quick = pytest.mark.parametrize(("lease", "republish_after"), [(1.0, 1.0)])

ONE_COMMIT = [
    # With the turn taken together with the step, before which commit, and which step is done again.
    (CrashPoint.BEFORE_COMMIT, 1, None),
    (CrashPoint.BEFORE_COMMIT, 2, 0),
    (CrashPoint.BEFORE_COMMIT, 3, 1),
    (CrashPoint.AFTER_COMMIT, 1, None),
    (CrashPoint.AFTER_COMMIT, 2, None),
    (CrashPoint.AFTER_COMMIT, 3, None),
    (CrashPoint.BEFORE_PUBLISH, 2, None),
    (CrashPoint.AFTER_PUBLISH, 2, None),
    (CrashPoint.BEFORE_OUTCOME, 1, 0),
    (CrashPoint.AFTER_OUTCOME, 1, None),
    (CrashPoint.AFTER_OUTCOME, 2, None),
]


@pytest.fixture
def mines(tmp_path: Path) -> Mines:
    folder = tmp_path / "mines"
    folder.mkdir()
    return Mines(folder)


@pytest.mark.slow
@pytest.mark.timeout(240)
@quick
@on_all_stores
def test_a_child_dies_at_each_point_of_turns_and_steps(stage: Stage, mines: Mines) -> None:
    worker = stage.worker(concurrency=1, crash_at=mines.folder)
    for point, number, again in ONE_COMMIT:
        mines.lay(point, number)
        result = stage.shop.steps.delay(2)
        mines.struck(point)

        stage.results([result], result_of_steps(2))
        done, attempts = [1, 1], {}
        if again is not None:
            done[again], attempts[again] = 2, 2
        assert stage.story(result) == story_of_steps(2, attempts=attempts), (point, number)
        assert stage.times_done(result) == done, (point, number)
        until("nothing is left of it", lambda: stage.count("tasks") == 0)
    assert process(worker).status == "running"
    stage.redeliver()
    stage.at_rest()


@quick
@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_a_child_dies_between_its_commit_and_the_answer(stage: Stage, mines: Mines) -> None:
    """What had been sent is carried out, and what had been published is claimed."""
    worker = stage.worker(concurrency=1, crash_at=mines.folder)
    for number in (1, 2):
        # The process's connection is new, and has no statements prepared yet: those are gone through the driver's cursor.
        stage.results([stage.shop.steps.delay(2) for _ in range(9)], result_of_steps(2))
        mines.lay(CrashPoint.PUBLISHED_EARLY, number)
        result = stage.shop.steps.delay(2)
        mines.struck(CrashPoint.PUBLISHED_EARLY)

        stage.results([result], result_of_steps(2))
        assert stage.story(result) == story_of_steps(2)
        assert stage.times_done(result) == [1, 1]
    assert process(worker).status == "running"
    stage.redeliver()
    stage.at_rest()


@quick
@on_all_stores
def test_a_child_dies_over_a_turn_that_has_a_message_of_its_own(stage: Stage, mines: Mines) -> None:
    """The outcome is in the inbox then, and stays there."""
    stage.worker(concurrency=1, crash_at=mines.folder, inline_turns="never")
    for number in (2, 3):
        mines.lay(CrashPoint.BEFORE_COMMIT, number)
        result = stage.shop.steps.delay(2)
        mines.struck(CrashPoint.BEFORE_COMMIT)

        stage.results([result], result_of_steps(2))
        assert stage.story(result) == story_of_steps(2)
        assert stage.times_done(result) == [1, 1]
    stage.redeliver()
    stage.at_rest()


@quick
@pytest.mark.parametrize("store_url", ["mariadb", "sqlite"], indirect=True)
def test_a_child_dies_within_a_transaction(stage: Stage, mines: Mines) -> None:
    """Of the claim of a turn, of its commit, and of the claim of a step: nothing of them is there afterwards."""
    stage.worker(queues="another", concurrency=1)  # its relay does what is due, and has transactions too
    worker = stage.worker(concurrency=1, crash_at=mines.folder)
    for number in (1, 2, 3):
        until("nothing is left to be done", lambda: stage.count("tasks") == 0)
        mines.lay(CrashPoint.IN_TRANSACTION, number, spare=process(worker).pid)
        result = stage.shop.steps.delay(2)
        mines.struck(CrashPoint.IN_TRANSACTION)

        stage.results([result], result_of_steps(2))
        assert stage.story(result) == story_of_steps(2), number
        assert stage.times_done(result) == [1, 1], number
    stage.redeliver()
    stage.at_rest()


@pytest.mark.slow
@pytest.mark.timeout(240)
@quick
@on_all_stores
def test_a_worker_dies_at_each_point_of_its_relay_and_its_listener(stage: Stage, mines: Mines) -> None:
    armed = {"concurrency": 1, "crash_at": mines.folder}
    stage.two(**armed)
    asleep, points = [], (CrashPoint.TIMER_DUE, CrashPoint.TIMER_FIRED, CrashPoint.RELAY_CLAIMED)
    for point in points:
        mines.lay(point)
        asleep.append(stage.shop.nap.delay(0.2))
        mines.struck(point)
        stage.open(stage.launch(**armed))
    waiting = stage.shop.collect.delay(2)
    until("it waits", lambda: stage.run(waiting).turns)
    for number, point in enumerate((CrashPoint.BEFORE_DELIVERY, CrashPoint.AFTER_DELIVERY)):
        stage.listening(2)
        mines.lay(point)
        publish(stage, waiting, number, id=f"parcel {number}")
        mines.struck(point)
        stage.open(stage.launch(**armed))

    stage.results(asleep, "slept")
    stage.results([waiting], [0, 1])
    for result in asleep:
        assert stage.story(result) == [started("nap", 0.2), *slept(1), completed(2, "slept")]
    assert stage.story(waiting) == [started("collect", 2), parcel(0), parcel(1), completed(1, [0, 1])]
    assert [process(each).exit_code for each in stage.workers].count(-signal.SIGKILL) == len(points) + 2
    stage.redeliver()
    stage.at_rest()


# -- migrating -------------------------------------------------------------------------------------------------------------

MIGRATE = "import sys; from celeriac.stores.sql import migrate; migrate(sys.argv[1])"


@pytest.fixture(params=["postgresql", "mariadb", "sqlite"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
        return
    fixture = {"postgresql": "postgres_server", "mariadb": "mariadb_server"}[request.param]
    server: PostgresServer | MariaServer = request.getfixturevalue(fixture)
    server.start()
    url = server.create_database()
    yield url
    server.drop_database(url)


@pytest.mark.parametrize("number", [1, 3, 5])
def test_a_migration_that_died_is_done_again(empty: str, number: int) -> None:
    env = {**os.environ, "CELERIAC_CRASH_AT": f"in-migration:{number}"}
    died = subprocess.run([sys.executable, "-c", MIGRATE, empty], env=env, check=False, timeout=60)
    assert died.returncode == -signal.SIGKILL

    assert current(empty) is None
    assert migrate(empty) == "0002"
    store = SqlStore(empty)
    store.check()
    store.close()
    engine = create_engine(empty)
    with engine.connect() as connection:
        options = {"compare_type": True, "include_object": lambda *args: args[1] != "celeriac_alembic_version"}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), make_tables().metadata) == []
    engine.dispose()
