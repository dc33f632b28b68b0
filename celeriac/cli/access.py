"""How a command gets at the app's celeriac. Nothing else here knows."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Protocol

from celeriac.errors import CeleriacError, ConfigurationError

if TYPE_CHECKING:
    import click

    from celeriac.config import Settings
    from celeriac.orchestrator.client import Client


class Durable(Protocol):
    """As much of ``Celeriac`` as the commands need."""

    @property
    def client(self) -> Client:
        """What acts on runs."""
        ...

    @property
    def settings(self) -> Settings:
        """The settings in force."""
        ...


def durable(ctx: click.Context, *, definitions: bool = False, check: bool = True) -> Durable:
    """Return the app's celeriac.

    :param definitions: import the modules with the app's workflows first, as a worker does.
    :param check: see that the store can be used; that of SQLite is made ready.
    :raises ConfigurationError: no app was named, it has no celeriac, or one of its modules can't be imported.
    :raises StoreError: the store can't be used.
    """
    found = _find(ctx, definitions=definitions)
    if check:
        found.client.store.check()
    return found


def _find(ctx: click.Context, *, definitions: bool) -> Durable:
    app = ctx.obj.app
    if definitions:
        import_modules(app)
    try:
        return attached(app)
    except ConfigurationError:
        if app_name(ctx) is None:
            raise ConfigurationError(
                "which app? Name it in front: celery -A yourapp workflow ... (or in the environment: APP)"
            ) from None
    import_modules(app)  # it may be attached in a module that only workers import
    return attached(app)


def app_name(ctx: click.Context) -> str | None:
    """Return what ``celery -A`` was given, or None."""
    given = ctx.find_root().params.get("app")
    return given if isinstance(given, str) else None


def attached(app: Any) -> Durable:
    """Return what ``Celeriac(app)`` has attached to an app.

    :raises ConfigurationError: nothing has.
    """
    found: Durable = importlib.import_module("celeriac.app").celeriac_of(app)
    return found


def import_modules(app: Any) -> None:
    """Import the modules that the app's configuration names, and those it discovers.

    :raises ConfigurationError: one of them can't be imported.
    """
    try:
        app.loader.import_default_modules()
        app.finalize(auto=True)
    except CeleriacError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"the app's modules could not be imported: {type(error).__name__}: {error}. "
            f"`python -c 'import ...'` of the module shows where"
        ) from error
