"""The store restarted, crashed or cut off: what was acknowledged is there, and workers go on by themselves."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, text

from tests.acceptance.stage import Stage, process, until
from tests.acceptance.stories import completed, result_of_steps, signal, started, story_of_steps
from tests.acceptance.test_redis import publish
from tests.servers import PostgresServer
from tests.stores.mariadb import MariaServer


@pytest.mark.parametrize("lease", [6.0])
@pytest.mark.parametrize("store_url", ["postgresql", "mariadb"], indirect=True)
@pytest.mark.parametrize("crash", [False, True], ids=["restarted", "crashed"])
def test_the_database_goes_away_and_comes_back(
    stage: Stage, database: PostgresServer | MariaServer, crash: bool
) -> None:
    workers = stage.two()
    stage.hold("after step 0")
    asleep, waiting, stepping = stage.shop.nap.delay(0.5), stage.shop.collect.delay(2), stage.shop.steps.delay(2)
    until("it waits", lambda: stage.run(waiting).turns)
    stage.reached("after step 0")
    unseen = stage.shop.row.delay(2)
    waiting.signal("parcel", "acknowledged")

    database.stop(crash=crash)
    stage.release("after step 0")  # its outcome comes while there is no store to record it
    until("the step has ended", lambda: any(each.what == "left" for each in stage.ledger(stepping.run_id)))
    database.start()

    until("the client is connected again", lambda: stage.run(waiting))
    waiting.signal("parcel", "afterwards")
    stage.results([asleep], "slept")
    stage.results([waiting], ["acknowledged", "afterwards"])
    stage.results([stepping], result_of_steps(2))
    stage.results([unseen], result_of_steps(2, "row"))
    assert stage.story(waiting) == [
        started("collect", 2),
        signal("acknowledged"),
        signal("afterwards"),
        completed(1, ["acknowledged", "afterwards"]),
    ]
    assert stage.story(stepping) == story_of_steps(2)
    assert stage.story(unseen) == story_of_steps(2, workflow="row")
    assert stage.times_done(stepping) == [1, 1]
    assert stage.times_done(unseen) == [1, 1]
    stage.one_at_a_time()
    assert [process(each).status for each in workers] == ["running", "running"]
    stage.at_rest()


@pytest.mark.parametrize("lease", [6.0])
def test_an_activity_that_may_not_run_twice_outlives_the_database(
    stage: Stage, postgres_server: PostgresServer
) -> None:
    stage.worker()
    stage.hold("after step 1")
    result = stage.shop.only_once.delay()
    stage.reached("after step 1")

    postgres_server.stop()
    stage.release("after step 1")
    until("the step has ended", lambda: any(each.what == "left" for each in stage.ledger()))
    postgres_server.start()

    stage.results([result], 1)
    assert stage.times_done(result) == [1]
    stage.at_rest()


@pytest.fixture
def lazy_wal(postgres_server: PostgresServer) -> Iterator[None]:
    """A server that takes its time to write what nobody waits for, so that a crash loses it."""
    engine = create_engine(postgres_server.url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("ALTER SYSTEM SET wal_writer_delay = '10s'"))
        connection.execute(text("SELECT pg_reload_conf()"))
    yield
    postgres_server.start()
    engine.dispose()
    with engine.connect() as connection:
        connection.execute(text("ALTER SYSTEM RESET wal_writer_delay"))
        connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()


@pytest.mark.parametrize(("lease", "republish_after"), [(30.0, 30.0)])
def test_an_outcome_counts_though_a_crash_has_lost_its_claim(
    stage: Stage, postgres_server: PostgresServer, lazy_wal: None
) -> None:
    stage.worker()
    stage.hold("after step 0")
    result = stage.shop.steps.delay(2)
    stage.reached("after step 0")

    postgres_server.restart(crash=True)
    stage.release("after step 0")

    stage.results([result], result_of_steps(2))
    assert stage.story(result) == story_of_steps(2)
    assert stage.times_done(result) == [1, 1]
    stage.one_at_a_time()
    stage.at_rest()


@pytest.mark.parametrize(("lease", "republish_after"), [(6.0, 6.0)])
def test_an_attempt_goes_on_though_a_crash_has_lost_its_claim(
    stage: Stage, postgres_server: PostgresServer, lazy_wal: None
) -> None:
    """It asserts its claim when it renews it, before anybody takes its silence for a lost message."""
    stage.two()
    stage.hold("before step 0")
    result = stage.shop.steps.delay(2)
    stage.reached("before step 0")

    postgres_server.restart(crash=True)
    time.sleep(stage.republish_after + 1)  # longer than a row of which nothing is heard is left alone
    stage.release("before step 0")

    stage.results([result], result_of_steps(2))
    assert stage.story(result) == story_of_steps(2)
    assert stage.times_done(result) == [1, 1]
    stage.one_at_a_time()
    stage.at_rest()


def test_what_is_heard_on_the_channel_waits_for_the_database(stage: Stage, postgres_server: PostgresServer) -> None:
    stage.two()
    stage.listening(2)
    result = stage.shop.collect.delay(1)
    until("it waits", lambda: stage.run(result).turns)

    postgres_server.stop()
    publish(stage, result, "heard meanwhile", id="the only one")
    publish(stage, result, "heard meanwhile", id="the only one")
    postgres_server.start()

    stage.results([result], ["heard meanwhile"])
    assert stage.story(result) == [
        started("collect", 1),
        signal("heard meanwhile"),
        completed(1, ["heard meanwhile"]),
    ]
    stage.at_rest()


def test_all_connections_are_cut_again_and_again(stage: Stage, store_url: str, postgres_server: PostgresServer) -> None:
    stage.two()
    results = [stage.shop.row.delay(5) for _ in range(30)]
    engine = create_engine(postgres_server.url, isolation_level="AUTOCOMMIT")
    cut = text("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = :name")
    with engine.connect() as connection:
        for number in range(8):
            until("some more is done", lambda least=number * 10: len(stage.ledger()) > least)
            connection.execute(cut, {"name": store_url.rpartition("/")[2]})
    engine.dispose()

    until("all have closed", lambda: all(not stage.run(each).status.open for each in results), within=80)
    for result in results:
        stage.results([result], result_of_steps(5, "row"))
        assert without_attempts(stage.story(result)) == story_of_steps(5, workflow="row")
        assert stage.times_done(result) == [1] * 5
    stage.one_at_a_time()
    stage.at_rest()


def without_attempts(told: list[tuple[str, dict[str, object]]]) -> list[tuple[str, dict[str, object]]]:
    """Leave out which attempt it was: a claim whose acknowledgement was cut off counts as one."""
    return [(name, {key: value for key, value in data.items() if key != "attempt"}) for name, data in told]
