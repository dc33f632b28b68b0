"""Has a channel to Redis keep its client.

kombu makes a client anew for each message that is published, received or acknowledged, which takes a sixth of the time of a
worker's main process. A client is nothing but a way to the channel's pool of connections, and may serve any number of threads.
"""

from __future__ import annotations

from typing import Any, Final

from celeriac.executors.celery.oneredis import is_on_one_redis

_MARK: Final = "_celeriac_keeps_client"


def keep_client(channel: Any) -> None:
    """Have a channel keep its client for as long as it has the same pool of connections; any other channel is left as it is."""
    if not is_on_one_redis(channel) or channel.__dict__.get(_MARK):
        return
    make = channel._create_client  # noqa: SLF001 - there is no door
    kept: dict[str, Any] = {}

    def client(asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - kombu's signature
        if asynchronous:  # one that its caller keeps, with a connection of its own
            return make(asynchronous=True)
        pool = channel.pool
        if kept.get("pool") is not pool:
            kept.update(pool=pool, client=make())
        return kept["client"]

    channel._create_client = client  # noqa: SLF001
    setattr(channel, _MARK, True)
