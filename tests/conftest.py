"""Fixtures for all tests: real servers, started at first use, one each a test process.

A server whose programs are not installed skips the tests that need it; where CI=true it fails them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import hypothesis
import pytest
import redis

from celeriac.embedded import EmbeddedRedis
from celeriac.errors import ConfigurationError
from tests.servers import PostgresServer, ServerMissing
from tests.stores.mariadb import MariaServer

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = ["tests.celery_edge.fixtures"]

hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no defect
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)  # the same examples each time
hypothesis.settings.load_profile("ci" if os.environ.get("CI") == "true" else "untimed")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """In CI, tell of a failure when it comes: a run that is cut off never gets to its summary."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") == "true" and reporter is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Failures(reporter))


_LONG: Final = frozenset({"acceptance", "benchmarks", "celery_edge", "chaos", "cli", "examples", "leaks", "load"})
"""Folders whose modules take long, for they have workers of their own."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long ones, so that at the end no process is left alone with one of them."""
    here = Path(__file__).parent
    items.sort(key=lambda each: each.path.is_relative_to(here) and each.path.relative_to(here).parts[0] not in _LONG)


class _Failures:
    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._reporter.ensure_newline()
            self._reporter.write_line(
                f"failed in its {report.when}, after {report.duration:.1f} s: {report.nodeid}", red=True
            )
            self._reporter.write_line(report.longreprtext[-2000:])


def _missing(why: Exception) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(str(why), pytrace=False)
    pytest.skip(str(why))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedRedis]:
    """A Redis that the whole session shares; see :func:`redis_url` for an empty one."""
    try:
        server = EmbeddedRedis().start()
    except ConfigurationError as error:
        _missing(error)
    with server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> str:
    """The URL of a Redis that is empty when the test begins."""
    redis_server.start()  # in case a test stopped it
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL with fsync on for the whole session; see :func:`postgres_url` for an empty database."""
    try:
        server = PostgresServer()
    except ServerMissing as error:
        _missing(error)
    with server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty PostgreSQL database, as SQLAlchemy takes it; dropped after the test."""
    postgres_server.start()  # in case a test stopped it
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaServer]:
    """A MariaDB for the whole session."""
    try:
        server = MariaServer()
    except ServerMissing as error:
        _missing(error)
    with server:
        yield server
