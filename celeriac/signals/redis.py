"""The bus over Redis pub/sub. What nobody listens to is gone: it carries hints, and signals of those who know no better."""

from __future__ import annotations

import functools
import itertools
import logging
import pkgutil
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from typing import Any, Final

import redis
from redis.backoff import ExponentialBackoff
from redis.connection import parse_url
from redis.retry import Retry

_LOG: Final = logging.getLogger("celeriac.signals")

POLL: Final = 0.5
"""Seconds between looks at whether listening is to end."""

Server = Callable[[], Mapping[str, Any]]
"""Returns the arguments of a pool of connections. Called when there is something to connect for, and again after failures."""

_CERT_REQS: Final = {"CERT_REQUIRED": "required", "CERT_OPTIONAL": "optional", "CERT_NONE": "none"}
"""How Celery's documentation spells what redis-py has other words for."""

_OURS: Final = ("max_connections", "retry", "retry_on_error", "retry_on_timeout", "decode_responses")
"""Arguments that the bus settles by itself, whatever else the same Redis is used for."""


class RedisBus:
    """Publishes to and listens on Redis channels.

    :param servers: each a URL (``redis://``, ``rediss://`` or ``unix://``), or what returns the arguments of a pool. Where there
        are several they are tried in turn: whoever can't reach one goes on to the next and stays there.
    """

    def __init__(self, *servers: str | Server) -> None:
        self._servers = [functools.partial(_arguments, each) if isinstance(each, str) else each for each in servers]
        self._clients: dict[int, redis.Redis] = {}
        self._at = 0

    def publish(self, channel: str, text: str) -> None:
        """Send a text to everybody who listens now."""
        for left in reversed(range(len(self._servers))):
            at = self._at
            try:
                self._client(at).publish(channel, text)
            except (redis.ConnectionError, redis.TimeoutError, OSError):
                self._at = (at + 1) % len(self._servers)
                if not left:
                    raise
            else:
                return

    def listen(self, channels: Sequence[str], on_message: Callable[[str, str], None]) -> Callable[[], None]:
        """Call ``on_message(channel, text)`` for each text from now on, from a thread; returns what stops it.

        Connection losses are mended by connecting again; what was published meanwhile is gone.
        """
        listener = _Listener(self._servers, list(channels), on_message)
        listener.start()
        return listener.stop

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.connection_pool.disconnect()

    def _client(self, at: int) -> redis.Redis:
        found = self._clients.get(at)
        if found is None:
            arguments = {**self._servers[at](), "socket_timeout": 2.0}
            found = self._clients.setdefault(at, _connect(arguments, Retry(ExponentialBackoff(cap=0.2, base=0.02), 1)))
        return found


def _arguments(url: str) -> dict[str, Any]:
    """Read a URL as redis-py does, and what it may say in Celery's words: those of TLS, and a class that knows the password."""
    arguments: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
    if "ssl_cert_reqs" in arguments:
        arguments["ssl_cert_reqs"] = _CERT_REQS.get(arguments["ssl_cert_reqs"], arguments["ssl_cert_reqs"])
    provider = arguments.get("credential_provider")
    if provider is not None:
        arguments["credential_provider"] = pkgutil.resolve_name(provider)()
        arguments.pop("username", None)  # as Celery does; redis-py takes one or the other
        arguments.pop("password", None)
    return arguments


def _connect(arguments: Mapping[str, Any], retry: Retry) -> redis.Redis:
    """Return a client with a pool of its own; nothing is connected yet."""
    given = {name: value for name, value in arguments.items() if name not in _OURS}
    pool = redis.ConnectionPool(**{**given, "socket_connect_timeout": 2.0, "retry": retry})
    # To the client as well: redis-py has it subscribe to those whose passwords change.
    provider = given.get("credential_provider")
    return redis.Redis(connection_pool=pool, **({} if provider is None else {"credential_provider": provider}))


class _Listener(threading.Thread):
    def __init__(self, servers: Sequence[Server], channels: list[str], on_message: Callable[[str, str], None]) -> None:
        super().__init__(name="celeriac-listener", daemon=True)
        self._servers = servers
        self._channels = channels
        self._on_message = on_message
        self._over = threading.Event()
        self._failures = 0

    def stop(self) -> None:
        self._over.set()

    def run(self) -> None:
        for server in itertools.cycle(self._servers):
            try:
                arguments = server()
            except Exception as error:  # noqa: BLE001 - users' classes may have a say in it
                # Not its text: it may be a piece of a URL with a password in it.
                self._failed(f"it can't be said how to connect ({type(error).__name__})")
            else:
                self._listen(arguments)
            if self._over.is_set():
                return

    def _listen(self, arguments: Mapping[str, Any]) -> None:
        """Listen until that is over, or fails."""
        try:
            client: Any = _connect({**arguments, "socket_timeout": 5.0}, Retry(ExponentialBackoff(), 0))
            with ExitStack() as stack:
                stack.callback(client.connection_pool.disconnect)
                pubsub = stack.enter_context(closing(client.pubsub(ignore_subscribe_messages=True)))
                pubsub.subscribe(*self._channels)
                while not self._over.is_set():
                    message = pubsub.get_message(timeout=POLL)
                    self._failures = 0
                    self._pass_on(message)
        except Exception as error:  # noqa: BLE001 - redis-py calls users' classes, and a listener that is gone says nothing
            said = " ".join(f"{type(error).__name__}: {error}".split())
            password = arguments.get("password")
            self._failed(said.replace(str(password), "**") if password else said)

    def _failed(self, why: str) -> None:
        """Say so, the first time so that it is seen, and wait: ever longer while nothing comes of it."""
        level = logging.INFO if self._failures else logging.WARNING
        _LOG.log(level, "listening on %s was interrupted: %s", ", ".join(self._channels), why)
        self._over.wait(min(0.05 * 2 ** min(self._failures, 10), 5.0))
        self._failures += 1

    def _pass_on(self, message: dict[str, Any] | None) -> None:
        if message is None or message.get("type") != "message":
            return
        channel, data = (each.decode("utf-8", "replace") for each in (message["channel"], message["data"]))
        try:
            self._on_message(channel, data)
        except Exception:  # noqa: BLE001 - whatever a message brings about, listening goes on
            _LOG.exception("a message on %s could not be handled", channel)
