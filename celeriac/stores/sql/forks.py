"""Connections end at a fork: a child that used its parent's would read the parent's answers.

``os.register_at_fork`` reaches every way of forking (prefork pools, web servers that load first and fork then),
which no signal of Celery's does.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any, Final, Protocol


class Guarded(Protocol):
    """What a child process must not use as its parent left it."""

    def pause(self) -> None:
        """Come to rest, in the parent and before the fork, where what is open then would harm the child."""
        ...

    def resume(self) -> None:
        """Go on, in the parent and after the fork."""
        ...

    def forget(self) -> Any:
        """Let go of it without closing anything, and return what must be kept from the garbage collector."""
        ...


_guarded: Final[weakref.WeakSet[Guarded]] = weakref.WeakSet()
_graveyard: Final[list[Any]] = []
"""The parents' connections, kept for ever: closing a SQLite connection that came over a fork may harm the file."""


def guard(held: Guarded) -> None:
    """Have it begin anew in every child process."""
    _guarded.add(held)


_forking = threading.RLock()
_paused: Final[list[Guarded]] = []


def _before() -> None:
    _forking.acquire()
    for held in list(_guarded):
        _paused.append(held)
        held.pause()


def _in_parent() -> None:
    try:
        while _paused:
            _paused.pop().resume()
    finally:
        _forking.release()


def _in_child() -> None:
    global _forking  # noqa: PLW0603 - a lock belongs to one process
    _forking = threading.RLock()
    _paused.clear()
    _graveyard.extend(held.forget() for held in list(_guarded))


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
