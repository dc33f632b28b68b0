"""Statements that go past psycopg's cursor: the same answers and errors, and the cursor for whatever is out of the ordinary."""

from __future__ import annotations

import functools
import signal
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from celery.exceptions import SoftTimeLimitExceeded
from psycopg import errors
from sqlalchemy.engine import make_url

from celeriac.stores.sql.postgres.direct import Direct
from celeriac.stores.sql.statements import Raw
from celeriac.stores.sql.store import SqlStore
from celeriac.stores.sql.transactions import Session
from tests.servers import PostgresServer

ECHO = Direct("SELECT %(a)s::bigint, %(b)s::text, %(a)s::bigint > 1, '100%%'", wants_now=False)
BACKEND = Raw("SELECT pg_backend_pid()", wants_now=False)


@pytest.fixture(scope="module")
def address(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.create_database()
    yield make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    postgres_server.drop_database(url)


@pytest.fixture
def connection(address: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(address, autocommit=True, prepare_threshold=2) as connection:
        yield connection


def prepared(connection: psycopg.Connection[Any]) -> list[str]:
    """What the server has prepared for this connection, ours only, each with its parameters' types."""
    found = connection.execute(
        "SELECT name, parameter_types::text FROM pg_prepared_statements WHERE name LIKE 'celeriac%' ORDER BY prepare_time",
        prepare=False,
    )
    return [types for _, types in found]


def test_a_statement_is_prepared_when_psycopg_would_prepare_it_and_answers_as_a_cursor_does(
    connection: psycopg.Connection[Any],
) -> None:
    values = {"a": 2**62, "b": "søk 'x' \\ \"y\" 日本"}
    assert ECHO.rows(connection, values) is None  # the first time it is the cursor's
    assert prepared(connection) == []
    assert ECHO.rows(connection, values) == [[2**62, values["b"], True, "100%"]]
    assert prepared(connection) == ["{bigint,text,bigint}"]
    (row,) = connection.execute(ECHO.text, values).fetchall()
    assert list(row) == [2**62, values["b"], True, "100%"]
    assert ECHO.rows(connection, {"a": 0, "b": ""}) == [[0, "", False, "100%"]]
    assert len(prepared(connection)) == 1


def test_null_is_another_type_than_a_number_and_the_same_as_a_text(connection: psycopg.Connection[Any]) -> None:
    for values in ({"a": 1, "b": "x"}, {"a": 1, "b": None}, {"a": None, "b": "x"}, {"a": None, "b": None}):
        ECHO.rows(connection, values)
    assert ECHO.rows(connection, {"a": 1, "b": None}) == [[1, None, False, "100%"]]
    assert ECHO.rows(connection, {"a": None, "b": "x"}) == [[None, "x", None, "100%"]]
    assert len(prepared(connection)) == 2


@pytest.mark.parametrize("value", [True, 1.5, b"bytes", ["list"], "with \0 in it"], ids=repr)
def test_any_other_value_is_the_cursor_s(connection: psycopg.Connection[Any], value: Any) -> None:
    for _ in range(3):
        assert ECHO.rows(connection, {"a": 1, "b": value}) is None
    assert prepared(connection) == []


def test_half_a_surrogate_pair_is_refused_as_psycopg_refuses_it(connection: psycopg.Connection[Any]) -> None:
    with pytest.raises(UnicodeEncodeError):
        ECHO.rows(connection, {"a": 1, "b": "\ud800"})
    with pytest.raises(UnicodeEncodeError):
        connection.execute(ECHO.text, {"a": 1, "b": "\ud800"})


def test_an_error_is_that_of_psycopg_and_the_connection_goes_on(connection: psycopg.Connection[Any]) -> None:
    cast = Direct("SELECT CAST(%(b)s::text AS int)", wants_now=False)
    cast.rows(connection, {"b": "1"})
    with pytest.raises(errors.InvalidTextRepresentation, match="invalid input syntax for type integer") as raised:
        cast.rows(connection, {"b": "one"})
    assert raised.value.sqlstate == "22P02"
    assert cast.rows(connection, {"b": "2"}) == [[2]]


@pytest.mark.parametrize("statement", ["DEALLOCATE ALL", "DISCARD ALL"])
def test_what_the_server_was_made_to_forget_is_prepared_again(
    connection: psycopg.Connection[Any], statement: str
) -> None:
    values = {"a": 5, "b": "x"}
    ECHO.rows(connection, values)
    assert ECHO.rows(connection, values) is not None
    connection.pgconn.exec_(statement.encode())
    assert ECHO.rows(connection, values) is None  # not run: the cursor does it
    assert ECHO.rows(connection, values) is None
    assert ECHO.rows(connection, values) == [[5, "x", True, "100%"]]


def test_a_connection_that_must_not_prepare_does_not(address: str) -> None:
    with psycopg.connect(address, autocommit=True, prepare_threshold=None) as connection:
        for _ in range(8):
            assert ECHO.rows(connection, {"a": 1, "b": "x"}) is None
        assert prepared(connection) == []


def test_a_connection_that_does_not_speak_utf_8_is_the_cursor_s(address: str) -> None:
    with psycopg.connect(address, autocommit=True, prepare_threshold=2, client_encoding="latin1") as connection:
        for _ in range(8):
            assert ECHO.rows(connection, {"a": 1, "b": "ä"}) is None
        assert connection.execute(ECHO.text, {"a": 1, "b": "ä"}).fetchone() == (1, "ä", False, "100%")


def test_a_server_that_has_gone_is_an_operational_error(address: str, connection: psycopg.Connection[Any]) -> None:
    ECHO.rows(connection, {"a": 1, "b": "x"})
    ECHO.rows(connection, {"a": 1, "b": "x"})
    with psycopg.connect(address, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
    with pytest.raises(psycopg.OperationalError):
        ECHO.rows(connection, {"a": 1, "b": "x"})
    assert connection.closed


def test_a_signal_strikes_while_the_server_is_at_work(connection: psycopg.Connection[Any]) -> None:
    """As a soft time limit does; psycopg cancels the statement, and nothing of its answer is left on the connection."""

    class Struck(KeyboardInterrupt):
        pass

    def strike(*_: Any) -> None:
        raise Struck

    sleep = Direct("SELECT pg_sleep(%(a)s::bigint)::text", wants_now=False)
    sleep.rows(connection, {"a": 0})
    sleep.rows(connection, {"a": 0})
    before = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(Struck):
            sleep.rows(connection, {"a": 30})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_statement_is_told_of_before_it_runs_whichever_way_it_goes(connection: psycopg.Connection[Any]) -> None:
    told: list[str] = []
    boom = Direct("SELECT CAST(%(b)s::text AS int)", wants_now=False)
    session = Session(connection, lambda: 0, told.append)
    assert [session.row(boom, {"b": "1"}) for _ in range(3)] == [(1,), [1], [1]]
    with pytest.raises(errors.InvalidTextRepresentation):
        session.row(boom, {"b": "one"})
    assert told == [boom.text] * 4


def test_something_else_is_done_while_the_server_is_at_work(address: str, connection: psycopg.Connection[Any]) -> None:
    """The server has the statement by then: what it does can be seen from elsewhere."""
    writing = Direct("INSERT INTO things VALUES (%(a)s) RETURNING a", wants_now=False)
    with psycopg.connect(address, autocommit=True) as other:
        other.execute("CREATE TABLE things (a bigint)")

        def seen() -> None:
            give_up = time.monotonic() + 20.0
            while other.execute("SELECT count(*) FROM things").fetchone() != (1,) and time.monotonic() < give_up:
                time.sleep(0.001)
            done.append("meanwhile")

        done: list[str] = []
        assert writing.rows(connection, {"a": 1}, seen) is None  # the first time it is the cursor's
        assert done == []
        begun = time.monotonic()
        assert writing.rows(connection, {"a": 1}, seen) == [[1]]
        assert done == ["meanwhile"]
        assert time.monotonic() - begun < 20.0


def _write(writing: Direct, number: int, session: Session) -> None:
    session.row(writing, {"a": number})


def test_what_is_raised_meanwhile_leaves_a_connection_that_is_not_used_again(address: str) -> None:
    db = SqlStore(address.replace("postgresql://", "postgresql+psycopg://")).db
    writing = Direct("INSERT INTO others VALUES (%(a)s) RETURNING a", wants_now=False)
    db.single(lambda session: session.execute(Raw("CREATE TABLE others (a bigint)", wants_now=False), {}))
    for number in range(5):  # psycopg prepares what comes for the fifth time
        db.single(functools.partial(_write, writing, number))

    def struck() -> None:
        raise SoftTimeLimitExceeded

    before = db.single(lambda session: session.row(BACKEND, {}))
    with pytest.raises(SoftTimeLimitExceeded):
        db.single(lambda session: session.row(writing, {"a": 5}, struck))
    assert db.single(lambda session: session.row(BACKEND, {})) != before
    db.connections.close()
