"""What a worker says at its start about settings that would break the promises. It works all the same."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from celery import Celery

from celeriac.executors.celery import forks

if TYPE_CHECKING:
    from celeriac.executors.celery.runtime import CeleryRuntime

_LOG: Final = logging.getLogger("celeriac")

VISIBILITY: Final = 3600.0
"""Kombu's ``visibility_timeout`` for Redis where none is set, in seconds."""
ANSWER_WITHIN: Final = 1.0
"""Seconds that other workers have to answer."""


def outlives_its_message(app: Celery, is_workflow: Callable[[str], bool]) -> tuple[str, float, float] | None:
    """Find what may take longer than Redis waits before it delivers a message again.

    :returns: what takes longest, how long that is, and the broker's visibility timeout, both in seconds; None where all is
        well, and with other brokers.
    """
    with app.connection_for_read() as connection:
        if connection.transport.driver_type != "redis":
            return None
    visibility = float(app.conf.broker_transport_options.get("visibility_timeout", VISIBILITY))
    longest, what = max(_limits(app, is_workflow), default=(0.0, ""))
    return (what, longest, visibility) if longest > visibility else None


def _limits(app: Celery, is_workflow: Callable[[str], bool]) -> Iterator[tuple[float, str]]:
    """Yield how long something may take, in seconds, and what."""
    for name, task in app.tasks.items():
        if name.startswith("celery.") or is_workflow(name):
            continue
        # Of a task by itself: the messages of attempts are not booked (see ``unbooked``), so that their timeouts don't matter.
        if task.time_limit:
            yield float(task.time_limit), f"task {name!r}"
    for setting in ("task_time_limit", "task_soft_time_limit"):
        if app.conf[setting]:
            yield float(app.conf[setting]), f"a task ({setting})"


def warn(runtime: CeleryRuntime, hostname: str) -> None:
    """Log what is wrong with the app's settings, and keep no worker from starting."""
    try:
        found = outlives_its_message(runtime.app, lambda name: runtime.registry.workflow(name) is not None)
        if found is not None:
            what, longest, visibility = found
            _LOG.warning(
                "%s may take %g s, but after %g s Redis delivers its message again; set "
                "app.conf.broker_transport_options = {'visibility_timeout': %d}",
                what,
                longest,
                visibility,
                round(longest * 1.2),
            )
        if str(runtime.settings.store).startswith("sqlite"):
            threading.Thread(target=_warn_of_hosts, args=(runtime.app, hostname), daemon=True).start()
    except Exception:  # noqa: BLE001 - the broker may be away, and that is said elsewhere
        _LOG.debug("the settings could not be looked at", exc_info=True)


def _warn_of_hosts(app: Celery, hostname: str) -> None:
    try:
        # On a connection of its own, closed before a child is made: one that waits for messages in a pool would have each new
        # child wait for them too, when it closes what it has inherited.
        with forks.working(), app.connection_for_write() as connection:
            answers: list[dict[str, Any]] = app.control.ping(timeout=ANSWER_WITHIN, connection=connection) or []
    except Exception:  # noqa: BLE001 - as above
        _LOG.debug("other workers could not be asked", exc_info=True)
        return
    here = _host(hostname)
    others = sorted({_host(node) for answer in answers for node in answer} - {here})
    if others:
        _LOG.warning(
            "the store is an SQLite file, which is for one machine, but workers run on %s and on %s; move to PostgreSQL unless "
            "these are names of one machine",
            here,
            ", ".join(others),
        )


def _host(node: str) -> str:
    return node.rpartition("@")[2]
