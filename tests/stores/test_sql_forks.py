"""A connection is never carried over a fork, and no lock is."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from celeriac.stores.sql import SqlStore, migrate
from celeriac.testing.contract.world import World, wait_until_passed

_CHILDREN = 4
_CALLS = 30

pytestmark = [
    # Forking while threads run is what prefork pools do, and what this is about.
    pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning"),
]


@pytest.fixture(params=["sqlite", "postgresql", "shared"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlStore]:
    if request.param == "sqlite":
        store = SqlStore(f"sqlite:///{tmp_path / 'store.db'}")
        store.check()
        yield store
        store.close()
        return
    url = request.getfixturevalue("postgres_url")
    migrate(url)
    engine = create_engine(url)
    store = SqlStore(engine if request.param == "shared" else url)
    yield store
    store.close()
    engine.dispose()


def in_child(work: Callable[[], None]) -> int:
    """Fork, do the work there, and return the child's pid; it exits with 0 unless the work raises."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


def test_parent_and_children_get_their_own_answers(store: SqlStore) -> None:
    world = World(store, store, wait_until_passed)
    runs = [world.start() for _ in range(_CHILDREN + 1)]  # the connection has been used

    def work(own: int) -> None:
        for number in range(_CALLS):
            assert world.read(runs[own]).run_id == runs[own].run_id
            assert world.signal(runs[own], f"{number}").run is not None
        assert len(world.inbox(runs[own])) == _CALLS

    children = [in_child(partial(work, own)) for own in range(_CHILDREN)]
    work(_CHILDREN)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * _CHILDREN
    assert [world.read(run).inbox_seq for run in runs] == [_CALLS] * (_CHILDREN + 1)


def test_a_child_begins_while_another_thread_of_its_parent_holds_the_connection(store: SqlStore) -> None:
    world = World(store, store, wait_until_passed)
    run = world.start()
    held, done = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        held.set()
        done.wait(30)

    thread = threading.Thread(target=lambda: store.db.single(hold))
    thread.start()
    held.wait(30)
    try:
        child = in_child(lambda: check(world.read(run).run_id == run.run_id))
        assert os.waitpid(child, 0)[1] == 0
    finally:
        done.set()
        thread.join()
    assert world.read(run) == run


def check(fact: bool) -> None:
    assert fact


def test_a_child_of_a_child_is_on_its_own_too(store: SqlStore) -> None:
    world = World(store, store, wait_until_passed)
    run = world.start()

    def grandchild() -> None:
        check(world.signal(run, "grandchild").run is not None)

    def child() -> None:
        check(world.signal(run, "child").run is not None)
        check(os.waitpid(in_child(grandchild), 0)[1] == 0)
        check(len(world.inbox(run)) == 2)

    assert os.waitpid(in_child(child), 0)[1] == 0
    assert [key for _, key in world.inbox(run)] == ["child", "grandchild"]


def test_a_child_of_a_process_that_is_writing_can_write(tmp_path: Path) -> None:
    store = SqlStore(f"sqlite:///{tmp_path / 'store.db'}")
    store.check()
    world = World(store, store, wait_until_passed)
    run = world.start()
    over = threading.Event()

    def write() -> None:
        # SQLite's lock goes to whoever asks at the right moment, so one who never pauses could keep it from a child for long.
        while not over.wait(0.001):
            world.signal(run)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(10):
            child = in_child(lambda: check(world.signal(run).run is not None))
            assert os.waitpid(child, 0)[1] == 0
    finally:
        over.set()
        thread.join()
        store.close()
