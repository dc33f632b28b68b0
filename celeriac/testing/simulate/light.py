"""The in-memory store without its copying: what most schedules of a long search run on, because it costs half as much."""

from __future__ import annotations

from typing import TypeVar

from celeriac.stores.memory import InMemoryStore

T = TypeVar("T")


def _shared(value: T) -> T:
    return value


class LightStore(InMemoryStore):
    """Shares values with its callers instead of sending them through JSON; otherwise the same."""

    _copy = staticmethod(_shared)
    _copy_item = staticmethod(_shared)
