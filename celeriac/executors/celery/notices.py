"""Who waits for a run hears of its end at once where there is a bus; a look into the store makes up for lost notices."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from celery.exceptions import SoftTimeLimitExceeded

from celeriac.orchestrator.ports import SignalBus

_LOG: Final = logging.getLogger("celeriac.notices")


NOTICED: Final = 0.1
"""Seconds after which to look for a run's end for the first time, where a notice is expected earlier."""


class Notices:
    """Notices of closed runs on one channel. One subscription a process, there while somebody waits."""

    def __init__(self, bus: Callable[[], SignalBus | None], channel: str) -> None:
        self._bus = bus
        self._channel = channel
        self._waiting: dict[str, list[threading.Event]] = {}
        self._lock = threading.Lock()
        self._stop: Callable[[], None] | None = None
        self.arrive = False
        """Whether one has come over the bus. Before, a run may have closed while the subscription was under way."""

    def tell(self, run_id: str) -> None:
        """Tell everybody who waits for a run that it has closed."""
        self._heard(self._channel, run_id)
        bus = self._bus()
        if bus is not None:
            try:
                bus.publish(self._channel, run_id)
            except SoftTimeLimitExceeded:
                raise
            except Exception:  # noqa: BLE001 - those who wait will look for themselves
                _LOG.debug("no notice of run %s could be sent", run_id, exc_info=True)

    @contextmanager
    def watching(self, run_id: str) -> Iterator[None]:
        """Listen for a run's end while the block runs."""
        event = threading.Event()
        with self._lock:
            self._waiting.setdefault(run_id, []).append(event)
            self._listen()
        try:
            yield
        finally:
            with self._lock:
                self._waiting[run_id].remove(event)
                if not self._waiting[run_id]:
                    del self._waiting[run_id]

    def wait(self, run_id: str, interval: float) -> None:
        """Wait for the run's end, at most ``interval`` seconds."""
        events = self._waiting.get(run_id)
        if events:
            events[0].wait(interval)
            events[0].clear()
        else:
            threading.Event().wait(interval)

    def _listen(self) -> None:
        if self._stop is None:
            bus = self._bus()
            if bus is not None:
                try:
                    self._stop = bus.listen([self._channel], self._come)
                except Exception:  # noqa: BLE001 - without a bus there is only polling
                    _LOG.debug("no notices of closed runs: the bus can't be reached", exc_info=True)

    def _come(self, channel: str, run_id: str) -> None:
        self.arrive = True
        self._heard(channel, run_id)

    def _heard(self, _channel: str, run_id: str) -> None:
        for event in self._waiting.get(run_id, ()):
            event.set()
