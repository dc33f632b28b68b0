"""Counts refused messages, and tells of them without letting whoever sends them fill the log."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

_LOG: Final = logging.getLogger("celeriac.signals")

INTERVAL: Final = 60.0
"""Seconds, at least, between two lines in the log."""


class Refusals:
    """The refused messages of one channel, by reason. Safe for use by many threads.

    :param clock: returns seconds of a clock that only goes forward.
    """

    def __init__(self, channel: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._channel = channel
        self._clock = clock
        self._counts: Counter[str] = Counter()
        self._untold = 0
        self._told_at: float | None = None
        self._lock = threading.Lock()

    @property
    def counts(self) -> dict[str, int]:
        """How many were refused so far, by reason."""
        with self._lock:
            return dict(self._counts)

    def add(self, refusal: str, reason: str) -> None:
        """Count one; tell of it unless another was told of lately.

        :param refusal: what it is counted as.
        :param reason: what is the matter with it, without anything of what its sender wrote that could steer a terminal.
        """
        with self._lock:
            self._counts[refusal] += 1
            now = self._clock()
            if self._told_at is not None and now - self._told_at < INTERVAL:
                self._untold += 1
                return
            untold, self._untold, self._told_at = self._untold, 0, now
        more = f"; {untold:,} more since the last such line" if untold else ""
        _LOG.warning("a message on %s was refused: %s%s", self._channel, reason, more)
