"""Forced interleavings on SQLite, whose one lock is the whole file's: who has it stops before it commits, until the other waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import Engine

from celeriac.orchestrator.model import Run
from celeriac.stores.sql import SqlStore
from tests.stores.interleavings import Interleavings
from tests.stores.stage import Stage

_LIMIT = 20.0  # seconds


class TestInterleavings(Interleavings):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'store.db'}"

    @pytest.fixture
    def store(self, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlStore]:
        store = SqlStore(url, connections=4)
        store.check()
        driver, waiting = store.db.driver, set[int]()
        begin = driver.begin

        def noted(connection: Any, cursor: Any) -> None:
            waiting.add(threading.get_ident())
            try:
                begin(connection, cursor)
            finally:
                waiting.discard(threading.get_ident())

        monkeypatch.setattr(driver, "begin", noted)
        monkeypatch.setattr(Stage, "waiting_in_process", staticmethod(lambda: len(waiting)))
        yield store
        store.close()

    @pytest.fixture
    def engine(self, url: str, store: SqlStore) -> Iterator[Engine]:
        engine = create_engine(url)
        yield engine
        engine.dispose()

    @pytest.fixture
    def in_order(self, store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
        """``in_order(run, first, second)``: the second waits while the first has done all but commit."""
        driver, commit = store.db.driver, store.db.driver.commit
        stopped, go = threading.Event(), threading.Event()

        def stop_once(connection: Any, cursor: Any) -> None:
            if not stopped.is_set():
                stopped.set()
                assert go.wait(_LIMIT)
            commit(connection, cursor)

        def play(run: Run, first: Callable[[], Any], second: Callable[[], Any]) -> list[Any]:
            monkeypatch.setattr(driver, "commit", stop_once)
            with ThreadPoolExecutor(2) as threads:
                before = threads.submit(first)
                try:
                    assert stopped.wait(_LIMIT), before
                    behind = threads.submit(second)
                    give_up = time.monotonic() + _LIMIT
                    while not Stage.waiting_in_process():
                        assert not behind.done()
                        assert time.monotonic() < give_up
                        time.sleep(0.001)
                finally:
                    go.set()
                return [before.result(_LIMIT), behind.result(_LIMIT)]

        return play

    def passes(self, stage: Stage, call: Callable[[], Any]) -> Any:
        """Here who passes over rows waits for the file all the same."""
        stage.send(call)
        (told,) = stage.lift()
        return told
