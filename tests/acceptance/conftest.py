"""pytest-celery's fixtures over local processes: those that would need a Docker engine, and the stage that tests act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import redis
from celery import Celery
from pytest_celery import (
    CeleryBackendCluster,
    CeleryBrokerCluster,
    CeleryTestSetup,
    CeleryWorkerContainer,
    RedisTestBackend,
    RedisTestBroker,
)

from celeriac.embedded import EmbeddedRedis
from celeriac.errors import StoreError
from celeriac.stores.sql import migrate
from tests.acceptance import shop, workerapp
from tests.acceptance.processes import LocalRedis, LocalWorker
from tests.acceptance.shop import STEP_QUEUE, open_shop
from tests.acceptance.stage import Measured, Stage
from tests.servers import PostgresServer
from tests.stores.mariadb import MariaServer

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies here."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.acceptance)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Show the workers' logs with a failure."""
    report = yield
    stage = getattr(item, "funcargs", {}).get("stage")
    if report.failed and isinstance(stage, Stage) and call.when == "call":
        with suppress(StoreError, redis.RedisError):
            report.sections.append(("Open runs", stage.state()))
        report.sections.append(("Workers", stage.logs()))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was measured, which is asserted nowhere."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name} {value:g}  {report.nodeid.rpartition('::')[2]}")


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """Note a number to be shown at the end."""
    return lambda name, value: request.node.user_properties.append((name, value))


# -- in the place of containers ------------------------------------------------------------------------------------------


@pytest.fixture
def celery_broker(redis_server: EmbeddedRedis, redis_url: str) -> RedisTestBroker:
    return RedisTestBroker(LocalRedis(redis_server))


@pytest.fixture
def celery_backend(redis_server: EmbeddedRedis, redis_url: str) -> RedisTestBackend:
    return RedisTestBackend(LocalRedis(redis_server))


@pytest.fixture
def celery_broker_cluster(celery_broker: RedisTestBroker) -> CeleryBrokerCluster:
    return CeleryBrokerCluster(celery_broker)


@pytest.fixture
def celery_backend_cluster(celery_backend: RedisTestBackend) -> CeleryBackendCluster:
    return CeleryBackendCluster(celery_backend)


@pytest.fixture
def default_worker_container_cls() -> type[CeleryWorkerContainer]:
    return LocalWorker


@pytest.fixture
def default_worker_app_module() -> ModuleType:
    return workerapp


@pytest.fixture
def default_worker_tasks() -> set[ModuleType]:
    return {shop}  # the stock ones would have each worker import pytest-celery


class _ShopSetup(CeleryTestSetup):
    """pytest-celery's setup, with an app of our name."""

    @classmethod
    def name(cls) -> str:
        return "shop"


@pytest.fixture
def celery_setup_cls() -> type[CeleryTestSetup]:
    return _ShopSetup


# -- our own -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def migrated_database(postgres_server: PostgresServer) -> Iterator[str]:
    """A database with empty tables, to be copied."""
    url = postgres_server.create_database()
    migrate(url)
    yield url
    postgres_server.start()
    postgres_server.drop_database(url)


@pytest.fixture
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty store: PostgreSQL, unless the test is parametrized with ``sqlite`` or ``mariadb``."""
    kind = getattr(request, "param", "postgresql")
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path}/flows.db"
        return
    if kind == "mariadb":
        yield from _on_mariadb(request.getfixturevalue("mariadb_server"))
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    server.start()  # in case a test stopped it
    url = server.create_database(like=request.getfixturevalue("migrated_database"))
    yield url
    server.start()
    server.drop_database(url)


def _on_mariadb(server: MariaServer) -> Iterator[str]:
    server.start()
    url = server.create_database()
    migrate(url)
    yield url
    server.start()
    server.drop_database(url)


@pytest.fixture
def database(request: pytest.FixtureRequest, store_url: str) -> PostgresServer | MariaServer:
    """The server that the store is on."""
    found: PostgresServer | MariaServer = request.getfixturevalue(
        "mariadb_server" if store_url.startswith("mariadb") else "postgres_server"
    )
    return found


@pytest.fixture
def lease() -> float:
    """Seconds; a test that wants others is parametrized with them."""
    return 2.0


@pytest.fixture
def republish_after() -> float:
    """Seconds until a lost message is made up for; the same."""
    return 2.0


@pytest.fixture
def step_queue() -> str | None:
    """The queue of steps, in tests that are parametrized with one."""
    return None


@pytest.fixture
def settings(store_url: str, lease: float, republish_after: float) -> dict[str, Any]:
    """celeriac's settings, for clients and workers."""
    return {
        "store": store_url,
        "lease": lease,
        "republish_after": republish_after,
        "republish_max": 2 * republish_after,
    }


@pytest.fixture
def celery_setup_config(celery_setup_config: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """What the client is configured with."""
    return {**celery_setup_config, **{f"celeriac_{name}": value for name, value in settings.items()}}


@pytest.fixture
def default_worker_env(
    default_worker_env: dict[str, str], settings: dict[str, Any], step_queue: str | None
) -> dict[str, str]:
    """What workers are configured with."""
    own = {f"CELERIAC_{name.upper()}": str(value) for name, value in settings.items()}
    return {**default_worker_env, **own, **({STEP_QUEUE: step_queue} if step_queue else {})}


@pytest.fixture
def stage(
    celery_setup_app: Celery,
    redis_server: EmbeddedRedis,
    default_worker_env: dict[str, str],
    default_worker_initial_content: dict[str, bytes],
    tmp_path: Path,
) -> Iterator[Stage]:
    """Store, broker and client; workers are started by the test."""
    opened = open_shop(celery_setup_app)
    folder = tmp_path / "shop"
    folder.mkdir()
    opened.durable.runtime.store.check()
    stage = Stage(opened, redis_server, folder, default_worker_env, default_worker_initial_content)
    try:
        yield stage
    finally:
        stage.close()
