"""Several messages in one round trip, where the transport can."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from celery.exceptions import SoftTimeLimitExceeded

from celeriac.errors import CeleriacError


def in_one_trip(producer: Any, send: Callable[[], None], *, log: logging.Logger, what: str) -> bool:
    """Publish what ``send`` publishes in one round trip; False where that can't be done, or may not have been.

    Then each has to be published by itself, so that this is for messages that may come twice.

    :param what: the messages, for the log.
    """
    if not getattr(producer, "supports_batch_publish", False):  # kombu has them from 5.7 on
        return False
    try:
        with producer.batch():
            send()
    except (CeleriacError, SoftTimeLimitExceeded):
        raise
    except Exception:  # noqa: BLE001 - a connection that was closed while it was idle, say; a batch is not retried
        log.debug("a batch of %s may not have been published; once more, each by itself", what)
        return False
    return True
