"""Knowing whether Python code runs because the garbage collector is at work."""

from __future__ import annotations

import gc
from _thread import get_ident
from typing import Any

_at_work_in: int | None = None


def is_at_work() -> bool:
    """Whether this thread is inside a collection of the garbage collector, in a finalizer for instance."""
    return _at_work_in == get_ident()


def watch() -> None:
    """Begin to notice collections; calling it again does nothing."""
    if _notice not in gc.callbacks:
        gc.callbacks.append(_notice)


def _notice(phase: str, _: dict[str, Any]) -> None:
    global _at_work_in  # noqa: PLW0603 - there is one collector
    _at_work_in = get_ident() if phase == "start" else None
