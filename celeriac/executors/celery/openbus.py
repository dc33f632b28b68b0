"""The signal bus, over the Redis that the app has anyway: reached as Celery reaches it, by TLS, password and socket."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cached_property, partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from celery import Celery

if TYPE_CHECKING:
    from celeriac.config.settings import Settings
    from celeriac.orchestrator.ports import SignalBus

_LOG: Final = logging.getLogger("celeriac.signals")
_REDIS: Final = ("redis://", "rediss://", "redis+socket://")
_TOLD: Final[set[str]] = set()
"""What has been said in this process, or in the one that it was forked from."""


def open_bus(app: Celery, settings: Settings) -> SignalBus | None:
    """Return the bus, or None where there is none. Opens no connection."""
    if not settings.hints:
        return None
    if settings.signals_url is not None:
        servers: list[Any] = [str(settings.signals_url)]
    else:
        servers = _of_app(app)
    if not servers:
        return None
    from celeriac.signals.redis import RedisBus  # noqa: PLC0415 - only where there is a Redis

    return RedisBus(*servers)


def _of_app(app: Celery) -> list[Any]:
    """Return the broker's Redis, with those that it may fail over to, else the result backend's."""
    broker, backend = app.conf.broker_url, app.conf.result_backend
    brokers = broker.split(";") if isinstance(broker, str) else list(broker or ())
    if brokers and brokers[0].startswith(_REDIS):
        # In turn and in this order, whatever ``broker_failover_strategy`` says: those who publish have to meet those who listen.
        return [_Broker(app, each) for each in brokers if each.startswith(_REDIS)]
    if isinstance(backend, str) and backend.startswith(_REDIS):
        return [partial(_as_backend, app)]
    if any(str(each).startswith("sentinel") for each in (*brokers, backend)):
        _warn("the signal bus knows no Redis Sentinel: there is no bus unless celeriac_signals_url names a Redis")
    return []


class _Broker:
    """Says what kombu would connect to a broker with: TLS, passwords and their providers, sockets, keepalive, health checks.

    Of ``broker_transport_options`` the bus leaves out ``global_keyprefix``, because other programs know the channels' names, and
    timeouts, because nobody is to wait for a hint.
    """

    def __init__(self, app: Celery, url: str) -> None:
        self._app = app
        self._url = url

    @cached_property
    def _connection(self) -> Any:
        return self._app.connection_for_write(self._url)  # kept, for kombu warns of each without certificates

    def __call__(self) -> Mapping[str, Any]:
        connection = self._connection
        transport = connection.get_transport_cls()
        # kombu makes these arguments in a channel, and a channel connects as soon as it is made; so it is only half made.
        kind = transport.Channel
        channel = kind.__new__(kind)
        channel.connection = SimpleNamespace(client=connection, default_port=transport.default_port)
        for name in kind.from_transport_options:
            if name in connection.transport_options:
                setattr(channel, name, connection.transport_options[name])
        arguments: dict[str, Any] = channel._connparams()  # noqa: SLF001 - there is no door
        return arguments


def _as_backend(app: Celery) -> Mapping[str, Any]:
    """Return what Celery's result backend connects with."""
    arguments: Mapping[str, Any] = app.backend.connparams
    return arguments


def _warn(text: str) -> None:
    if text not in _TOLD:
        _TOLD.add(text)
        _LOG.warning(text)
