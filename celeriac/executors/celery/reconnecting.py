"""Lets a worker outlive its broker.

With kombu 5.7 over Redis, closing a connection that is lost while messages are unacknowledged raises an
``AttributeError``, which ends Celery's worker. All that is left to do then is what comes after the closing.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from celery import bootsteps

_LOG: Final = logging.getLogger("celeriac.worker")


class OutliveTheBroker(bootsteps.Step):
    """Has the consumer go on when a lost connection can't be closed."""

    name = "celeriac-reconnecting"

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._consumer = consumer
        self._original = consumer.on_connection_error_after_connected
        consumer.on_connection_error_after_connected = self._on_lost

    def _on_lost(self, error: Exception) -> None:
        try:
            self._original(error)
        except AttributeError as failure:
            if self._consumer.connection is not None:
                raise
            _LOG.warning("the lost connection to the broker could not be closed (%s); going on without", failure)
            self._original(error)  # which finds nothing left to be closed
