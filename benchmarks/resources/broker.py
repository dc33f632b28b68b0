"""What a Redis was asked for, and what waits in it."""

from __future__ import annotations

from typing import Final

import redis

Counts = dict[str, float]

_OURS: Final = frozenset({"info", "scan", "llen", "type", "client|setinfo", "select"})
"""What the counter itself sends; nobody else of those measured does in numbers that matter, except SELECT at connecting."""


class RedisCounter:
    """Commands of a Redis server, and messages in one of its databases.

    :param url: of the database whose messages are counted. The commands are the server's.
    """

    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)
        self._client.ping()

    def read(self) -> Counts:
        """Return ``broker_commands`` so far, those within a transaction included."""
        commands = self._client.info("commandstats")
        called = {name.removeprefix("cmdstat_"): each["calls"] for name, each in commands.items()}
        return {"broker_commands": float(sum(calls for name, calls in called.items() if name not in _OURS))}

    def messages(self) -> int:
        """Return how many messages wait in queues, or are with a worker that has not acknowledged them."""
        total = 0
        for key in self._client.scan_iter(count=1000):
            kind = self._client.type(key)
            if kind == b"list":
                total += int(self._client.llen(key))
            elif key.startswith(b"unacked") and kind == b"hash":
                total += int(self._client.hlen(key))
        return total

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
