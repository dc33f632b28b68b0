"""Connections end at a fork: a child that used its parent's would read the parent's answers.

``os.register_at_fork`` reaches every way of forking (prefork pools, web servers that load first and fork then),
which no signal of Celery's does.
"""

from __future__ import annotations

import os
import weakref
from typing import Any, Final, Protocol


class Guarded(Protocol):
    """What a child process must not use as its parent left it."""

    def forget(self) -> Any:
        """Let go of it without closing anything, and return what must be kept from the garbage collector."""
        ...


_guarded: Final[weakref.WeakSet[Guarded]] = weakref.WeakSet()
_graveyard: Final[list[Any]] = []
"""The parents' connections, kept for ever: closing a SQLite connection that came over a fork may harm the file."""


def guard(held: Guarded) -> None:
    """Have it begin anew in every child process."""
    _guarded.add(held)


def _in_child() -> None:
    _graveyard.extend(held.forget() for held in list(_guarded))


os.register_at_fork(after_in_child=_in_child)
