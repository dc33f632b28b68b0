"""Settings, and the queues that workflows and activities go to. Each is imported when it is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from celeriac.config.queues import PoolQueues, pool_routes, with_routes
    from celeriac.config.settings import InlineTurns, Settings

__all__ = ["InlineTurns", "PoolQueues", "Settings", "pool_routes", "with_routes"]

_SETTINGS: Final = {"InlineTurns", "Settings"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "settings" if name in _SETTINGS else "queues"
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
