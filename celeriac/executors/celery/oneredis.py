"""Which channels are kombu's own on a single Redis: the only ones whose private parts celeriac knows."""

from __future__ import annotations

from typing import Any, Final

_NAME: Final = ("kombu.transport.redis", "Channel")
"""By name: kombu's modules for Redis are not for processes whose broker is another."""


def is_on_one_redis(channel: Any) -> bool:
    """Whether a channel is of that class, and of none that derives from it: a Sentinel's, a cluster's, an application's."""
    kind = type(channel)
    return (kind.__module__, kind.__qualname__) == _NAME
