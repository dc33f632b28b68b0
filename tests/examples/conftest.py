"""The examples: each module of tests with a Redis, SQLite files and, where one will do for all of them, a worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from celeriac.embedded import EmbeddedRedis
from tests.examples.project import ROOT, Project, Served

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies here."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.acceptance)
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")
def broker(redis_server: EmbeddedRedis) -> Iterator[str]:
    """The URL of a Redis that no other module empties. (``redis_server`` skips where there is none.)"""
    with EmbeddedRedis() as server:
        yield server.url


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, broker: str) -> Project:
    """``examples/shop`` on SQLite, migrated."""
    data = tmp_path_factory.mktemp("shop")
    store = {"CELERIAC_STORE": f"sqlite:///{data}/flows.sqlite3"}
    project = Project(ROOT / "examples", data, {"CELERY_BROKER_URL": broker, **store})
    project.celery("workflow", "migrate")
    return project


@pytest.fixture(scope="module")
def served_shop(shop: Project) -> Iterator[Served]:
    """The same with a worker."""
    with shop.worker() as worker:
        yield Served(shop, worker)


@pytest.fixture(scope="module")
def django_shop(tmp_path_factory: pytest.TempPathFactory, broker: str) -> Project:
    """``examples/django_shop`` on SQLite, migrated."""
    pytest.importorskip("django")
    data = tmp_path_factory.mktemp("django")
    folder = ROOT / "examples" / "django_shop"
    project = Project(folder, data, {"CELERY_BROKER_URL": broker, "SHOP_DATA": str(data)})
    project.manage("migrate", "-v0")
    project.celery("workflow", "migrate")
    return project


@pytest.fixture(scope="module")
def served_django_shop(django_shop: Project) -> Iterator[Served]:
    """The same with a worker."""
    with django_shop.worker() as worker:
        yield Served(django_shop, worker)
