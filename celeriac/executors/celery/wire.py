"""A connection to Redis that one process keeps for its messages.

redis-py takes a connection out of a pool for each command, looks after retries, traces and metrics, and puts it back, which costs
three times what sending the command and reading the answer does.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final, Self

_PLAIN: Final = ("redis.client", "Redis")
"""redis-py's own client, by name. kombu's that puts a prefix before each key is another, and so is an application's."""
_GONE_AROUND: Final = ("lpush", "execute_command")


class Wire:
    """One connection, made when it is first needed; for one thread at a time, and never the parent's after a fork."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._process = os.getpid()
        # One that may be taken again by whoever has it: a soft time limit may strike right after it was taken, before anything
        # could give it back.
        self._lock = threading.RLock()
        self._connection: Any = None

    @classmethod
    def of(cls, client: Any) -> Self | None:
        """Return one beside a client's, or None where somebody has a hand in what the client does."""
        kind = type(client)
        if (kind.__module__, kind.__qualname__) != _PLAIN:
            return None
        around = [getattr(kind, name) for name in _GONE_AROUND]
        own = all(each.__module__.startswith("redis.") and not hasattr(each, "__wrapped__") for each in around)
        return cls(client.connection_pool) if own else None

    def push(self, key: str, texts: Sequence[str]) -> bool:
        """Push texts into a list; False, and nothing is pushed, where another thread is at it.

        :raises redis.RedisError, OSError: they may have arrived or not.
        """
        if os.getpid() != self._process:
            self._begin_anew()
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self._send(_packed("LPUSH", key, *texts))
        finally:
            self._lock.release()
        return True

    def _send(self, command: bytes) -> None:
        connection, self._connection = self._connection, None  # gone, unless all goes well
        if connection is None or not _exchanged(connection, command):
            # Not by make_connection(): the pool would count it as one of its own, and never learn that it is gone.
            connection = self._pool.connection_class(**self._pool.connection_kwargs)
            connection.connect()
            _exchange(connection, command)
        self._connection = connection


def _exchanged(connection: Any, command: bytes) -> bool:
    """Send a command over a connection that was idle; False where the server had ended it, maybe long ago.

    To look first would cost each command a system call. What is sent once more may have arrived, but a message that comes
    twice is claimed once.
    """
    from redis.exceptions import ConnectionError as Ended  # noqa: PLC0415 - not for processes whose broker is another

    try:
        _exchange(connection, command)
    except (Ended, OSError):
        return False
    return True


def _exchange(connection: Any, command: bytes) -> None:
    try:
        connection.send_packed_command([command])
        connection.read_response()
    except BaseException:  # a half-read answer would be taken for that to the next command
        connection.disconnect()
        raise


def _packed(*words: str) -> bytes:
    """Return a command as it goes over the wire."""
    return b"".join([b"*%d\r\n" % len(words), *_each(words)])


def _each(words: Sequence[str]) -> Iterator[bytes]:
    for word in words:
        data = word.encode()
        yield b"$%d\r\n" % len(data)
        yield data
        yield b"\r\n"
