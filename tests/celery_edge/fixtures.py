"""One Redis, one SQLite store and one app for all modules that ask for ``flows``; modules start the workers that they need.

A plugin of its own and no conftest, since two folders use it: a fixture imported into a second conftest is a second fixture,
with a second Redis that the app, which is imported once, knows nothing of.
"""

from __future__ import annotations

import importlib
import os
import uuid
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from celeriac.embedded import EmbeddedRedis
from tests.celery_edge.harness import Events, Ledger, Process, Worker, stop_all


@pytest.fixture(scope="session")
def edge_redis() -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture(scope="session")
def edge_env(edge_redis: EmbeddedRedis, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What the app in ``flows`` reads from its environment, in the workers and here."""
    base = edge_redis.url.rpartition("/")[0]
    env = {
        "EDGE_BROKER": f"{base}/0",
        "EDGE_LEDGER": f"{base}/1",
        "EDGE_STORE": f"sqlite:///{tmp_path_factory.mktemp('store') / 'flows.db'}",
    }
    os.environ.update(env)
    yield env
    for name in env:
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def flows(edge_env: dict[str, str]) -> Any:
    """The module with the app, its tasks and workflows."""
    module: ModuleType = importlib.import_module("tests.celery_edge.flows")
    module.durable.migrate()
    return module


@pytest.fixture(scope="session")
def ledger(edge_env: dict[str, str]) -> Ledger:
    return Ledger(edge_env["EDGE_LEDGER"])


@pytest.fixture
def key() -> str:
    """What a test's lines in the ledger are kept under."""
    return uuid.uuid4().hex[:8]


@pytest.fixture(scope="module")
def events(flows: Any) -> Iterator[Events]:
    listening = Events(flows.app)
    yield listening
    listening.close()


@pytest.fixture(scope="module")
def start_worker(
    edge_env: dict[str, str], flows: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Worker]]:
    """Start workers of the app in ``flows``, or of another; they are stopped when the module's tests are over."""
    started: list[Worker] = []
    folder = tmp_path_factory.mktemp("workers")

    def start(*options: str, app: str = "tests.celery_edge.flows", **more: Any) -> Worker:
        more.setdefault("name", f"w{len(started)}")
        worker = Worker(folder, app, *options, **more)
        started.append(worker)
        return worker

    yield start
    stop_all(started)


@pytest.fixture(scope="module")
def start_process(
    edge_env: dict[str, str], flows: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Process]]:
    """Start other Celery commands of the app in ``flows``."""
    started: list[Process] = []
    folder = tmp_path_factory.mktemp("processes")

    def start(name: str, *words: str, app: str = "tests.celery_edge.flows", **env: str) -> Process:
        process = Process(folder, name, ["-A", app, *words], env)
        started.append(process)
        return process

    yield start
    stop_all(started)
