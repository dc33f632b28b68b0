"""Connections end at a fork: a child that used its parent's would read the parent's answers.

``os.register_at_fork`` reaches every way of forking (prefork pools, web servers that load first and fork
then), which no signal of Celery's does.
"""

from __future__ import annotations

import os
import weakref
from typing import Any, Final

from sqlalchemy.engine import Engine

_engines: Final[weakref.WeakSet[Engine]] = weakref.WeakSet()
_graveyard: Final[list[Any]] = []
"""Pools of the parent, kept for ever: closing a SQLite connection that came over a fork may harm the file."""


def guard(engine: Engine) -> None:
    """Have the engine begin with an empty pool in every child process."""
    _engines.add(engine)


def _in_child() -> None:
    for engine in list(_engines):
        _graveyard.append(engine.pool)
        engine.dispose(close=False)


os.register_at_fork(after_in_child=_in_child)
