"""Settings, and the queues that workflows and activities go to."""

from __future__ import annotations

from celeriac.config.queues import PoolQueues, pool_routes, with_routes
from celeriac.config.settings import InlineTurns, Settings

__all__ = ["InlineTurns", "PoolQueues", "Settings", "pool_routes", "with_routes"]
