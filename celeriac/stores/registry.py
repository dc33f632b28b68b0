"""Stores by URL."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module, metadata
from typing import Any, Final, cast

from celeriac.errors import ConfigurationError, did_you_mean
from celeriac.orchestrator.ports import Store
from celeriac.stores.memory import InMemoryStore

GROUP: Final = "celeriac.stores"
"""The entry points by which other distributions bring stores: ``scheme = "package.module:open_store"``."""

_SQL: Final = "celeriac.stores.sql:SqlStore"
_OWN: Final = {
    "memory": "celeriac.stores.registry:_memory",
    "sqlite": _SQL,
    "postgresql": _SQL,
    "postgres": _SQL,
    "mysql": _SQL,
    "mariadb": _SQL,
}
"""By scheme, without the driver behind a ``+``: what takes the URL and the options and returns a store."""


def open_store(url: str, **options: Any) -> Store:
    """Return the store that a URL names. Nothing is connected to yet; see :meth:`Store.check`.

    :param url: such as ``postgresql+psycopg://localhost/shop``, ``sqlite:///shop.db`` or ``memory://``.
    :param options: what the store's own constructor takes, such as ``table_prefix``.
    :raises ConfigurationError: not a URL, an unknown scheme, or an option that the store does not have.
    :raises MissingExtra: the store needs an optional dependency that is not installed.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise ConfigurationError(
            f"a store is named by a URL, such as postgresql+psycopg://localhost/shop or sqlite:///shop.db, not {url!r}"
        )
    factory = _factory(scheme.partition("+")[0]) or _factory(scheme)
    if factory is None:
        known = known_schemes()
        raise ConfigurationError(
            f"no store is known for URLs that begin {scheme}://."
            f"{did_you_mean(scheme.partition('+')[0], known)} Known: {', '.join(known)}."
        )
    try:
        return factory(url, **options)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        raise ConfigurationError(
            f"the store for {scheme}:// was given an option that it does not have: {error}"
        ) from None


def is_sql(url: str) -> bool:
    """Say whether a URL names a store that keeps SQL tables."""
    return "stores.sql" in _OWN.get(url.partition("://")[0].partition("+")[0], "")


def known_schemes() -> list[str]:
    """Return the schemes that :func:`open_store` takes, sorted."""
    return sorted({*_OWN, *(point.name for point in metadata.entry_points(group=GROUP))})


def _memory(_: str, **options: Any) -> Store:
    return InMemoryStore(**options)


def _factory(scheme: str) -> Callable[..., Store] | None:
    target = _OWN.get(scheme)
    if target is not None:
        module, _, name = target.partition(":")
        return cast("Callable[..., Store]", getattr(import_module(module), name))
    for point in metadata.entry_points(group=GROUP, name=scheme):
        return cast("Callable[..., Store]", point.load())
    return None
