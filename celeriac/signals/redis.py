"""The bus over Redis pub/sub. What nobody listens to is gone: it carries hints, and signals of those who know no better."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

_LOG: Final = logging.getLogger("celeriac.signals")

POLL: Final = 0.5
"""Seconds between looks at whether listening is to end."""


class RedisBus:
    """Publishes to and listens on Redis channels.

    :param url: ``redis://``, ``rediss://`` or ``unix://``.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._client: redis.Redis = redis.Redis.from_url(
            url, socket_timeout=2.0, socket_connect_timeout=2.0, retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), 1)
        )

    def publish(self, channel: str, text: str) -> None:
        """Send a text to everybody who listens now."""
        self._client.publish(channel, text)

    def listen(self, channels: Sequence[str], on_message: Callable[[str, str], None]) -> Callable[[], None]:
        """Call ``on_message(channel, text)`` for each text from now on, from a thread; returns what stops it.

        Connection losses are mended by connecting again; what was published meanwhile is gone.
        """
        listener = _Listener(self.url, list(channels), on_message)
        listener.start()
        return listener.stop

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class _Listener(threading.Thread):
    def __init__(self, url: str, channels: list[str], on_message: Callable[[str, str], None]) -> None:
        super().__init__(name="celeriac-listener", daemon=True)
        self._url = url
        self._channels = channels
        self._on_message = on_message
        self._over = threading.Event()

    def stop(self) -> None:
        self._over.set()

    def run(self) -> None:
        pause = 0.05
        while not self._over.is_set():
            client: Any = redis.Redis.from_url(
                self._url, socket_connect_timeout=2.0, retry=Retry(ExponentialBackoff(), 0)
            )
            pubsub = client.pubsub(ignore_subscribe_messages=True)
            try:
                pubsub.subscribe(*self._channels)
                while not self._over.is_set():
                    self._pass_on(pubsub.get_message(timeout=POLL))
                    pause = 0.05
            except (redis.RedisError, OSError) as error:
                _LOG.info("listening on %s was interrupted: %s", ", ".join(self._channels), error)
                self._over.wait(pause)
                pause = min(pause * 2, 5.0)
            finally:
                pubsub.close()
                client.close()

    def _pass_on(self, message: dict[str, Any] | None) -> None:
        if message is None or message.get("type") != "message":
            return
        channel, data = (each.decode("utf-8", "replace") for each in (message["channel"], message["data"]))
        try:
            self._on_message(channel, data)
        except Exception:  # noqa: BLE001 - whatever a message brings about, listening goes on
            _LOG.exception("a message on %s could not be handled", channel)
