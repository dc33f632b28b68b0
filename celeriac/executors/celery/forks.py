"""Keeps our threads in a worker's main process at rest while that forks: a lock held then would stay locked in the child.

What those threads use keeps locks that nobody resets after a fork: kombu's and functools' cached properties, a broker's or a
database's client. A child that comes to such a lock waits for ever, and its task with it.
"""

from __future__ import annotations

import functools
import importlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

PATIENCE: Final = 2.0
"""Seconds, at most, that a fork waits for work under way; a store that does not answer must not hold up a worker."""


class _Gate:
    """Open while nobody forks."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._working = 0
        self._closed = False

    def enter(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._closed)
            self._working += 1

    def leave(self) -> None:
        with self._changed:
            self._working -= 1
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._working, PATIENCE)

    def open(self) -> None:
        with self._changed:
            self._closed = False
            self._changed.notify_all()


_gate = _Gate()


@contextmanager
def working() -> Iterator[None]:
    """Have forks wait while the block runs, and the block while the process forks. For threads of ours, not nested."""
    gate = _gate
    gate.enter()
    try:
        yield
    finally:
        gate.leave()


@functools.cache
def install() -> None:
    """Watch over forks from now on, once a process.

    Hooks are called in the opposite order of their registration: threads must be at rest before a store closes what they use.
    """
    importlib.import_module("celeriac.stores.sql.forks")
    os.register_at_fork(before=_close, after_in_parent=_open, after_in_child=_begin_anew)


def _close() -> None:
    _gate.close()


def _open() -> None:
    _gate.open()


def _begin_anew() -> None:
    global _gate  # noqa: PLW0603 - the parent's may be in any state
    _gate = _Gate()
